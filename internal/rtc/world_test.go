package rtc_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
	"parley/internal/rtc/transport"
)

// patience is how long a test waits for something that should happen.
const patience = 20 * time.Second

// world is an engine behind a real HTTP server, with sockets on the loopback interface.
type world struct {
	*rtc.Engine

	t         testing.TB
	transport *transport.Transport
	web       *httptest.Server
	gate      *gate
	stack     *client.Stack

	mu     sync.Mutex
	events []rtc.Event
	news   chan struct{}
}

func newWorld(t testing.TB, change func(*rtc.Config)) *world {
	t.Helper()
	w := &world{t: t, news: make(chan struct{}, 1)}
	var err error
	if w.transport, err = transport.Open(transport.Config{UDP: "127.0.0.1:0", Loopback: true}); err != nil {
		t.Fatal(err)
	}
	cfg := rtc.Config{Transport: w.transport, OnEvent: w.note}
	if change != nil {
		change(&cfg)
	}
	if w.Engine, err = rtc.New(cfg); err != nil {
		t.Fatal(err)
	}
	w.web, w.gate = serve(w.Engine)
	if w.stack, err = client.NewStack(client.StackOptions{Loopback: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	return w
}

func serve(h http.Handler) (*httptest.Server, *gate) {
	web := httptest.NewUnstartedServer(h)
	g := &gate{Listener: web.Listener, open: map[net.Conn]bool{}}
	web.Listener = g
	web.Start()
	return web, g
}

// gate is a listener whose network can fail.
type gate struct {
	net.Listener

	mu   sync.Mutex
	open map[net.Conn]bool
	shut bool
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		shut := g.shut
		g.open[c] = !shut
		g.mu.Unlock()
		if !shut {
			return c, nil
		}
		_ = c.Close()
	}
}

// fail cuts all connections and lets none through; repair ends that.
func (g *gate) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for c := range g.open {
		_ = c.Close()
	}
	clear(g.open)
}

func (g *gate) repair() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// clock is the engine's, which tests can turn forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func (w *world) stop() {
	if err := w.Close(); err != nil {
		w.t.Errorf("Close: %v", err)
	}
	w.web.Close()
	if err := w.transport.Close(); err != nil {
		w.t.Errorf("transport.Close: %v", err)
	}
}

func (w *world) note(ev rtc.Event) {
	w.mu.Lock()
	w.events = append(w.events, ev)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// awaitEvent waits for an event of the type about the identity.
func (w *world) awaitEvent(typ rtc.EventType, identity string) rtc.Event {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		for _, ev := range w.events {
			if ev.Type == typ && ev.Identity == identity {
				w.mu.Unlock()
				return ev
			}
		}
		w.mu.Unlock()
		select {
		case <-w.news:
		case <-deadline:
			w.t.Fatalf("no event %d about %s", typ, identity)
		}
	}
}

func (w *world) open(room string) {
	w.t.Helper()
	if err := w.OpenRoom(room, 0); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) token(room, identity string, role rtc.Role) string {
	w.t.Helper()
	token, err := w.Token(rtc.Grant{Room: room, Identity: identity, Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func (w *world) config(token string) client.Config {
	return client.Config{URL: w.web.URL, Token: token, HTTP: &http.Client{}, Stack: w.stack}
}

// join brings a participant into a room and waits until it can receive.
func (w *world) join(room, identity string, role rtc.Role, change ...func(*client.Config)) *client.Participant {
	w.t.Helper()
	cfg := w.config(w.token(room, identity, role))
	for _, f := range change {
		f(&cfg)
	}
	p, err := client.Join(w.ctx(), cfg)
	if err != nil {
		w.t.Fatalf("%s cannot join: %v", identity, err)
	}
	w.t.Cleanup(func() { _ = p.Close() })
	await(w.t, p, identity+" is connected", func(s *client.Snapshot) bool { return s.State == client.Connected })
	return p
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// await waits until a participant sees what it should.
func await(t testing.TB, p *client.Participant, what string, cond func(*client.Snapshot) bool) client.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Await(ctx, cond); err != nil {
		s := p.Snapshot()
		t.Fatalf("%s: %v; state %v, err %v, tracks %+v, participants %v", what, err, s.State, s.Err, s.Tracks, s.Participants)
	}
	return p.Snapshot()
}

// packets says whether so many packets of a track have come.
func packets(sid string, n uint64) func(*client.Snapshot) bool {
	return func(s *client.Snapshot) bool {
		t, ok := s.Track(sid)
		return ok && t.Packets >= n
	}
}

// raw is a client that says whatever a test wants.
type raw struct {
	t  testing.TB
	ws *websocket.Conn
}

// rawJoin joins without any media.
func (w *world) rawJoin(token, query string) *raw {
	w.t.Helper()
	ws, res, err := websocket.Dial(w.ctx(), w.web.URL+"/rtc?access_token="+token+query, nil)
	if err != nil {
		w.t.Fatalf("no connection: %v, %v", err, res)
	}
	ws.SetReadLimit(1 << 20)
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return &raw{t: w.t, ws: ws}
}

func (r *raw) send(m *signal.SignalRequest) {
	r.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		r.t.Fatal(err)
	}
}

// next reads messages until one that the test waits for.
func (r *raw) next(what string, is func(*signal.SignalResponse) bool) *signal.SignalResponse {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, b, err := r.ws.Read(ctx)
		if err != nil {
			r.t.Fatalf("%s does not come: %v", what, err)
		}
		var m signal.SignalResponse
		if err := proto.Unmarshal(b, &m); err != nil {
			r.t.Fatal(err)
		}
		if is(&m) {
			return &m
		}
	}
}

func (r *raw) joined() *signal.JoinResponse {
	r.t.Helper()
	return r.next("the welcome", func(m *signal.SignalResponse) bool { return m.GetJoin() != nil }).GetJoin()
}

func (r *raw) left() *signal.LeaveRequest {
	r.t.Helper()
	return r.next("the farewell", func(m *signal.SignalResponse) bool { return m.GetLeave() != nil }).GetLeave()
}

// still says that the engine has dealt with all that was sent, and keeps the participant.
func (r *raw) still(what string) {
	r.t.Helper()
	r.send(&signal.SignalRequest{Message: &signal.SignalRequest_Ping{Ping: 1}})
	m := r.next(what, func(m *signal.SignalResponse) bool { return m.GetPong() != 0 || m.GetLeave() != nil })
	if l := m.GetLeave(); l != nil {
		r.t.Fatalf("%s: %v", what, l)
	}
}

func (r *raw) answered() *signal.RequestResponse {
	r.t.Helper()
	return r.next("the refusal", func(m *signal.SignalResponse) bool { return m.GetRequestResponse() != nil }).GetRequestResponse()
}

// ended waits until the engine, or the test, has ended a participation.
func ended(t testing.TB, p *client.Participant) *client.EndedError {
	t.Helper()
	s := await(t, p, "the participation ends", func(s *client.Snapshot) bool { return s.State == client.Ended })
	var e *client.EndedError
	if !errors.As(s.Err, &e) {
		t.Fatalf("it ended with %v", s.Err)
	}
	return e
}
