package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"parley/internal/db"
)

// publicHost is the name under which the scratch server is known behind its proxy.
const publicHost = "parley.example"

// client calls the scratch server as one browser, or as one program. It keeps no cookie that it is not given.
type client struct {
	r       *run
	from    *canary // the address it comes from; nil: this machine, without a proxy between
	cookie  string  // name=value
	token   string  // a visitor's
	headers http.Header
}

// answer is what the server said.
type answer struct {
	call   string // what was asked, in words that hold no canary
	status int
	header http.Header
	body   []byte
}

// browser returns a client that comes from an address of its own, by HTTPS through the proxy.
func (r *run) browser(who string) *client {
	c := &canary{what: "the address of " + who, secret: true, addr: newAddress()}
	c.token = c.addr.String()
	r.keep(c)
	return &client{r: r, from: c}
}

// local returns a client on the server's own machine.
func (r *run) local() *client { return &client{r: r} }

// with returns a client that also sends the header.
func (c *client) with(name, value string) *client {
	out := *c
	out.headers = c.headers.Clone()
	if out.headers == nil {
		out.headers = http.Header{}
	}
	out.headers.Set(name, value)
	return &out
}

// head returns the headers that every call of the client has.
func (c *client) head() http.Header {
	h := c.headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	if c.from != nil {
		h.Set("X-Forwarded-For", c.from.addr.String())
		h.Set("X-Forwarded-Proto", "https")
		if h.Get("X-Forwarded-Host") == "" {
			h.Set("X-Forwarded-Host", publicHost)
		}
	}
	if c.cookie != "" && h.Get("Cookie") == "" {
		h.Set("Cookie", c.cookie)
	}
	if c.token != "" && h.Get("Authorization") == "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	return h
}

// call asks the server. in is sent as JSON, or as it is when it is a string; a good answer is decoded into out.
func (c *client) call(ctx context.Context, method, path string, in, out any) (answer, error) {
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.r.server.url+path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header = c.head()
	if in != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	res, err := c.r.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", method, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{call: method + " " + c.r.pattern(path), status: res.StatusCode, header: res.Header, body: data}
	c.r.note(a)
	if out != nil && res.StatusCode < 300 {
		err = json.Unmarshal(data, out)
	}
	return a, err
}

// must is call for what has to succeed; the session's cookie that comes with the answer is kept.
func (c *client) must(ctx context.Context, method, path string, in, out any) error {
	a, err := c.call(ctx, method, path, in, out)
	if err != nil {
		return err
	}
	if a.status >= 300 {
		return fmt.Errorf("%s was answered with %d %s", a.call, a.status, a.code())
	}
	for _, set := range (&http.Response{Header: a.header}).Cookies() {
		if set.Value != "" {
			c.cookie = set.Name + "=" + set.Value
			c.r.made(set.Value, "a session's token, of the cookie "+set.Name, 1)
		}
	}
	return nil
}

// code returns the stable code of a problem document, "" when the answer is none.
func (a answer) code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.body, &p) // then there is no code
	return p.Code
}

// is reports whether the answer is a problem of the status and code.
func (a answer) is(status int, code string) bool { return a.status == status && a.code() == code }

func (a answer) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, a.code())) }

// personal reports whether the answer may hold what is personal: calls of the API and events do, pages and figures never.
func (a answer) personal() bool {
	return strings.Contains(a.call, " /api/v1/") || a.call == socketEvents
}

// note remembers an answer, to be looked through when all canaries are known, and the cookies that it sets.
func (r *run) note(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = append(r.answers, a)
	for _, line := range a.header["Set-Cookie"] {
		r.cookies = append(r.cookies, setCookie{call: a.call, line: line})
	}
}

// setCookie is a cookie that the server gave.
type setCookie struct{ call, line string }

// pattern hides canaries and ids in a path, for evidence.
func (r *run) pattern(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if len(p) > 20 {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

// clientID returns an id as a program makes one for a message.
func clientID() string { return db.NewID() }
