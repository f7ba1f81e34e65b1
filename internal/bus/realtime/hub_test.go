package realtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/bus/realtime"
	"parley/internal/fault"
)

func TestConnect(t *testing.T) {
	s := newServer(t, nil)
	c := dial(t, s)
	reply := c.call("connect", obj{"token": "visitor:1 conv:1 bad\x00channel", "data": obj{"page": 1}})["connect"].(obj)
	if reply["client"] == "" || reply["version"] != "test" || reply["ping"] != 25.0 || reply["pong"] != true || reply["expires"] != nil {
		t.Errorf("reply: %v", reply)
	}
	if got := fmt.Sprint(reply["subs"], reply["data"]); got != "map[conv:1:map[]] map[page:1]" {
		t.Errorf("subs and data: %s", got)
	}
	_ = c.ws.CloseNow()
	if id := wait(t, s.gone); id != reply["client"] {
		t.Errorf("Gone of %s, want %s", id, reply["client"])
	}
	if n := s.Stats(); n.Subscriptions != 0 || n.Channels != 0 {
		t.Errorf("after the end: %+v", n)
	}
}

func TestConnectRefused(t *testing.T) {
	s := newServer(t, nil)
	for token, want := range map[string]struct {
		code      int
		message   string
		temporary bool
		closed    int
	}{
		"":        {401, "signed_out", false, 3500},
		"expired": {109, "token expired", true, 3004},
		"down":    {503, "store_away", true, 3004},
		"panic":   {500, "internal", true, 3004},
	} {
		t.Run("token "+token, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s)
			e := failed(t, c.call("connect", obj{"token": token}), want.code, want.message)
			if (e["temporary"] == true) != want.temporary {
				t.Errorf("temporary: %v", e)
			}
			c.write(`{"id":9,"rpc":{"method":"echo"}}`) // is not answered
			if code := c.closed(); int(code) != want.closed {
				t.Errorf("closed with %d, want %d", code, want.closed)
			}
		})
	}
}

func TestCommandsBeforeConnectAndTwice(t *testing.T) {
	s := newServer(t, nil)
	c := dial(t, s)
	c.write(`{"id":1,"subscribe":{"channel":"conv:1"}}`)
	if code := c.closed(); code != 3501 {
		t.Errorf("before connect: closed with %d", code)
	}
	c = join(t, s, "visitor:1")
	c.write(`{"id":2,"connect":{"token":"visitor:2"}}`)
	if code := c.closed(); code != 3501 {
		t.Errorf("twice: closed with %d", code)
	}
}

func TestSubscribePublishUnsubscribe(t *testing.T) {
	s := newServer(t, nil)
	c := join(t, s, "member:1")
	failed(t, c.call("subscribe", obj{"channel": "secret:1"}), 404, "conversation_unknown")
	failed(t, c.call("subscribe", obj{"channel": ""}), 107, "bad request")
	if reply := c.call("subscribe", obj{"channel": "room:<é>"}); reply["subscribe"] == nil {
		t.Fatal(reply)
	}
	failed(t, c.call("subscribe", obj{"channel": "room:<é>"}), 105, "already subscribed")
	publish(t, s, "room:<é>", "{\n \"n\": 1,\n \"s\": \"a\\nb\u2028\" }")
	if got := c.pushed("room:<é>", "pub")["data"].(obj); got["n"] != 1.0 || got["s"] != "a\nb\u2028" {
		t.Errorf("data: %v", got)
	}
	publish(t, s, "room:<é>", `{"broken"`) // is left out
	publish(t, s, "room:<é>", "{\"s\":\"\xff\"}")
	publish(t, s, "room:<é>", `"last"`)
	if got := c.pushed("room:<é>", "pub")["data"]; got != "last" {
		t.Errorf("data: %v", got)
	}
	if reply := c.call("unsubscribe", obj{"channel": "room:<é>"}); reply["unsubscribe"] == nil {
		t.Fatal(reply)
	}
	publish(t, s, "room:<é>", `{"n":2}`)
	c.call("rpc", obj{"method": "nothing"}) // nothing comes before its answer
	if n := s.Stats(); n.OpenFailed != 2 || n.Channels != 0 {
		t.Errorf("stats: %+v", n)
	}
}

func TestServerSubscriptions(t *testing.T) {
	s := newServer(t, nil)
	c := join(t, s, "visitor:1 conv:1")
	c.pushed("conv:1", "join") // its own
	failed(t, c.call("subscribe", obj{"channel": "conv:1"}), 105, "already subscribed")
	failed(t, c.call("unsubscribe", obj{"channel": "conv:1"}), 103, "permission denied")
	c.command("rpc", obj{"method": "subscribe", "data": obj{"channel": "more"}})
	c.pushed("more", "subscribe")
	c.read()
	c.command("rpc", obj{"method": "unsubscribe", "data": obj{"channel": "more"}})
	if got := c.pushed("more", "unsubscribe"); got["code"] != 2000.0 {
		t.Error(got)
	}
	c.read()
	s.SubscribeActor(actor.Visitor, "1", "conv:2")
	c.pushed("conv:2", "subscribe")
	c.pushed("conv:2", "join")
	publish(t, s, "conv:2", `1`)
	c.pushed("conv:2", "pub")
}

func TestJoinLeaveAndPresence(t *testing.T) {
	s := newServer(t, nil)
	m := join(t, s, "member:m conv:1 org:1")
	m.pushed("conv:1", "join")
	v := join(t, s, "visitor:v conv:1 org:1")
	if got := m.pushed("conv:1", "join")["info"].(obj); got["user"] != "visitor:v" || got["client"] == "" {
		t.Error(got)
	}
	second := join(t, s, "visitor:v conv:1") // the same visitor's second tab changes nothing
	_ = v.ws.CloseNow()
	wait(t, s.gone)
	reply := m.call("presence", obj{"channel": "conv:1"})["presence"].(obj)["presence"].(obj)
	if len(reply) != 2 || reply["visitor:v"].(obj)["user"] != "visitor:v" || reply["member:m"] == nil {
		t.Error(reply)
	}
	if got := m.call("presence_stats", obj{"channel": "conv:1"})["presence_stats"].(obj); got["num_users"] != 2.0 {
		t.Error(got)
	}
	failed(t, m.call("presence", obj{"channel": "conv:other"}), 103, "permission denied")
	failed(t, m.call("presence", obj{"channel": "org:1"}), 103, "permission denied")
	_ = second.ws.CloseNow()
	if got := m.pushed("conv:1", "leave")["info"].(obj); got["user"] != "visitor:v" {
		t.Error(got)
	}
	users, err := s.Presence(context.Background(), []string{"conv:1", "org:1", "none"})
	if err != nil || fmt.Sprint(users) != "map[conv:1:[member:m] org:1:[member:m]]" {
		t.Error(users, err)
	}
}

func TestRPC(t *testing.T) {
	s := newServer(t, nil)
	c := join(t, s, "visitor:1")
	if got := c.call("rpc", obj{"method": "echo", "data": obj{"a": "<é>"}}); fmt.Sprint(got["rpc"]) != "map[data:map[a:<é>]]" {
		t.Error(got)
	}
	if got := c.call("rpc", obj{"method": "nothing"}); fmt.Sprint(got["rpc"]) != "map[data:map[]]" {
		t.Error(got)
	}
	if e := failed(t, c.call("rpc", obj{"method": "limited"}), 429, "too_many_messages retry_after=3"); e["temporary"] != true {
		t.Error(e)
	}
	failed(t, c.call("rpc", obj{"method": "broken"}), 500, "internal")
	failed(t, c.call("rpc", obj{"method": "panic"}), 500, "internal")
	if e := failed(t, c.call("rpc", obj{"method": "what"}), 422, "method_unknown"); e["temporary"] != nil {
		t.Error(e)
	}
	failed(t, c.call("history", obj{}), 108, "not available")
	failed(t, c.call("publish", obj{}), 108, "not available")
	failed(t, c.call("refresh", obj{"token": "x"}), 108, "not available")
	failed(t, c.call("unheard_of", obj{}), 104, "method not found")
	// Calls of one connection run in their order.
	c.write(`{"id":50,"rpc":{"method":"echo","data":1}}` + "\n" + `{"id":51,"rpc":{"method":"echo","data":2}}` + "\n")
	if a, b := c.read(), c.read(); a["id"] != 50.0 || b["id"] != 51.0 {
		t.Error(a, b)
	}
	c.write(`{"send":{"data":1}}`)
	if code := c.closed(); code != 3508 {
		t.Errorf("send: closed with %d", code)
	}
}

func TestOpenedOnceAndOnlyForListeners(t *testing.T) {
	var opened atomic.Int64
	s := newServer(t, func(o *realtime.Options) {
		o.Handlers.Open = func(_ context.Context, channel string, sealed []byte) ([]byte, error) {
			opened.Add(1)
			if string(sealed) == "erased" {
				return nil, fault.New(fault.Gone, "test", "erased", "")
			}
			return fmt.Appendf(nil, `{"channel":%q,"text":%q}`, channel, sealed), nil
		}
	})
	publish(t, s, "conv:1", "nobody hears")
	var clients []*client
	for i := range 5 {
		clients = append(clients, join(t, s, fmt.Sprintf("member:%d room:1", i)))
	}
	publish(t, s, "room:1", "erased")
	publish(t, s, "room:1", "sealed")
	for _, c := range clients {
		if got := c.pushed("room:1", "pub")["data"].(obj); got["text"] != "sealed" || got["channel"] != "room:1" {
			t.Error(got)
		}
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("opened %d times, want 2", n)
	}
}

// What could not be opened for now - the key store was away - and has no successor would be missed without a word.
func TestUnopenedIsReadAgain(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) {
		o.Handlers.Open = func(context.Context, string, []byte) ([]byte, error) {
			return nil, fault.New(fault.Unavailable, "test", "lease_lost", "")
		}
	})
	c, other := join(t, s, "member:1 room:1"), join(t, s, "member:2 room:2")
	publish(t, s, "room:1", "sealed")
	if code := c.closed(); code != 3010 {
		t.Errorf("closed with %d, want 3010: connect again and read", code)
	}
	if r := other.call("rpc", obj{"method": "echo", "data": 1}); r["error"] != nil {
		t.Errorf("a client of another channel: %v", r)
	}
}

// A reader of one channel sees each publisher's messages in order, none missing and none before its subscription is told.
func TestOrder(t *testing.T) {
	const publishers, each = 4, 500
	s := newServer(t, nil)
	c := join(t, s, "member:1 room:1")
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				publish(t, s, "room:1", fmt.Sprintf(`[%d,%d]`, p, i))
			}
		})
	}
	next := [publishers]int{}
	for range publishers * each {
		got := c.pushed("room:1", "pub")["data"].([]any)
		p, i := int(got[0].(float64)), int(got[1].(float64))
		if next[p] != i {
			t.Fatalf("publisher %d: got %d, want %d", p, i, next[p])
		}
		next[p]++
	}
	wg.Wait()
	if n := s.Stats(); n.Deliveries != publishers*each || n.Dropped != 0 {
		t.Errorf("stats: %+v", n)
	}
}

// What is published while clients subscribe reaches them after the news of their subscription, without a hole.
func TestSubscribeWhilePublishing(t *testing.T) {
	s := newServer(t, nil)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			publish(t, s, "room:1", fmt.Sprint(i))
			time.Sleep(20 * time.Microsecond)
		}
	})
	for i := range 30 {
		token := "member:1"
		if i%2 == 0 {
			token += " room:1"
		}
		c := join(t, s, token)
		if i%2 == 1 {
			if reply := c.call("subscribe", obj{"channel": "room:1"}); reply["subscribe"] == nil {
				t.Fatal(reply)
			}
		}
		first := c.pushed("room:1", "pub")["data"].(float64)
		for want := first + 1; want < first+20; want++ {
			if got := c.pushed("room:1", "pub")["data"].(float64); got != want {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
		_ = c.ws.CloseNow()
	}
	stop()
	wg.Wait()
}

func TestDrop(t *testing.T) {
	s := newServer(t, nil)
	a := join(t, s, "member:1:sa")
	b := join(t, s, "member:1:sb")
	other := join(t, s, "visitor:1:sa")
	s.Drop(actor.Member, "1", "sa")
	if code := a.closed(); code != 3503 {
		t.Errorf("closed with %d", code)
	}
	b.call("rpc", obj{"method": "nothing"})
	s.Drop(actor.Member, "1", "")
	if code := b.closed(); code != 3503 {
		t.Errorf("closed with %d", code)
	}
	other.call("rpc", obj{"method": "nothing"})
}

// A client that is being let in while its session ends does not slip through.
func TestDropWhileConnecting(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(o *realtime.Options) {
		inner := o.Handlers.Connect
		o.Handlers.Connect = func(ctx context.Context, r *http.Request, token string, data []byte) (realtime.ConnectReply, error) {
			inside <- struct{}{}
			<-release
			return inner(ctx, r, token, data)
		}
	})
	c := dial(t, s)
	c.command("connect", obj{"token": "member:1:sa"})
	wait(t, inside)
	s.Drop(actor.Member, "1", "sa")
	close(release)
	if code := c.closed(); code != 3503 {
		t.Errorf("closed with %d", code)
	}
}

func TestShutdown(t *testing.T) {
	s := newServer(t, nil)
	c, idle := join(t, s, "member:1 room:1"), dial(t, s)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	if code := c.closed(); code != 3001 {
		t.Errorf("closed with %d", code)
	}
	if code := idle.closed(); code != 3001 {
		t.Errorf("one that had not connected: closed with %d", code)
	}
	if err := wait(t, done); err != nil {
		t.Error(err)
	}
	if err := s.Publish(context.Background(), "room:1", []byte(`1`)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Publish after Shutdown: %v", err)
	}
}

func TestRefreshAndExpiry(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) {
		o.Handlers.Refresh = func(_ context.Context, c realtime.Conn, token string) (time.Time, error) {
			if token != "good" {
				return time.Time{}, fault.New(fault.Unauthenticated, "test", "token_unknown", "")
			}
			return time.Now().Add(time.Hour), nil
		}
	})
	c := dial(t, s)
	reply := c.call("connect", obj{"token": "visitor:1 expires=90s"})["connect"].(obj)
	if reply["expires"] != true || reply["ttl"] != 90.0 {
		t.Error(reply)
	}
	failed(t, c.call("refresh", obj{"token": "bad"}), 401, "token_unknown")
	if got := c.call("refresh", obj{"token": "good"})["refresh"].(obj); got["expires"] != true || got["ttl"] != 3600.0 {
		t.Error(got)
	}

	plain := newServer(t, nil) // without Refresh the client is not told, and reconnects in the end
	c = dial(t, plain)
	if reply := c.call("connect", obj{"token": "visitor:1 expires=1ms"})["connect"].(obj); reply["expires"] != nil {
		t.Error(reply)
	}
	if code := c.closed(); code != 3005 {
		t.Errorf("closed with %d", code)
	}
}

func TestPublishRefusals(t *testing.T) {
	s := newServer(t, nil)
	ctx := context.Background()
	for _, name := range []string{"", "a b", "a\nb", strings.Repeat("x", 256), "\xff"} {
		if err := s.Publish(ctx, name, []byte(`1`)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := s.Publish(ctx, "room:1", make([]byte, 1<<20+1)); !fault.Is(err, fault.TooLarge) {
		t.Error(err)
	}
	if _, err := realtime.New(realtime.Options{}); err == nil {
		t.Error("a hub without Connect was made")
	}
}

func publish(t testing.TB, s *server, channel, data string) {
	t.Helper()
	if err := s.Publish(context.Background(), channel, json.RawMessage(data)); err != nil {
		t.Error(err)
	}
}
