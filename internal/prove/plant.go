package prove

import (
	"context"
	"strings"

	"parley/app"
	"parley/catalog"
)

// This file puts a canary into everything that the catalogue declares as sealed or indexed, through the interfaces that
// people and programs use. A domain that declares a new field adds its planting here: a field that nobody planted is reported as broken.

// people is who lives on the scratch installation.
type people struct {
	org, site string
	owner     *client // set the server up in a browser on its own machine
	agent     *client // was invited from the command line, comes by HTTPS
	agentID   string
	password  string   // of the agent
	stranger  *client  // works for another organisation
	gone      *visitor // is erased
	stays     *visitor // is not
	bare      *visitor // told nothing that is optional
	call      string   // of gone and agent
	// what the media engine calls them, and what let them in: one of each for every entry
	identities, passes []string
}

// visitor is somebody who wrote.
type visitor struct {
	*client
	id            string
	conversations []string
}

// siteOrigin is whose pages show the widget of the scratch installation.
const siteOrigin = "https://shop.example"

// plant makes a canary that belongs into a field.
func (r *run) plant(field catalog.FieldID, what string) *canary {
	return r.keep(&canary{token: newToken(), what: what, field: field})
}

// drop makes a canary that nobody may keep.
func (r *run) drop(what string) *canary {
	return r.keep(&canary{token: newToken(), what: what, secret: true})
}

// made notes a secret that the server made, and in how many answers it may be shown.
func (r *run) made(value, what string, shown int) *canary {
	c := r.keep(&canary{token: value, what: what, value: value, secret: true})
	c.shown = shown
	return c
}

func (r *run) keep(c *canary) *canary {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.erased = r.erasing
	r.canaries = append(r.canaries, c)
	return c
}

// as puts the canary's token into a text; %s stands for it.
func (c *canary) as(format string) string {
	c.value = strings.ReplaceAll(format, "%s", c.token)
	return c.value
}

// settle sets the server up and brings the staff in.
func (r *run) settle(ctx context.Context) error {
	p := &r.people
	p.owner = r.local()
	var session struct {
		Member       struct{ ID string } `json:"member"`
		Organisation struct{ ID string } `json:"organisation"`
	}
	err := p.owner.must(ctx, "POST", "/api/v1/setup", map[string]string{
		"organisation": "Harbour " + r.mark.token,
		"name":         r.plant("account.member.name", "a member's name, given at the first run").as("Olga %s"),
		"email":        r.plant("account.member.email", "a member's e-mail, given at the first run").as("%s@harbour.example"),
		"password":     r.drop("a member's password, given at the first run").as("%s-lantern"),
	}, &session)
	if err != nil {
		return err
	}
	p.org = session.Organisation.ID
	invitation, err := r.commands(ctx)
	if err != nil {
		return err
	}
	if err := r.invite(ctx); err != nil {
		return err
	}
	p.password = r.drop("a member's password, given with an invitation").as("%s-gravel")
	p.agent = r.browser("an agent")
	name := r.plant("account.member.name", "a member's name, given with an invitation").as("Anton %s")
	if err := r.weakPasswords(ctx, invitation, name); err != nil {
		return err
	}
	err = p.agent.must(ctx, "POST", "/api/v1/invitations/"+invitation, map[string]string{"name": name, "password": p.password}, &session)
	p.agentID = session.Member.ID
	if err != nil {
		return err
	}
	return r.usedInvitation(ctx, invitation)
}

// commands does what an operator does from the command line, and returns the agent's invitation.
func (r *run) commands(ctx context.Context) (invitation string, err error) {
	p := &r.people
	err = r.control(ctx, func(admin app.Admin) error {
		project, err := admin.CreateProject(ctx, app.ProjectInput{Org: p.org, Name: "web"})
		if err != nil {
			return err
		}
		secret := r.made(project.APISecret, "a project's secret, shown once by the command that made it", 0)
		secret.field = "account.project.secret"
		site, err := admin.CreateSite(ctx, app.SiteInput{Project: project.APIKey, Origin: siteOrigin, Name: "Shop"})
		if err != nil {
			return err
		}
		p.site = site.ID
		email := r.plant("account.member.email", "a member's e-mail, given on the command line").as("%s@agents.example")
		member, err := admin.CreateMember(ctx, app.MemberInput{Org: p.org, Email: email, Role: "agent"})
		if err != nil {
			return err
		}
		invitation = member.SetupURL[strings.LastIndex(member.SetupURL, "/")+1:]
		r.made(invitation, "an invitation's token, from the command line", 0)
		return r.otherOrganisation(ctx, admin)
	})
	return invitation, err
}

// otherOrganisation makes a neighbour, whose owner must see nothing of ours.
func (r *run) otherOrganisation(ctx context.Context, admin app.Admin) error {
	org, err := admin.CreateOrg(ctx, app.OrgInput{Name: "Neighbour"})
	if err != nil {
		return err
	}
	member, err := admin.CreateMember(ctx, app.MemberInput{Org: org.ID, Email: "owner@neighbour.example", Role: "owner"})
	if err != nil {
		return err
	}
	r.people.stranger = r.browser("another organisation's owner")
	token := member.SetupURL[strings.LastIndex(member.SetupURL, "/")+1:]
	return r.people.stranger.must(ctx, "POST", "/api/v1/invitations/"+token,
		map[string]string{"name": "Nora", "password": r.drop("a neighbour's password").as("%s-otter")}, nil)
}

// invite invites a member as an owner does, in the console.
func (r *run) invite(ctx context.Context) error {
	var out struct{ Link string }
	err := r.people.owner.must(ctx, "POST", "/api/v1/members", map[string]string{"role": "agent",
		"email": r.plant("account.member.email", "a member's e-mail, given in the console").as("%s@colleagues.example")}, &out)
	if err != nil {
		return err
	}
	token := out.Link[strings.LastIndex(out.Link, "/")+1:]
	r.made(token, "an invitation's token, from the console", 1)
	var shown struct{ Email string }
	return r.local().must(ctx, "GET", "/api/v1/invitations/"+token, nil, &shown)
}

// begin starts a conversation as a new visitor, or as one who wrote before.
func (r *run) begin(ctx context.Context, v *visitor, in map[string]any) error {
	var out struct {
		Token        string
		Visitor      struct{ ID string }
		Conversation struct{ ID string }
	}
	in["client_id"] = clientID()
	if err := v.must(ctx, "POST", "/api/v1/widget/sites/"+r.people.site+"/conversations", in, &out); err != nil {
		return err
	}
	v.id, v.conversations = out.Visitor.ID, append(v.conversations, out.Conversation.ID)
	if out.Token != "" {
		v.token = out.Token
		r.made(out.Token, "a visitor's token", 1)
	}
	return nil
}

// told is what a visitor tells of themselves with the first message.
func (r *run) told(who string) map[string]any {
	in := r.toldOfPage(who)
	in["visitor"] = map[string]string{"name": r.plant("person.name", "the name of "+who+", with the first message").as("Vera %s"),
		"email": r.plant("person.email", "the e-mail of "+who+", with the first message").as("%s@visitors.example")}
	return in
}

// toldOfPage is a first message and the page that it was written on.
func (r *run) toldOfPage(who string) map[string]any {
	page := r.plant("chat.conversation.page_url", "the path of the page on which "+who+" wrote").as(siteOrigin + "/%s/kettles")
	page += "?utm=" + r.drop("the query of the page on which "+who+" wrote").token + "#" + r.drop("the fragment of the page on which "+who+" wrote").token
	return map[string]any{
		"locale": "de-AT",
		"body":   r.plant("chat.message.body", "the first message of "+who+", in the widget").as("Is the blue kettle there? %s"),
		"page": map[string]string{"url": page,
			"title": r.plant("chat.conversation.page_title", "the title of the page on which "+who+" wrote").as("Kettles %s")},
	}
}

// visits brings the visitors in, one of whom will be erased.
func (r *run) visits(ctx context.Context) error {
	p := &r.people
	p.gone, p.stays, p.bare = &visitor{client: r.browser("the visitor who is erased")}, &visitor{client: r.browser("a visitor who stays")},
		&visitor{client: r.browser("a visitor who tells nothing")}
	for _, do := range []func() error{
		func() error { return r.begin(ctx, p.stays, r.told("the visitor who stays")) },
		func() error {
			return r.begin(ctx, p.bare, map[string]any{"body": r.plant("chat.message.body", "the message of a visitor who tells nothing").as("Hello %s")})
		},
		func() error { r.erasing = true; return r.begin(ctx, p.gone, r.told("the erased visitor")) },
		func() error { // who wrote before is known already
			again := r.toldOfPage("the erased visitor again")
			return r.begin(ctx, p.gone, again)
		},
		func() error { return r.talk(ctx, p.gone) },
		func() error {
			return p.gone.must(ctx, "PATCH", "/api/v1/widget/visitor", map[string]string{
				"name":  r.plant("person.name", "the erased visitor's name, corrected").as("Vera Maria %s"),
				"email": r.plant("person.email", "the erased visitor's e-mail, corrected").as("%s@corrected.example")}, nil)
		},
	} {
		if err := do(); err != nil {
			return err
		}
	}
	r.erasing = false
	return nil
}

// talk has the visitor and the agent write to each other, over HTTP and over the socket.
func (r *run) talk(ctx context.Context, v *visitor) error {
	p, id := &r.people, v.conversations[0]
	mine, err := v.open(ctx)
	if err != nil {
		return err
	}
	defer mine.close(r)
	theirs, err := p.agent.open(ctx)
	if err != nil {
		return err
	}
	defer theirs.close(r)
	if _, err := theirs.ask(ctx, "subscribe", map[string]string{"channel": "conv:" + id}); err != nil {
		return err
	}
	say := func(c *canary) map[string]string {
		return map[string]string{"client_id": clientID(), "body": c.as("About the kettle: %s")}
	}
	over := func(c *canary) map[string]string {
		m := say(c)
		m["conversation"] = id
		return m
	}
	sent := r.plant("chat.message.body", "the visitor's message, over the socket")
	if _, err := mine.rpc(ctx, "send", over(sent)); err != nil {
		return err
	}
	if err := theirs.await(ctx, sent.token); err != nil {
		return err
	}
	answered := r.plant("chat.message.body", "the agent's message, over the socket")
	if _, err := theirs.rpc(ctx, "send", over(answered)); err != nil {
		return err
	}
	if err := mine.await(ctx, answered.token); err != nil {
		return err
	}
	for _, s := range []*socket{mine, theirs} {
		if _, err := s.rpc(ctx, "typing", map[string]any{"conversation": id, "on": true}); err != nil {
			return err
		}
	}
	if err := v.must(ctx, "POST", "/api/v1/widget/conversations/"+id+"/messages", say(r.plant("chat.message.body", "the visitor's message, over HTTP")), nil); err != nil {
		return err
	}
	if err := p.agent.must(ctx, "POST", "/api/v1/conversations/"+id+"/messages", say(r.plant("chat.message.body", "the agent's message, over HTTP")), nil); err != nil {
		return err
	}
	if err := p.agent.must(ctx, "POST", "/api/v1/conversations/"+id+"/assign", map[string]string{"member": p.agentID}, nil); err != nil {
		return err
	}
	return p.agent.must(ctx, "POST", "/api/v1/conversations/"+id+"/read", map[string]int{"seq": 2}, nil)
}

// readBack reads everything as those who may: what was planted has to be found in the answers, or the search proves nothing.
func (r *run) readBack(ctx context.Context) error {
	p := &r.people
	for _, v := range []*visitor{p.gone, p.stays, p.bare} {
		if err := v.must(ctx, "GET", "/api/v1/widget/conversations", nil, nil); err != nil {
			return err
		}
		if err := p.agent.must(ctx, "GET", "/api/v1/persons/"+v.id, nil, nil); err != nil {
			return err
		}
		for _, id := range v.conversations {
			for _, path := range []string{"/api/v1/conversations/" + id, "/api/v1/conversations/" + id + "/messages"} {
				if err := p.agent.must(ctx, "GET", path, nil, nil); err != nil {
					return err
				}
			}
			if err := v.must(ctx, "GET", "/api/v1/widget/conversations/"+id+"/messages", nil, nil); err != nil {
				return err
			}
		}
	}
	for _, path := range []string{"/api/v1/conversations", "/api/v1/session", "/api/v1/members", "/api/v1/sites", "/api/v1/organisation", "/api/v1/sessions"} {
		if err := p.owner.must(ctx, "GET", path, nil, nil); err != nil {
			return err
		}
		if err := p.agent.must(ctx, "GET", path, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// planted checks that every declared personal field was planted.
func (r *run) planted() {
	by := map[catalog.FieldID][]string{}
	for _, c := range r.canaries {
		by[c.field] = append(by[c.field], c.what)
		if c.field == "" {
			continue
		}
		if _, ok := r.catalog.Field(c.field); !ok {
			r.found.breaks("I7", "planted as %s: the catalogue declares no such field", c.field)
		}
	}
	count := 0
	for _, f := range r.catalog.Fields() {
		if len(by[f.ID]) == 0 {
			r.found.breaks("I7", "nobody planted a canary in %s.%s (field %s): say in the proof how it is planted", f.Table.Name, f.Column, f.ID)
			continue
		}
		count++
		r.found.holds("I7", "%s was planted as: %s", f.ID, strings.Join(by[f.ID], "; "))
	}
	r.found.holds("I7", "a canary was planted in each of the %d declared sealed fields, through the API, the widget, the socket and the command line", count)
}
