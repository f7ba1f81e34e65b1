package prove

import (
	"context"
	"net/http"
	"strings"

	"parley/app"
)

// noise is something that nobody is to keep: a canary in a place that servers like to log or to repeat. %s stands for it.
type noise struct {
	what    string
	as      *client
	method  string
	path    string
	body    string
	headers map[string]string
	good    bool // the call itself succeeds
}

// loiter sends canaries to all the places from which they must be dropped.
func (r *run) loiter(ctx context.Context) error {
	for _, list := range [][]noise{r.strayPaths(), r.strayHeaders(), r.strayBodies(), r.strayMessages()} {
		for _, n := range list {
			if err := r.send(ctx, n); err != nil {
				return err
			}
		}
	}
	if err := r.straySocket(ctx); err != nil {
		return err
	}
	return r.strayCommands(ctx)
}

func (r *run) send(ctx context.Context, n noise) error {
	token := r.drop(n.what).token
	fill := func(s string) string { return strings.ReplaceAll(s, "%s", token) }
	c := n.as
	if c == nil {
		c = r.local()
	}
	for name, value := range n.headers {
		c = c.with(name, fill(value))
	}
	var body any
	if n.body != "" {
		body = fill(n.body)
	}
	a, err := c.call(ctx, fill(n.method), fill(n.path), body, nil)
	if err != nil {
		return err
	}
	if n.good != (a.status < 400) {
		r.found.breaks("E3", "%s: the answer was %s", n.what, a)
	}
	return nil
}

func (r *run) strayPaths() []noise {
	agent, owner := r.people.agent, r.people.owner
	site := "/api/v1/widget/sites/" + r.people.site
	return []noise{
		{what: "a query of an API call", as: agent, method: "GET", path: "/api/v1/conversations?state=open&utm_source=%s", good: true},
		{what: "a query of a page", method: "GET", path: "/api?from=%s", good: true},
		{what: "a query of the widget's frame", method: "GET", path: site + "?page=%s", good: true},
		{what: "a cursor that is none", as: agent, method: "GET", path: "/api/v1/conversations?cursor=%s"},
		{what: "a filter that is none", as: agent, method: "GET", path: "/api/v1/conversations?state=%s"},
		{what: "a path of a page that is not there", method: "GET", path: "/nothing/%s"},
		{what: "a path of an API call that is not there", method: "GET", path: "/api/v1/%s"},
		{what: "a path in the console's files", method: "GET", path: "/app/assets/%s.js"},
		{what: "an unknown conversation's id", as: agent, method: "GET", path: "/api/v1/conversations/%s"},
		{what: "an unknown conversation's id, for its messages", as: r.people.stays.client, method: "GET", path: "/api/v1/widget/conversations/%s/messages"},
		{what: "an unknown person's id", as: agent, method: "GET", path: "/api/v1/persons/%s"},
		{what: "an unknown person's id, to erase", as: owner, method: "DELETE", path: "/api/v1/persons/%s"},
		{what: "an unknown member's id", as: owner, method: "DELETE", path: "/api/v1/members/%s"},
		{what: "an unknown session's id", as: agent, method: "DELETE", path: "/api/v1/sessions/%s", good: true},
		{what: "an unknown site's id", method: "GET", path: "/api/v1/widget/sites/%s"},
		{what: "an unknown site's id, for its frame", method: "GET", path: "/w/%s"},
		{what: "an invitation that is none", method: "GET", path: "/api/v1/invitations/%s"},
		{what: "a method that is none", method: "%s", path: "/api/v1/session"},
	}
}

func (r *run) strayHeaders() []noise {
	header := func(what, name, value string) noise {
		return noise{what: what, method: "GET", path: "/api/v1/setup", headers: map[string]string{name: value}, good: true}
	}
	site := "/api/v1/widget/sites/" + r.people.site
	return []noise{
		header("a browser's name (User-Agent)", "User-Agent", "Mozilla/5.0 (%s)"),
		header("a referring page (Referer)", "Referer", "https://search.example/%s?q=%s"),
		header("a language (Accept-Language)", "Accept-Language", "de-%s, en;q=0.5"),
		header("somebody else's cookie", "Cookie", "_ga=GA1.2.%s; parley=%s"),
		header("a key to repeat a call by (Idempotency-Key)", "Idempotency-Key", "%s"),
		header("a request id that a client made up", "X-Request-Id", "%s"),
		header("an address that is none (X-Forwarded-For)", "X-Forwarded-For", "%s, 198.51.100.7"),
		header("a proxy's note (Forwarded)", "Forwarded", "for=\"_%s\""),
		header("a browser's hints", "Sec-CH-UA", "\"%s\";v=\"1\""),
		header("a header that nobody knows", "X-Custom", "%s"),
		{what: "a bearer token that is none", method: "GET", path: "/api/v1/widget/conversations", headers: map[string]string{"Authorization": "Bearer %s"}},
		{what: "a password in a header", method: "GET", path: "/api/v1/session", headers: map[string]string{"Authorization": "Basic %s"}},
		{what: "an origin that may not show the widget", method: "GET", path: site, headers: map[string]string{"Origin": "https://%s.example"}},
		{what: "an origin that may not write", as: r.people.agent, method: "POST", path: "/api/v1/session", body: `{}`,
			headers: map[string]string{"Origin": "https://%s.example", "Sec-Fetch-Site": "cross-site"}},
		{what: "a host that is not ours", method: "GET", path: "/nothing", headers: map[string]string{"Host": "%s.example"}},
		{what: "a content type that is none", method: "POST", path: "/api/v1/session", body: `{}`, headers: map[string]string{"Content-Type": "text/%s"}},
	}
}

func (r *run) strayBodies() []noise {
	owner := r.people.owner
	post := func(what string, as *client, path, body string) noise {
		return noise{what: what, as: as, method: "POST", path: path, body: body}
	}
	door := r.browser("somebody who tries the door")
	return []noise{
		post("a wrong password", door, "/api/v1/session", `{"email":"nobody@harbour.example","password":"%s"}`),
		post("an e-mail that is not known here", door, "/api/v1/session", `{"email":"%s@nowhere.example","password":"lantern-gravel-otter"}`),
		post("an e-mail that is none", door, "/api/v1/session", `{"email":"%s","password":"x"}`),
		post("a second setup", nil, "/api/v1/setup", `{"organisation":"%s","name":"%s","email":"%s@x.example","password":"%s-lantern","code":"%s"}`),
		post("the password of an invitation that is none", nil, "/api/v1/invitations/"+strings.Repeat("A", 43), `{"name":"%s","password":"%s"}`),
		post("a member's e-mail that is none", owner, "/api/v1/members", `{"email":"%s","role":"agent"}`),
		post("a role that is none", owner, "/api/v1/members", `{"email":"somebody@harbour.example","role":"%s"}`),
		post("a site's origin that is none", owner, "/api/v1/sites", `{"name":"Shop","origins":["http://%s.example"]}`),
		post("a site's colour that is none", owner, "/api/v1/sites", `{"name":"Shop","origins":["https://shop.example"],"accent":"%s"}`),
		post("an unknown member, to assign to", r.people.agent, "/api/v1/conversations/"+r.people.stays.conversations[0]+"/assign", `{"member":"%s"}`),
		{what: "a visitor's e-mail that is none", as: r.people.stays.client, method: "PATCH", path: "/api/v1/widget/visitor", body: `{"email":"%s"}`},
		{what: "a visitor's name that is too long", as: r.people.stays.client, method: "PATCH", path: "/api/v1/widget/visitor", body: `{"name":"%s` + strings.Repeat("x", 300) + `"}`},
	}
}

func (r *run) strayMessages() []noise {
	v := r.people.stays
	write := func(what, body string) noise {
		return noise{what: what, as: v.client, method: "POST", path: "/api/v1/widget/conversations/" + v.conversations[0] + "/messages", body: body}
	}
	id := clientID()
	begin := noise{what: "a language that is none", method: "POST", path: "/api/v1/widget/sites/" + r.people.site + "/conversations", good: true,
		as: r.people.bare.client, body: `{"client_id":"` + clientID() + `","body":"hello","locale":"x-%s","page":{"url":"javascript:%s","title":""}}`}
	return []noise{
		write("a message that is no JSON", `{"client_id":"`+id+`","body":"%s`),
		write("a message with a field that nobody knows", `{"client_id":"`+id+`","body":"hello","card_number":"%s"}`),
		write("a message of another type", `{"client_id":"`+id+`","body":["%s"]}`),
		write("a message that is too long", `{"client_id":"`+id+`","body":"%s`+strings.Repeat(" long", 2000)+`"}`),
		write("a body that is too large", `{"client_id":"`+id+`","body":"%s`+strings.Repeat("x", 70<<10)+`"}`),
		write("a body that is far too large", `{"client_id":"`+id+`","body":"%s`+strings.Repeat("x", 2<<20)+`"}`),
		write("a message with control characters", `{"client_id":"`+id+`","body":"%s \u0007"}`),
		write("a message that is no UTF-8", `{"client_id":"`+id+`","body":"%s `+"\xff\xfe"+`"}`),
		write("a client id that is none", `{"client_id":"%s!","body":"hello"}`),
		begin,
	}
}

// straySocket sends to the socket what it must not keep.
func (r *run) straySocket(ctx context.Context) error {
	v := r.people.stays
	c := *v.client
	c.token = r.drop("a token that is none, over the socket").token
	if s, err := c.open(ctx); err == nil {
		s.close(r)
		r.found.breaks("I8", "the socket let somebody in with a token that is none")
	}
	s, err := v.with("User-Agent", r.drop("a browser's name, of the socket").token).open(ctx)
	if err != nil {
		return err
	}
	defer s.close(r)
	talk := v.conversations[0]
	for what, command := range map[string]func(string) (string, any){
		"a call that is none": func(t string) (string, any) {
			return "rpc", map[string]any{"method": t, "data": map[string]string{"body": t}}
		},
		"a call with data of its own": func(t string) (string, any) { return "rpc", map[string]any{"method": "send", "data": t} },
		"a channel that is none":      func(t string) (string, any) { return "subscribe", map[string]string{"channel": "conv:" + t} },
		"a message for another": func(t string) (string, any) {
			return "rpc", map[string]any{"method": "send", "data": map[string]string{"conversation": t, "client_id": clientID(), "body": t}}
		},
		"a message with a bad id": func(t string) (string, any) {
			return "rpc", map[string]any{"method": "send", "data": map[string]string{"conversation": talk, "client_id": t + "!", "body": t}}
		},
		"a message that is far too long": func(t string) (string, any) {
			return "rpc", map[string]any{"method": "send", "data": map[string]string{"conversation": talk, "client_id": clientID(), "body": t + strings.Repeat(" long", 2000)}}
		},
	} {
		method, body := command(r.drop(what + ", over the socket").token)
		if _, err := s.ask(ctx, method, body); err == nil {
			r.found.breaks("E3", "%s was accepted over the socket", what)
		}
	}
	// A frame that cannot be read ends the socket, so it comes last.
	return s.write(ctx, []byte(`{"id":`+r.drop("a frame that is no JSON, over the socket").token))
}

// strayCommands sends to the control socket what it must not keep. Its answers go to the operator and are looked through too.
func (r *run) strayCommands(ctx context.Context) error {
	return r.control(ctx, func(admin app.Admin) error {
		email := r.drop("a member's e-mail that is none, on the command line").token
		_, err := admin.CreateMember(ctx, app.MemberInput{Org: r.people.org, Email: email, Role: "agent"})
		r.refusedCommand("a member's e-mail that is none", err)
		_, err = admin.CreateMember(ctx, app.MemberInput{Org: r.people.org, Email: "a@b.example", Role: r.drop("a role that is none, on the command line").token})
		r.refusedCommand("a role that is none", err)
		_, err = admin.CreateProject(ctx, app.ProjectInput{Org: r.drop("an organisation that is none, on the command line").token, Name: "web"})
		r.refusedCommand("an organisation that is none", err)
		_, err = admin.CreateSite(ctx, app.SiteInput{Project: 1, Origin: r.drop("an origin that is none, on the command line").token})
		r.refusedCommand("an origin that is none", err)
		return nil
	})
}

func (r *run) refusedCommand(what string, err error) {
	if err == nil {
		r.found.breaks("E3", "%s was accepted on the command line", what)
		return
	}
	r.note(answer{call: "a command with " + what, status: http.StatusUnprocessableEntity, body: []byte(err.Error())})
}
