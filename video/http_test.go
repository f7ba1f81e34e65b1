package video_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// These tests speak to the real server with the real media engine, over HTTP, the socket and the media ports.

const (
	asMember  = "/api/v1"
	asVisitor = "/api/v1/widget"
)

type session struct {
	ID           string    `json:"id"`
	Conversation string    `json:"conversation"`
	State        string    `json:"state"`
	Media        string    `json:"media"`
	StartedBy    string    `json:"started_by"`
	RingUntil    time.Time `json:"ring_until"`
	EndReason    string    `json:"end_reason"`
	Agent        *struct{ ID, Name string }
	Participants []struct {
		ID       string     `json:"id"`
		Kind     string     `json:"kind"`
		Member   string     `json:"member"`
		Name     string     `json:"name"`
		JoinedAt *time.Time `json:"joined_at"`
		LeftAt   *time.Time `json:"left_at"`
	} `json:"participants"`
}

type pass struct {
	URL, Room, Token, Identity string
	ExpiresAt                  time.Time `json:"expires_at"`
}

type notice struct {
	ID, Version, Lang, Title string
	Paragraphs               []string
	Acknowledged             bool
}

// house is a running server with an organisation, its owner, an agent, and a visitor who wrote.
type house struct {
	*parleytest.Server
	tenant       parleytest.Tenant
	owner, agent *parleytest.Client
	agentID      string
	visitor      *parleytest.Client
	begun        parleytest.Begun
	calls        string // of the conversation
}

func eachHouse(t *testing.T, fn func(t *testing.T, h *house)) {
	testdb.Each(t, func(t *testing.T, url string) {
		h := &house{Server: parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = url }})}
		h.tenant = h.Tenant(t, "acme")
		h.owner = h.tenant.Client
		h.agentID, h.agent = h.Member(t, h.tenant.Org, "agent@acme.example", "agent", "Anton")
		h.visitor, h.begun = h.Visitor(t, h.tenant.Site, "Hello")
		h.calls = "/conversations/" + h.begun.Conversation.ID + "/calls"
		fn(t, h)
	})
}

func ring(t *testing.T, c *parleytest.Client, path string) (s session) {
	t.Helper()
	c.Do(t, "POST", path, map[string]string{"client_id": parleytest.NewClientID(), "media": "video"}, &s).Want(t, http.StatusCreated)
	return s
}

// enter acknowledges the notice, joins and connects to the engine.
func enter(t *testing.T, c *parleytest.Client, prefix, id string) (pass, *client.Participant) {
	t.Helper()
	var n notice
	c.Do(t, "GET", prefix+"/notices/media", nil, &n).Want(t, http.StatusOK)
	c.Do(t, "POST", prefix+"/notices/media/acknowledge", map[string]string{"version": n.Version, "surface": "console"}, nil).Want(t, http.StatusNoContent)
	var p pass
	c.Do(t, "POST", prefix+"/calls/"+id+"/join", nil, &p).Want(t, http.StatusOK)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	who, err := client.Join(ctx, client.Config{URL: c.URL, Token: p.Token, HTTP: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = who.Close() }) // it may have ended
	return p, who
}

func awaitEnd(t *testing.T, who *client.Participant) (why signal.DisconnectReason) {
	t.Helper()
	select {
	case <-who.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the participation goes on")
	}
	if err, ok := who.Snapshot().Err.(*client.EndedError); ok { //nolint:errorlint // as the client sets it
		return err.Reason
	}
	return signal.DisconnectReason_UNKNOWN_REASON
}

func TestCallOverHTTP(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		mine, theirs := h.visitor.Socket(t), h.agent.Socket(t)
		s := ring(t, h.visitor, asVisitor+h.calls)
		var told struct {
			Session, Conversation, State, Media string
			StartedBy                           string    `json:"started_by"`
			RingUntil                           time.Time `json:"ring_until"`
			EndReason                           string    `json:"end_reason"`
		}
		if e := theirs.Wait(t, "video.session.changed.v1", &told); e.Channel != "org:"+h.tenant.Org || told.Session != s.ID || told.State != "ringing" ||
			told.Conversation != h.begun.Conversation.ID || told.StartedBy != "visitor" || !told.RingUntil.Equal(s.RingUntil) {
			t.Errorf("the console hears %s %+v", e.Channel, told)
		}
		var busy struct{ Object, Detail string }
		r := h.agent.Do(t, "POST", asMember+h.calls, map[string]string{"client_id": "x", "media": "audio"}, nil).WantCode(t, 409, "call_busy")
		if err := json.Unmarshal(r.Body, &busy); err != nil || busy.Object != s.ID {
			t.Errorf("the refusal is %s", r.Body)
		}
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/join", nil, nil).WantCode(t, 409, "notice_unacknowledged")
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, &s).Want(t, http.StatusOK)
		if s.State != "live" || s.Agent == nil || s.Agent.Name != "Anton" {
			t.Errorf("accepted, it is %+v", s)
		}
		h.owner.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, nil).WantCode(t, 409, "call_taken")
		_, visitor := enter(t, h.visitor, asVisitor, s.ID)
		p, agent := enter(t, h.agent, asMember, s.ID)
		if p.URL != "/rtc" || p.ExpiresAt.Before(time.Now()) || p.Room != s.ID {
			t.Errorf("the pass is %+v", p)
		}
		var came struct{ Session, Identity, Kind, Member string }
		for _, want := range []string{"visitor", "agent"} {
			if mine.Wait(t, "video.participant.joined.v1", &came); came.Kind != want || came.Session != s.ID || (came.Member != "") != (want == "agent") {
				t.Errorf("the visitor hears %+v, want %s", came, want)
			}
		}
		seesOnly(t, visitor, p.Identity)
		h.visitor.Do(t, "POST", asVisitor+"/calls/"+s.ID+"/end", nil, &s).Want(t, http.StatusOK)
		for _, who := range []*client.Participant{agent, visitor} {
			if why := awaitEnd(t, who); why != signal.DisconnectReason_ROOM_DELETED {
				t.Errorf("at the end the engine says %s", why)
			}
		}
		for told.State != "ended" {
			mine.Wait(t, "video.session.changed.v1", &told)
		}
		if told.EndReason != "hung_up" {
			t.Errorf("it ended as %s", told.EndReason)
		}
		var list struct{ Items []session }
		h.agent.Do(t, "GET", asMember+h.calls, nil, &list).Want(t, http.StatusOK)
		if len(list.Items) != 1 || list.Items[0].EndReason != "hung_up" {
			t.Errorf("the history is %+v", list)
		}
		h.agent.Do(t, "GET", asMember+"/calls", nil, &list).Want(t, http.StatusOK)
		if len(list.Items) != 0 {
			t.Errorf("running: %+v", list)
		}
	})
}

// Both sides are told whether calls can be held, so that none is offered where it would be refused.
func TestAvailableOverHTTP(t *testing.T) {
	for name, port := range map[string]string{"on": "127.0.0.1:0", "off": "off"} {
		t.Run(name, func(t *testing.T) {
			s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.RTCUDP, c.RTCTCP, c.RTCTURN = port, port, port }})
			tenant := s.Tenant(t, "acme")
			var site struct{ Calls bool }
			s.Client(t).Do(t, "GET", asVisitor+"/sites/"+tenant.Site, nil, &site).Want(t, http.StatusOK)
			var running struct{ Available bool }
			tenant.Client.Do(t, "GET", asMember+"/calls", nil, &running).Want(t, http.StatusOK)
			if on := port != "off"; site.Calls != on || running.Available != on {
				t.Errorf("the site says %v, the console is told %v", site.Calls, running.Available)
			}
		})
	}
}

// seesOnly waits until a participant sees one other, who has an identity and nothing else.
func seesOnly(t *testing.T, who *client.Participant, identity string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := who.Await(ctx, func(sn *client.Snapshot) bool {
		return len(sn.Participants) == 1 && sn.Participants[0].GetIdentity() == identity && sn.Participants[0].GetName() == "" && sn.Participants[0].GetMetadata() == ""
	})
	if err != nil {
		t.Errorf("a participant sees somebody else, or more than one: %v", err)
	}
}

// The visitor's page is reloaded in mid-call: they come back, and the agent sees one visitor, not two.
func TestReloadOverHTTP(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		s := ring(t, h.visitor, asVisitor+h.calls)
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		first, before := enter(t, h.visitor, asVisitor, s.ID)
		_, agent := enter(t, h.agent, asMember, s.ID)
		seesOnly(t, agent, first.Identity)
		again, _ := enter(t, h.visitor, asVisitor, s.ID)
		if why := awaitEnd(t, before); why != signal.DisconnectReason_DUPLICATE_IDENTITY {
			t.Errorf("the page before the reload is told %s", why)
		}
		seesOnly(t, agent, again.Identity)
		if _, err := client.Join(t.Context(), client.Config{URL: h.URL, Token: first.Token, HTTP: &http.Client{}}); err == nil {
			t.Error("the token of before the reload still opens the room")
		}
		h.visitor.Do(t, "GET", asVisitor+"/calls/"+s.ID, nil, &s).Want(t, http.StatusOK)
		if n := len(s.Participants); n != 3 || s.Participants[0].LeftAt == nil || s.Participants[1].Name != "Anton" || s.Participants[2].LeftAt != nil {
			t.Errorf("the call is %+v", s)
		}
	})
}

func TestManagersOverHTTP(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		s := ring(t, h.agent, asMember+h.calls)
		h.visitor.Do(t, "POST", asVisitor+"/calls/"+s.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		p, visitor := enter(t, h.visitor, asVisitor, s.ID)
		_, agent := enter(t, h.agent, asMember, s.ID)
		remove := asMember + "/calls/" + s.ID + "/participants/" + p.Identity + "/remove"
		h.agent.Do(t, "POST", remove, nil, nil).WantCode(t, 403, "role_needed")
		h.owner.Do(t, "POST", remove, nil, nil).Want(t, http.StatusNoContent)
		if why := awaitEnd(t, visitor); why != signal.DisconnectReason_PARTICIPANT_REMOVED {
			t.Errorf("the removed one is told %s", why)
		}
		h.visitor.Do(t, "POST", asVisitor+"/calls/"+s.ID+"/join", nil, nil).WantCode(t, 403, "call_removed")
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/force-end", nil, nil).WantCode(t, 403, "role_needed")
		h.owner.Do(t, "POST", asMember+"/calls/"+s.ID+"/force-end", nil, &s).Want(t, http.StatusOK)
		if s.EndReason != "forced" {
			t.Errorf("it ended as %s", s.EndReason)
		}
		awaitEnd(t, agent)
	})
}

// The server stops in mid-call: people are told why, over the socket and by the engine, and afterwards the call is over.
func TestStopOverHTTP(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		s := ring(t, h.visitor, asVisitor+h.calls)
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		_, visitor := enter(t, h.visitor, asVisitor, s.ID)
		socket := h.visitor.Socket(t)
		other, begun := h.Visitor(t, h.tenant.Site, "Hello too")
		rings := ring(t, other, asVisitor+"/conversations/"+begun.Conversation.ID+"/calls")
		h.Restart(t)
		var told struct {
			State     string
			EndReason string `json:"end_reason"`
		}
		if socket.Wait(t, "video.session.changed.v1", &told); told.State != "ended" || told.EndReason != "shutdown" {
			t.Errorf("the visitor hears %+v", told)
		}
		if why := awaitEnd(t, visitor); why != signal.DisconnectReason_SERVER_SHUTDOWN {
			t.Errorf("the engine says %s", why)
		}
		h.visitor.Do(t, "GET", asVisitor+"/calls/"+s.ID, nil, &s).Want(t, http.StatusOK)
		if s.State != "ended" || s.EndReason != "shutdown" {
			t.Errorf("after the restart it is %s %s", s.State, s.EndReason)
		}
		other.Do(t, "GET", asVisitor+"/calls/"+rings.ID, nil, &rings).Want(t, http.StatusOK)
		if rings.State != "ringing" {
			t.Errorf("what rang is %s %s", rings.State, rings.EndReason)
		}
		h.agent.Do(t, "POST", asMember+"/calls/"+rings.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		enter(t, other, asVisitor, rings.ID)
	})
}

func TestErasedInMidCall(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		s := ring(t, h.visitor, asVisitor+h.calls)
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		_, visitor := enter(t, h.visitor, asVisitor, s.ID)
		_, agent := enter(t, h.agent, asMember, s.ID)
		h.owner.Do(t, "DELETE", asMember+"/persons/"+h.begun.Visitor.ID, nil, nil).Want(t, http.StatusOK)
		awaitEnd(t, visitor)
		awaitEnd(t, agent)
		h.agent.Do(t, "GET", asMember+"/calls/"+s.ID, nil, nil).WantCode(t, 404, "call_unknown")
		h.agent.Do(t, "GET", asMember+h.calls, nil, nil).WantCode(t, 404, "conversation_unknown")
		h.visitor.Do(t, "GET", asVisitor+"/calls/"+s.ID, nil, nil).WantCode(t, 401, "token_unknown")
	})
}

// A member who is taken out of the organisation is taken out of its calls.
func TestMemberGoesInMidCall(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		s := ring(t, h.visitor, asVisitor+h.calls)
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/accept", nil, nil).Want(t, http.StatusOK)
		_, visitor := enter(t, h.visitor, asVisitor, s.ID)
		p, agent := enter(t, h.agent, asMember, s.ID)
		seesOnly(t, visitor, p.Identity)
		h.owner.Do(t, "DELETE", asMember+"/members/"+h.agentID, nil, nil).Want(t, http.StatusNoContent)
		awaitEnd(t, agent)
		if _, err := client.Join(t.Context(), client.Config{URL: h.URL, Token: p.Token, HTTP: &http.Client{}}); err == nil {
			t.Error("their token still opens the room")
		}
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/join", nil, nil).WantCode(t, 401, "signed_out")
		h.visitor.Do(t, "GET", asVisitor+"/calls/"+s.ID, nil, &s).Want(t, http.StatusOK)
		if s.State != "live" || s.Participants[1].LeftAt == nil {
			t.Errorf("the call is %+v", s)
		}
	})
}

// Nobody calls without saying who they are, and what is malformed is refused by name.
func TestRefusedOverHTTP(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		nobody := h.Client(t)
		s := ring(t, h.visitor, asVisitor+h.calls)
		for _, path := range []string{"/accept", "/decline", "/end", "/leave", "/join", "/force-end"} {
			nobody.Do(t, "POST", asMember+"/calls/"+s.ID+path, nil, nil).WantCode(t, 401, "signed_out")
		}
		nobody.Do(t, "POST", asVisitor+"/calls/"+s.ID+"/end", nil, nil).WantCode(t, 401, "token_missing")
		h.agent.Do(t, "POST", asMember+h.calls, map[string]string{"client_id": "a b", "media": "video"}, nil).WantCode(t, 422, "client_id_invalid")
		h.agent.Do(t, "POST", asMember+h.calls, map[string]string{"client_id": "x", "media": "smoke"}, nil).WantCode(t, 422, "invalid")
		h.agent.Do(t, "POST", asMember+h.calls, `{`, nil).WantCode(t, 400, "malformed")
		stranger := h.Tenant(t, "other").Client
		for _, path := range []string{"/accept", "/decline", "/end", "/leave", "/join", "/force-end", "/participants/x/remove"} {
			stranger.Do(t, "POST", asMember+"/calls/"+s.ID+path, nil, nil).WantCode(t, 404, "call_unknown")
		}
		stranger.Do(t, "POST", asMember+h.calls, map[string]string{"client_id": "x", "media": "video"}, nil).WantCode(t, 404, "conversation_unknown")
		h.agent.Do(t, "POST", asMember+"/calls/"+s.ID+"/participants/x/remove", nil, nil).WantCode(t, 403, "role_needed")
	})
}

// Every code that this domain refuses with has its text in both languages.
func TestTextsAreComplete(t *testing.T) {
	texts := map[string]map[string]string{}
	for _, lang := range []string{"en", "de"} {
		data, err := os.ReadFile(filepath.Join("texts", lang+".json"))
		if err == nil {
			var m map[string]string
			err = json.Unmarshal(data, &m)
			texts[lang] = m
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:fault\.New\(fault\.\w+, op, |fault\.Bad\(op, "\w+", |fault\.Retry\(op, |conflict\(op, |Code: )"(\w+)"`)
	shared := []string{"signed_out", "role_needed"} // every domain's, and internal/api has their texts
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			found++
			for lang, have := range texts {
				if have["error_"+m[1]] == "" && !slices.Contains(shared, m[1]) && m[1] != "call_state" { // the last is never shown
					t.Errorf("%s: %s has no text for %s", lang, name, m[1])
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d codes were found", found)
	}
	for key := range texts["en"] {
		if texts["de"][key] == "" {
			t.Errorf("de has no %s", key)
		}
	}
}
