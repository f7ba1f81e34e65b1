package chat_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

type created struct {
	Conversation string  `json:"conversation"`
	Message      message `json:"message"`
}

// talk is a conversation in which both sides have an open socket.
type talk struct {
	tenant         parleytest.Tenant
	begun          parleytest.Begun
	id             string
	visitor, agent *parleytest.Socket
}

func TestSocketCarriesTheConversation(t *testing.T) {
	each(t, func(t *testing.T, s *parleytest.Server) {
		tenant := s.Tenant(t, "acme")
		visitor, begun := s.Visitor(t, tenant.Site, "hello")
		k := talk{tenant: tenant, begun: begun, id: begun.Conversation.ID, visitor: visitor.Socket(t), agent: tenant.Client.Socket(t)}
		k.bothOnline(t, s)
		k.messages(t)
		k.signals(t)
		k.assignment(t)
		k.visitor.Cut()
		if e := k.agent.Wait(t, "leave", nil); e.User != "visitor:"+begun.Visitor.ID {
			t.Errorf("left: %s", e.User)
		}
	})
}

func (k talk) bothOnline(t *testing.T, s *parleytest.Server) {
	t.Helper()
	if err := k.agent.Subscribe("conv:" + k.id); err != nil {
		t.Fatal(err)
	}
	for e := k.visitor.Wait(t, "join", nil); e.User != "member:"+k.tenant.Owner; { // the visitor's own join may come first
		e = k.visitor.Wait(t, "join", nil)
	}
	var c conversation
	k.tenant.Client.Do(t, "GET", asMember+"/conversations/"+k.id, nil, &c).Want(t, http.StatusOK)
	if !c.Visitor.Online {
		t.Error("the visitor's socket is open and they count as away")
	}
	var widget struct {
		Online bool `json:"online"`
	}
	s.Client(t).Do(t, "GET", asVisitor+"/sites/"+k.tenant.Site, nil, &widget)
	if !widget.Online {
		t.Error("an agent's console is open and the site counts as away")
	}
}

func (k talk) messages(t *testing.T) {
	t.Helper()
	var m message
	err := k.visitor.Call("send", map[string]string{"conversation": k.id, "client_id": "v1", "body": "over the socket"}, &m)
	if err != nil || m.Seq != 2 {
		t.Fatalf("sent %+v, %v", m, err)
	}
	var got created
	if e := k.agent.Wait(t, "chat.message.created.v1", &got); e.Seq != 2 || got.Message.Body != "over the socket" || got.Message.Author.ID != k.begun.Visitor.ID {
		t.Errorf("the agent's socket brings %+v", got)
	}
	var inbox struct {
		Conversations []string `json:"conversations"`
		Counts        struct{ Open int64 }
	}
	k.agent.Wait(t, "chat.inbox.changed.v1", &inbox)
	if len(inbox.Conversations) != 1 || inbox.Conversations[0] != k.id || inbox.Counts.Open != 1 {
		t.Errorf("the inbox hears of %+v", inbox)
	}
	if err := k.agent.Call("send", map[string]string{"conversation": k.id, "client_id": "a1", "body": "answer"}, nil); err != nil {
		t.Fatal(err)
	}
	for got.Message.ClientID != "a1" {
		k.visitor.Wait(t, "chat.message.created.v1", &got)
	}
	if got.Message.Author.Name != "Owner of acme" {
		t.Errorf("the visitor sees the answer of %+v", got.Message.Author)
	}
}

func (k talk) signals(t *testing.T) {
	t.Helper()
	var read struct {
		By  string `json:"by"`
		Seq int64  `json:"seq"`
	}
	if err := k.visitor.Call("read", map[string]any{"conversation": k.id, "seq": 3}, nil); err != nil {
		t.Fatal(err)
	}
	if k.agent.Wait(t, "chat.read.v1", &read); read.By != "visitor" || read.Seq != 3 {
		t.Errorf("read: %+v", read)
	}
	var typing struct {
		By struct{ Kind, ID string }
		On bool
	}
	if err := k.agent.Call("typing", map[string]any{"conversation": k.id, "on": true}, nil); err != nil {
		t.Fatal(err)
	}
	if k.visitor.Wait(t, "chat.typing.v1", &typing); typing.By.Kind != "agent" || typing.By.ID != k.tenant.Owner || !typing.On {
		t.Errorf("typing: %+v", typing)
	}
}

func (k talk) assignment(t *testing.T) {
	t.Helper()
	var updated struct {
		State    string
		Assignee *struct{ Name string }
	}
	k.tenant.Client.Do(t, "POST", asMember+"/conversations/"+k.id+"/assign", map[string]string{"member": k.tenant.Owner}, nil).Want(t, http.StatusOK)
	if k.visitor.Wait(t, "chat.conversation.updated.v1", &updated); updated.Assignee == nil || updated.Assignee.Name != "Owner of acme" {
		t.Errorf("assigned: %+v", updated)
	}
}

func TestSocketRefuses(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	acme, globex := s.Tenant(t, "acme"), s.Tenant(t, "globex")
	visitor, begun := s.Visitor(t, acme.Site, "hello")
	other, _ := s.Visitor(t, acme.Site, "hello")
	want := func(name string, err error, code int) {
		t.Helper()
		var e *parleytest.CallError
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v, want %d", name, err, code)
		}
	}
	foreign, neighbour := globex.Client.Socket(t), other.Socket(t)
	conv := "conv:" + begun.Conversation.ID
	want("another organisation subscribes", foreign.Subscribe(conv), 404)
	want("another visitor subscribes", neighbour.Subscribe(conv), 404)
	want("a visitor subscribes to the inbox", neighbour.Subscribe("org:"+acme.Org), 403)
	msg := map[string]string{"conversation": begun.Conversation.ID, "client_id": "x", "body": "y"}
	want("another organisation sends", foreign.Call("send", msg, nil), 404)
	want("another visitor sends", neighbour.Call("send", msg, nil), 404)
	want("another visitor types", neighbour.Call("typing", map[string]any{"conversation": begun.Conversation.ID, "on": true}, nil), 404)
	want("too long", visitor.Socket(t).Call("send", map[string]string{"conversation": begun.Conversation.ID, "client_id": "x", "body": strings.Repeat("a", 9000)}, nil), 413)
	want("no such method", foreign.Call("shout", map[string]string{}, nil), 404)

	stranger := s.Client(t)
	if _, err := stranger.TrySocket(t); err == nil {
		t.Error("a stranger may connect")
	}
	acme.Client.Do(t, "DELETE", asMember+"/persons/"+begun.Visitor.ID, nil, nil).Want(t, 200)
	if _, err := visitor.TrySocket(t); err == nil {
		t.Error("an erased visitor may connect")
	}
}

// A client whose socket is cut in the middle of a stream fetches what it missed by seq: nothing twice, nothing lost. The
// same holds across a restart of the server.
func TestRecoveryAfterCutAndRestart(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = url }})
		tenant := s.Tenant(t, "acme")
		visitor, begun := s.Visitor(t, tenant.Site, "m1")
		id := begun.Conversation.ID
		agent := tenant.Client.Socket(t)
		if err := agent.Subscribe("conv:" + id); err != nil {
			t.Fatal(err)
		}
		var got []int64
		follow := func(sock *parleytest.Socket, until int64) {
			for {
				select {
				case e := <-sock.Events:
					if e.Type != "chat.message.created.v1" {
						continue
					}
					if last := got[len(got)-1]; e.Seq == last+1 {
						got = append(got, e.Seq)
					} else if e.Seq > last {
						got = fetch(t, tenant.Client, id, got)
					}
				default:
					got = fetch(t, tenant.Client, id, got)
				}
				if got[len(got)-1] >= until {
					return
				}
			}
		}
		got = []int64{1}
		var wg sync.WaitGroup
		sendRun := func(from, to int) {
			wg.Go(func() {
				for i := from; i <= to; i++ {
					_, r := send(t, visitor, asVisitor, id, fmt.Sprint("m", i), fmt.Sprint("m", i))
					r.Want(t, http.StatusCreated)
				}
			})
		}
		sendRun(2, 40)
		follow(agent, 15)
		agent.Cut()
		wg.Wait()
		agent = tenant.Client.Socket(t)
		if err := agent.Subscribe("conv:" + id); err != nil {
			t.Fatal(err)
		}
		follow(agent, 40)
		s.Restart(t)
		agent = tenant.Client.Socket(t)
		if err := agent.Subscribe("conv:" + id); err != nil {
			t.Fatal(err)
		}
		sendRun(41, 60)
		follow(agent, 60)
		wg.Wait()
		for i, seq := range got {
			if seq != int64(i+1) {
				t.Fatalf("position %d holds seq %d: %v", i, seq, got)
			}
		}
	})
}

func fetch(t *testing.T, c *parleytest.Client, id string, got []int64) []int64 {
	t.Helper()
	for {
		var p page
		c.Do(t, "GET", fmt.Sprintf("%s/conversations/%s/messages?after=%d", asMember, id, got[len(got)-1]), nil, &p).Want(t, http.StatusOK)
		for _, m := range p.Items {
			got = append(got, m.Seq)
		}
		if !p.More {
			return got
		}
	}
}
