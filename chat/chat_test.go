package chat_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

type message struct {
	ID           string `json:"id"`
	Conversation string `json:"conversation"`
	Seq          int64  `json:"seq"`
	ClientID     string `json:"client_id"`
	Author       struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"author"`
	Body string `json:"body"`
}

type page struct {
	Items []message `json:"items"`
	More  bool      `json:"more"`
}

type conversation struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Unread   int64  `json:"unread"`
	LastSeq  int64  `json:"last_seq"`
	Assignee *struct {
		ID, Name string
	} `json:"assignee"`
	Visitor struct {
		ID, Name, Email string
		Online          bool
	} `json:"visitor"`
	LastMessage *struct {
		Preview    string `json:"preview"`
		AuthorKind string `json:"author_kind"`
	} `json:"last_message"`
	VisitorReadSeq int64 `json:"visitor_read_seq"`
	AgentReadSeq   int64 `json:"agent_read_seq"`
	Page           *struct {
		URL, Title string
	} `json:"page"`
}

type list struct {
	Items  []conversation `json:"items"`
	Next   string         `json:"next"`
	Counts struct {
		Open, Mine, Unassigned int64
	} `json:"counts"`
}

// each runs fn against a server on either engine.
func each(t *testing.T, fn func(t *testing.T, s *parleytest.Server)) {
	testdb.Each(t, func(t *testing.T, url string) {
		fn(t, parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = url }}))
	})
}

func send(t testing.TB, c *parleytest.Client, path, conversation, clientID, body string) (message, parleytest.Response) {
	t.Helper()
	var m message
	r := c.Do(t, "POST", path+"/conversations/"+conversation+"/messages", map[string]string{"client_id": clientID, "body": body}, &m)
	return m, r
}

const (
	asMember  = "/api/v1"
	asVisitor = "/api/v1/widget"
)

func TestTalk(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		agent := tenant.Client
		visitor := s.Client(t)
		var begun parleytest.Begun
		visitor.Do(t, "POST", asVisitor+"/sites/"+tenant.Site+"/conversations", map[string]any{
			"client_id": "first", "body": "Hello, is the blue one in stock?", "locale": "de-AT",
			"page":    map[string]string{"url": "https://acme.example/blue?utm=x#y", "title": "Blue"},
			"visitor": map[string]string{"name": "  Grace   Hopper ", "email": "grace@example.org"},
		}, &begun).Want(t, http.StatusCreated)
		visitor.Token = begun.Token
		id := begun.Conversation.ID

		var inbox list
		agent.Do(t, "GET", asMember+"/conversations?state=open", nil, &inbox).Want(t, http.StatusOK)
		if len(inbox.Items) != 1 {
			t.Fatalf("the inbox holds %d conversations, want 1", len(inbox.Items))
		}
		c := inbox.Items[0]
		if c.ID != id || c.Unread != 1 || c.Visitor.Name != "Grace Hopper" || c.Visitor.Email != "grace@example.org" ||
			c.LastMessage.Preview != "Hello, is the blue one in stock?" || c.Page.URL != "https://acme.example/blue" || c.Page.Title != "Blue" {
			t.Errorf("the inbox shows %+v %+v %+v", c, c.LastMessage, c.Page)
		}
		if inbox.Counts.Open != 1 || inbox.Counts.Unassigned != 1 || inbox.Counts.Mine != 0 {
			t.Errorf("counts %+v", inbox.Counts)
		}

		answer, r := send(t, agent, asMember, id, "a1", "It is.\r\nShall I put one aside?")
		r.Want(t, http.StatusCreated)
		if answer.Seq != 2 || answer.Body != "It is.\nShall I put one aside?" || answer.Author.Kind != "agent" || answer.Author.Name != "Owner of acme" {
			t.Errorf("the answer is %+v", answer)
		}
		again, r := send(t, agent, asMember, id, "a1", "It is.\r\nShall I put one aside?")
		r.Want(t, http.StatusOK)
		if again.ID != answer.ID || again.Seq != 2 {
			t.Errorf("sent again it is %+v", again)
		}

		var seen page
		visitor.Do(t, "GET", asVisitor+"/conversations/"+id+"/messages", nil, &seen).Want(t, http.StatusOK)
		if len(seen.Items) != 2 || seen.More || seen.Items[0].Author.ID != begun.Visitor.ID || seen.Items[1].Body != answer.Body || seen.Items[1].Author.Name != "Owner of acme" {
			t.Errorf("the visitor sees %+v", seen)
		}

		agent.Do(t, "POST", asMember+"/conversations/"+id+"/read", map[string]int{"seq": 99}, nil).Want(t, http.StatusNoContent)
		agent.Do(t, "GET", asMember+"/conversations/"+id, nil, &c).Want(t, http.StatusOK)
		if c.Unread != 0 || c.AgentReadSeq != 2 {
			t.Errorf("after reading: unread %d, mark %d", c.Unread, c.AgentReadSeq)
		}

		agent.Do(t, "POST", asMember+"/conversations/"+id+"/assign", map[string]string{"member": tenant.Owner}, &c).Want(t, http.StatusOK)
		if c.Assignee == nil || c.Assignee.Name != "Owner of acme" {
			t.Errorf("assigned to %+v", c.Assignee)
		}
		agent.Do(t, "POST", asMember+"/conversations/"+id+"/assign", map[string]string{"member": "nobody"}, nil).WantCode(t, 422, "member_unknown")
		for range 2 {
			agent.Do(t, "POST", asMember+"/conversations/"+id+"/close", nil, &c).Want(t, http.StatusOK)
		}
		if c.State != "closed" {
			t.Errorf("closed, it is %s", c.State)
		}
		_, r = send(t, visitor, asVisitor, id, "v2", "One more thing")
		r.Want(t, http.StatusCreated)
		agent.Do(t, "GET", asMember+"/conversations?assignee=me", nil, &inbox).Want(t, http.StatusOK)
		if len(inbox.Items) != 1 || inbox.Items[0].State != "open" || inbox.Items[0].Unread != 1 || inbox.Items[0].LastSeq != 3 {
			t.Errorf("a message to a closed conversation leaves %+v", inbox.Items)
		}
	})
}

func TestOrderUnderConcurrency(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		visitor, begun := s.Visitor(t, tenant.Site, "first")
		const writers, each = 8, 25
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					for range 2 { // every message twice: the second time changes nothing
						_, r := send(t, visitor, asVisitor, begun.Conversation.ID, fmt.Sprintf("c-%d-%d", w, i), fmt.Sprintf("%d/%d", w, i))
						if r.Status >= 300 {
							t.Errorf("status %d: %s", r.Status, r.Body)
						}
					}
				}
			})
		}
		wg.Wait()
		var all []message
		for after := int64(0); ; {
			var p page
			path := fmt.Sprintf("%s/conversations/%s/messages?after=%d&limit=30", asVisitor, begun.Conversation.ID, after)
			if after == 0 {
				path = fmt.Sprintf("%s/conversations/%s/messages?before=2", asVisitor, begun.Conversation.ID)
			}
			visitor.Do(t, "GET", path, nil, &p).Want(t, http.StatusOK)
			all = append(all, p.Items...)
			after = all[len(all)-1].Seq
			if after > 1 && !p.More {
				break
			}
		}
		if len(all) != writers*each+1 {
			t.Fatalf("%d messages, want %d", len(all), writers*each+1)
		}
		seen := map[string]bool{}
		for i, m := range all {
			if m.Seq != int64(i+1) || seen[m.ClientID] {
				t.Fatalf("message %d has seq %d, client id %s", i, m.Seq, m.ClientID)
			}
			seen[m.ClientID] = true
		}
		// Backwards, page by page, it is the same conversation.
		var back []message
		for before := int64(1 << 40); ; {
			var p page
			visitor.Do(t, "GET", fmt.Sprintf("%s/conversations/%s/messages?before=%d&limit=30", asVisitor, begun.Conversation.ID, before), nil, &p).Want(t, http.StatusOK)
			back = append(p.Items, back...)
			if !p.More {
				break
			}
			before = back[0].Seq
		}
		if len(back) != len(all) || back[0].Seq != 1 || back[len(back)-1].ID != all[len(all)-1].ID {
			t.Errorf("backwards: %d messages from %d", len(back), back[0].Seq)
		}
	})
}

func TestBeginTwiceIsOneConversation(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		in := map[string]string{"client_id": parleytest.NewClientID(), "body": "hello"}
		path := asVisitor + "/sites/" + tenant.Site + "/conversations"
		var got [4]parleytest.Begun
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { s.Client(t).Do(t, "POST", path, in, &got[i]) })
		}
		wg.Wait()
		for _, b := range got {
			if b.Conversation.ID != got[0].Conversation.ID || b.Visitor.ID != got[0].Visitor.ID || b.Token == "" {
				t.Errorf("began %+v, want the conversation of %+v", b, got[0])
			}
			c := s.Client(t)
			c.Token = b.Token
			c.Do(t, "GET", asVisitor+"/conversations", nil, nil).Want(t, http.StatusOK)
		}
		// The visitor comes back with the token: the same person.
		c := s.Client(t)
		c.Token = got[0].Token
		var more parleytest.Begun
		c.Do(t, "POST", path, map[string]string{"client_id": "second", "body": "me again"}, &more).Want(t, http.StatusCreated)
		if more.Visitor.ID != got[0].Visitor.ID || more.Token != "" || more.Conversation.ID == got[0].Conversation.ID {
			t.Errorf("came back as %+v", more)
		}
	})
}

// TestClientIDVouchesForNobodyElse holds what a first message's client id is worth: a new token for a browser that lost the answer,
// and nothing to agents, or to a program that happens to count the same way.
func TestClientIDVouchesForNobodyElse(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		path := asVisitor + "/sites/" + tenant.Site + "/conversations"
		first := map[string]string{"client_id": "1", "body": "hello"}
		s.Client(t).Do(t, "POST", path, first, nil).Want(t, http.StatusCreated)
		s.Client(t).Do(t, "POST", path, first, nil).WantCode(t, 409, "client_id_used")

		visitor, begun := s.Visitor(t, tenant.Site, "hello")
		_, r := send(t, visitor, asVisitor, begun.Conversation.ID, "mine", "there")
		r.Want(t, http.StatusCreated)
		var own, shown page
		at := "/conversations/" + begun.Conversation.ID + "/messages"
		visitor.Do(t, "GET", asVisitor+at, nil, &own).Want(t, http.StatusOK)
		tenant.Client.Do(t, "GET", asMember+at, nil, &shown).Want(t, http.StatusOK)
		if own.Items[0].ClientID == "" || shown.Items[0].ClientID != "" || shown.Items[1].ClientID != "mine" {
			t.Errorf("the visitor sees %+v, agents %+v", own.Items, shown.Items)
		}
		_, r = send(t, tenant.Client, asMember, begun.Conversation.ID, "mine", "an answer that must not be taken for stored")
		r.WantCode(t, 409, "client_id_used")
	})
}

func TestForeignIdsAreNotFound(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		acme, globex := s.Tenant(t, "acme"), s.Tenant(t, "globex")
		visitor, begun := s.Visitor(t, acme.Site, "secret")
		_, agentID := s.Member(t, acme.Org, "agent@acme.example", "agent", "Agent")
		_ = agentID
		other, _ := s.Visitor(t, acme.Site, "someone else")
		id := begun.Conversation.ID
		msg := map[string]string{"client_id": "x", "body": "y"}
		for _, who := range []struct {
			name   string
			client *parleytest.Client
			prefix string
		}{{"another organisation's owner", globex.Client, asMember}, {"another visitor of the site", other, asVisitor}} {
			t.Run(who.name, func(t *testing.T) {
				for _, call := range []struct {
					method, path string
					body         any
				}{
					{"GET", "/conversations/" + id, nil}, {"GET", "/conversations/" + id + "/messages", nil},
					{"POST", "/conversations/" + id + "/messages", msg}, {"POST", "/conversations/" + id + "/read", map[string]int{"seq": 1}},
				} {
					who.client.Do(t, call.method, who.prefix+call.path, call.body, nil).WantCode(t, 404, "conversation_unknown")
				}
			})
		}
		for _, path := range []string{"/close", "/reopen"} {
			globex.Client.Do(t, "POST", asMember+"/conversations/"+id+path, nil, nil).WantCode(t, 404, "conversation_unknown")
		}
		globex.Client.Do(t, "POST", asMember+"/conversations/"+id+"/assign", map[string]any{"member": nil}, nil).WantCode(t, 404, "conversation_unknown")
		globex.Client.Do(t, "GET", asMember+"/persons/"+begun.Visitor.ID, nil, nil).WantCode(t, 404, "person_unknown")
		globex.Client.Do(t, "DELETE", asMember+"/persons/"+begun.Visitor.ID, nil, nil).WantCode(t, 404, "person_unknown")
		globex.Client.Do(t, "PATCH", asMember+"/sites/"+acme.Site, map[string]string{"name": "mine"}, nil).WantCode(t, 404, "site_unknown")
		var inbox list
		globex.Client.Do(t, "GET", asMember+"/conversations?ids="+id, nil, &inbox).Want(t, http.StatusOK)
		if len(inbox.Items) != 0 {
			t.Error("another organisation's conversation is listed")
		}
		var seen page
		visitor.Do(t, "GET", asVisitor+"/conversations/"+id+"/messages", nil, &seen)
		if len(seen.Items) != 1 {
			t.Errorf("after all that the conversation holds %d messages, want 1", len(seen.Items))
		}
	})
}

func TestBadInput(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		visitor, begun := s.Visitor(t, tenant.Site, "hello")
		messages := asVisitor + "/conversations/" + begun.Conversation.ID + "/messages"
		sites := asVisitor + "/sites/"
		body := func(b string) map[string]string { return map[string]string{"client_id": "c", "body": b} }
		for name, c := range map[string]struct {
			path   string
			in     any
			status int
			code   string
		}{
			"unknown site":      {sites + "nope/conversations", body("x"), 404, "site_unknown"},
			"too long":          {messages, body(strings.Repeat("a", 8193)), 413, "message_too_long"},
			"empty":             {messages, body(" \n "), 422, "message_empty"},
			"control character": {messages, body("a\x07b"), 422, "message_control_character"},
			"bad client id":     {messages, map[string]string{"client_id": "ü", "body": "x"}, 422, "client_id_invalid"},
			"malformed JSON":    {messages, `{"client_id":`, 400, "malformed"},
			"invalid UTF-8":     {messages, "{\"client_id\":\"c\",\"body\":\"\xff\xfe\"}", 400, "malformed"},
			"body too large":    {messages, body(strings.Repeat("a", 70_000)), 413, "body_too_large"},
			"bad e-mail": {sites + tenant.Site + "/conversations", map[string]any{"client_id": "n", "body": "x",
				"visitor": map[string]string{"email": "not an address"}}, 422, "email_invalid"},
		} {
			t.Run(name, func(t *testing.T) {
				visitor.Do(t, "POST", c.path, c.in, nil).WantCode(t, c.status, c.code)
			})
		}
		visitor.Do(t, "POST", messages, body(strings.Repeat("a", 8192)), nil).Want(t, http.StatusCreated)
		var seen page
		visitor.Do(t, "GET", messages, nil, &seen)
		if len(seen.Items) != 2 {
			t.Errorf("%d messages are stored, want 2: nothing of what was refused", len(seen.Items))
		}
		owner := tenant.Client
		owner.Do(t, "POST", asMember+"/sites", map[string]any{"name": "a\x00b", "origins": []string{"https://a.example"}}, nil).WantCode(t, 422, "site_name_invalid")
		owner.Do(t, "POST", asMember+"/sites", map[string]any{"name": "a", "origins": []string{"https://münchen.example"}}, nil).WantCode(t, 422, "origin_invalid")
		for _, path := range []string{"/conversations/a%00b", "/conversations?assignee=%00", "/persons/%00"} { // the engines differ in whether they take it
			if r := owner.Do(t, "GET", asMember+path, nil, nil); r.Status >= 500 {
				t.Errorf("GET %s: %d", path, r.Status)
			}
		}
		visitor.Do(t, "GET", messages+"?before=1&after=1", nil, nil).WantCode(t, 422, "before_and_after")

		stranger := s.Client(t)
		stranger.Do(t, "GET", asVisitor+"/conversations", nil, nil).WantCode(t, 401, "token_missing")
		stranger.Token = strings.Repeat("A", 43)
		stranger.Do(t, "GET", asVisitor+"/conversations", nil, nil).WantCode(t, 401, "token_unknown")
		s.Client(t).Do(t, "GET", asMember+"/conversations", nil, nil).WantCode(t, 401, "signed_out")
		visitor.Do(t, "DELETE", asVisitor+"/session", nil, nil).Want(t, http.StatusNoContent)
		visitor.Do(t, "GET", asVisitor+"/conversations", nil, nil).WantCode(t, 401, "token_unknown")
	})
}

func TestOriginNotAllowed(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	tenant := s.Tenant(t, "acme")
	ask := func(origin string) parleytest.Response {
		req, err := http.NewRequest("GET", s.URL+asVisitor+"/sites/"+tenant.Site, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return parleytest.Response{Status: res.StatusCode, Header: res.Header}
	}
	if r := ask(tenant.Origin); r.Status != 200 || r.Header.Get("Access-Control-Allow-Origin") != tenant.Origin {
		t.Errorf("own origin: %d, allows %q", r.Status, r.Header.Get("Access-Control-Allow-Origin"))
	}
	if r := ask("https://evil.example"); r.Status != 403 || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign origin: %d, allows %q", r.Status, r.Header.Get("Access-Control-Allow-Origin"))
	}
	res, err := http.Get(s.URL + "/w/" + tenant.Site)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'self' "+tenant.Origin) {
		t.Errorf("the frame may stand on: %s", csp)
	}
}

func TestPromise_F7_ErasingAPersonEndsTheConversation(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		visitor, begun := s.Visitor(t, tenant.Site, "erase me")
		_, agent := s.Member(t, tenant.Org, "agent@acme.example", "agent", "Agent")
		agent.Do(t, "DELETE", asMember+"/persons/"+begun.Visitor.ID, nil, nil).WantCode(t, 403, "role_needed")
		var receipt struct {
			LedgerSeq int64 `json:"ledger_seq"`
		}
		tenant.Client.Do(t, "DELETE", asMember+"/persons/"+begun.Visitor.ID, nil, &receipt).Want(t, http.StatusOK)
		if receipt.LedgerSeq == 0 {
			t.Error("the receipt names no place in the ledger")
		}
		tenant.Client.Do(t, "GET", asMember+"/conversations/"+begun.Conversation.ID, nil, nil).WantCode(t, 404, "conversation_unknown")
		tenant.Client.Do(t, "DELETE", asMember+"/persons/"+begun.Visitor.ID, nil, nil).WantCode(t, 404, "person_unknown")
		visitor.Do(t, "GET", asVisitor+"/conversations", nil, nil).WantCode(t, 401, "token_unknown")
	})
}

func TestInboxPages(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		var want []string
		for i := range 7 {
			_, b := s.Visitor(t, tenant.Site, fmt.Sprint("conversation ", i))
			want = append([]string{b.Conversation.ID}, want...)
		}
		var got []string
		for cursor := ""; ; {
			var l list
			tenant.Client.Do(t, "GET", asMember+"/conversations?limit=3&cursor="+cursor, nil, &l).Want(t, http.StatusOK)
			for _, c := range l.Items {
				got = append(got, c.ID)
			}
			if cursor = l.Next; cursor == "" {
				break
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("the pages list\n%v, want\n%v", got, want)
		}
		tenant.Client.Do(t, "GET", asMember+"/conversations?cursor=%00", nil, nil).WantCode(t, 422, "cursor_invalid")
	})
}

func TestVisitorFloodIsSlowed(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.SocketCommands = 2 }})
	tenant := s.Tenant(t, "acme")
	visitor, begun := s.Visitor(t, tenant.Site, "hello")
	neighbour, other := s.Visitor(t, tenant.Site, "hello")
	var r parleytest.Response
	for i := 0; r.Status != http.StatusTooManyRequests; i++ {
		if i > 100 {
			t.Fatal("a hundred messages at once were taken")
		}
		_, r = send(t, visitor, asVisitor, begun.Conversation.ID, fmt.Sprint("flood-", i), "again")
	}
	r.WantCode(t, http.StatusTooManyRequests, "too_many_messages")
	if r.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to come back")
	}
	_, r = send(t, neighbour, asVisitor, other.Conversation.ID, "calm", "and I?")
	r.Want(t, http.StatusCreated)
}
