package realtime_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/actor"
	"parley/internal/bus/realtime"
	"parley/internal/fault"
)

const patience = 10 * time.Second

// server is a hub behind a real HTTP server. Tokens are "kind:id" or "kind:id:session", with the channels to subscribe
// to after spaces; "expired" and "down" fail in the ways their names say.
type server struct {
	*realtime.Hub
	url  string
	gone chan string // ids of connections that have gone
	all  map[string]realtime.Conn
}

func newServer(t testing.TB, change func(o *realtime.Options)) *server {
	t.Helper()
	s := &server{gone: make(chan string, 10_000), all: map[string]realtime.Conn{}}
	o := realtime.Options{Version: "test", Handlers: realtime.Handlers{
		Connect:   s.connect,
		Subscribe: s.subscribe,
		RPC:       s.rpc,
		Gone:      func(c realtime.Conn) { s.gone <- c.ID() },
	}}
	if change != nil {
		change(&o)
	}
	hub, err := realtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Hub = hub
	web := httptest.NewServer(hub)
	s.url = "ws" + strings.TrimPrefix(web.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		web.Close()
	})
	return s
}

func (s *server) connect(_ context.Context, r *http.Request, token string, data []byte) (realtime.ConnectReply, error) {
	words := strings.Fields(token)
	switch {
	case r == nil || r.Header.Get("Upgrade") == "":
		return realtime.ConnectReply{}, fault.New(fault.Internal, "test", "request_missing", "")
	case len(words) == 0:
		return realtime.ConnectReply{}, fault.New(fault.Unauthenticated, "test", "signed_out", "")
	case words[0] == "expired":
		return realtime.ConnectReply{}, fault.New(fault.Unauthenticated, "test", "token_expired", "")
	case words[0] == "down":
		return realtime.ConnectReply{}, fault.New(fault.Unavailable, "test", "store_away", "")
	case words[0] == "panic":
		panic("a person's words")
	}
	parts := append(strings.SplitN(words[0], ":", 3), "", "")
	reply := realtime.ConnectReply{Actor: actor.Actor{Kind: actor.Kind(parts[0]), ID: parts[1], Session: parts[2]}, Data: data}
	for _, w := range words[1:] {
		if d, ok := strings.CutPrefix(w, "expires="); ok {
			after, _ := time.ParseDuration(d)
			reply.ExpiresAt = time.Now().Add(after)
			continue
		}
		reply.Channels = append(reply.Channels, w)
	}
	return reply, nil
}

func (s *server) subscribe(ctx context.Context, c realtime.Conn, channel string) error {
	if actor.From(ctx) != c.Actor() || c.Context().Err() != nil {
		return fault.New(fault.Internal, "test", "actor_missing", "")
	}
	if strings.HasPrefix(channel, "secret:") {
		return fault.New(fault.NotFound, "test", "conversation_unknown", "")
	}
	return nil
}

// rpc lets a client tell the server what to do, so that a test in another language has no need of a second wire.
func (s *server) rpc(ctx context.Context, c realtime.Conn, method string, data []byte) (any, error) {
	var args struct{ Channel, Kind, ID, Session string }
	_ = json.Unmarshal(data, &args)
	switch method {
	case "echo":
		return json.RawMessage(data), nil
	case "nothing":
		return nil, nil
	case "limited":
		return nil, fault.Retry("test", "too_many_messages", "", 2500*time.Millisecond)
	case "broken":
		return nil, context.DeadlineExceeded
	case "panic":
		panic("a person's words")
	case "publish":
		return nil, s.Publish(ctx, args.Channel, data)
	case "subscribe":
		c.Subscribe(args.Channel)
	case "subscribe-actor":
		s.SubscribeActor(actor.Kind(args.Kind), args.ID, args.Channel)
	case "unsubscribe":
		c.Unsubscribe(args.Channel)
	case "send":
		c.Send(data)
	case "drop":
		s.Drop(actor.Kind(args.Kind), args.ID, args.Session)
	case "restart":
		c.Disconnect(3001, "shutdown")
	case "presence":
		return s.Presence(ctx, []string{args.Channel})
	default:
		return nil, fault.Bad("test", "method", "method_unknown", "")
	}
	return nil, nil
}

// client is a bare WebSocket that speaks the protocol by hand.
type client struct {
	t    testing.TB
	ws   *websocket.Conn
	next uint32
	rest []string
}

type obj = map[string]any

func dial(t testing.TB, s *server) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t: t, ws: ws}
}

// join connects with a token and returns the client after the answer.
func join(t testing.TB, s *server, token string) *client {
	t.Helper()
	c := dial(t, s)
	reply := c.call("connect", obj{"token": token})
	if reply["connect"] == nil {
		t.Fatalf("connect %q: %v", token, reply)
	}
	return c
}

func (c *client) write(frame string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) command(method string, body any) uint32 {
	c.t.Helper()
	c.next++
	b, err := json.Marshal(obj{"id": c.next, method: body})
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(string(b))
	return c.next
}

// call sends a command and returns its answer; what is pushed before is an error of the test.
func (c *client) call(method string, body any) obj {
	c.t.Helper()
	id := c.command(method, body)
	got := c.read()
	if got["id"] != float64(id) {
		c.t.Fatalf("%s: the next reply is %v", method, got)
	}
	return got
}

// read returns the next reply or push other than a ping.
func (c *client) read() obj {
	c.t.Helper()
	for {
		line, err := c.line()
		if err != nil {
			c.t.Fatal(err)
		}
		if line == "{}" {
			continue
		}
		var o obj
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		return o
	}
}

func (c *client) line() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for len(c.rest) == 0 {
		_, b, err := c.ws.Read(ctx)
		if err != nil {
			return "", err
		}
		c.rest = strings.Split(string(b), "\n")
	}
	line := c.rest[0]
	c.rest = c.rest[1:]
	return line, nil
}

// closed reads until the server closes, and returns the code.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.line(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// pushed asserts that the next thing read is a push of the kind to the channel, and returns its body.
func (c *client) pushed(channel, kind string) obj {
	c.t.Helper()
	got := c.read()
	push, _ := got["push"].(obj)
	body, ok := push[kind].(obj)
	if push["channel"] != channel || !ok {
		c.t.Fatalf("want a %s on %s, got %v", kind, channel, got)
	}
	return body
}

// failed asserts that a reply is an error with the code.
func failed(t testing.TB, reply obj, code int, message string) obj {
	t.Helper()
	e, _ := reply["error"].(obj)
	if e == nil || e["code"] != float64(code) || e["message"] != message {
		t.Fatalf("want error %d %q, got %v", code, message, reply)
	}
	return e
}

// wait returns what comes over a channel in time.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
