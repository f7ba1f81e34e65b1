package video_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/account"
	"parley/app"
	"parley/catalog"
	"parley/chat"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/person"
	"parley/privacy"
	"parley/vault"
	"parley/video"
)

// engine stands in for the media engine: it knows who is in which room, and tells what happened when a test says that it does.
type engine struct {
	mu      sync.Mutex
	svc     *video.Service
	rooms   map[string]map[string]bool
	removed map[string]video.Departure // by identity
	closed  map[string]video.Reason    // by room
}

func newEngine() *engine {
	return &engine{rooms: map[string]map[string]bool{}, removed: map[string]video.Departure{}, closed: map[string]video.Reason{}}
}

func (e *engine) Open(room string, _ int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rooms[room] == nil {
		e.rooms[room] = map[string]bool{}
	}
	return nil
}

func (e *engine) Close(room string, why video.Reason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.rooms, room)
	e.closed[room] = why
}

func (e *engine) Remove(room, identity string, why video.Departure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.rooms[room], identity)
	e.removed[identity] = why
}

func (e *engine) Token(g video.Grant) (string, error) { return g.Room + "/" + g.Identity, nil }

func (e *engine) Present(room string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.rooms[room])
}

// enter connects as a browser with the pass would.
func (e *engine) enter(p video.Pass) {
	e.mu.Lock()
	e.rooms[p.Room][p.Identity] = true
	e.mu.Unlock()
	e.svc.Happened(context.Background(), video.MediaEvent{Kind: video.MediaJoined, Room: p.Room, Identity: p.Identity})
}

func (e *engine) lose(p video.Pass) {
	e.mu.Lock()
	delete(e.rooms[p.Room], p.Identity)
	e.mu.Unlock()
	e.svc.Happened(context.Background(), video.MediaEvent{Kind: video.MediaLeft, Room: p.Room, Identity: p.Identity})
}

func (e *engine) howRemoved(identity string) video.Departure {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removed[identity]
}

func (e *engine) howClosed(room string) video.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed[room]
}

// hub records what goes over the socket.
type hub struct {
	mu     sync.Mutex
	events []sent
}

type sent struct {
	channel, typ string
	data         map[string]any
}

func (h *hub) Publish(_ context.Context, channel string, sealed []byte) error {
	var e struct {
		Type string         `json:"type"`
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(sealed, &e); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, sent{channel, e.Type, e.Data})
	return nil
}

func (h *hub) Presence(context.Context, []string) (map[string][]string, error) { return nil, nil }
func (h *hub) Drop(actor.Kind, string, string)                                 {}
func (h *hub) SubscribeActor(actor.Kind, string, string)                       {}

// on returns, in order, what went over a channel about calls: "ringing", "live", "ended:missed", "joined", "left".
func (h *hub) on(channel string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		switch {
		case e.channel != channel:
		case e.typ == "video.session.changed.v1":
			state := fmt.Sprint(e.data["state"])
			if why, ok := e.data["end_reason"]; ok {
				state += ":" + fmt.Sprint(why)
			}
			out = append(out, state)
		case strings.HasPrefix(e.typ, "video.participant."):
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(e.typ, "video.participant."), ".v1"))
		}
	}
	return out
}

// world is an organisation with its people, on real databases, with calls.
type world struct {
	*video.Service
	t                      *testing.T
	db                     *db.DB
	bus                    *bus.Bus
	account                *account.Service
	chat                   *chat.Service
	privacy                *privacy.Service
	engine                 *engine
	hub                    *hub
	opt                    video.Options
	org, site              string
	owner, agent, second   context.Context
	visitor                context.Context
	conversation, personID string
	stop                   func()
	vault                  *vault.Vault
	catalog                *catalog.Catalog
}

// each runs fn in a fresh world on each engine.
func each(t *testing.T, o video.Options, fn func(t *testing.T, w *world)) {
	testdb.Each(t, func(t *testing.T, url string) { fn(t, newWorld(t, url, o)) })
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func open(t *testing.T, cfg db.Config) *db.DB {
	t.Helper()
	cfg.Dial = dial
	d := must[*db.DB](t)(db.Open(context.Background(), cfg))
	t.Cleanup(func() { d.Close() })
	return d
}

func newWorld(t *testing.T, url string, o video.Options) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, hub: &hub{}}
	w.db = open(t, db.Config{URL: url, Schema: "parley"})
	if err := w.db.Migrate(ctx, bus.Migrations, api.Migrations, account.Migrations, person.Migrations, chat.Migrations, video.Migrations, privacy.Migrations); err != nil {
		t.Fatal(err)
	}
	keys := db.Config{URL: url, Schema: "parley_keys", SecureDelete: true}
	if strings.HasPrefix(url, "sqlite:") {
		keys.URL = "sqlite://" + filepath.Join(t.TempDir(), "keys.db")
	}
	cat := must[*catalog.Catalog](t)(app.Catalog())
	v := must[*vault.Vault](t)(vault.Open(ctx, vault.Options{Store: open(t, keys), Dir: filepath.Join(t.TempDir(), "vault"), Catalog: cat, Node: "test"}))
	t.Cleanup(func() { v.Close() })
	w.account = must[*account.Service](t)(account.New(account.Options{DB: w.db, Vault: v}))
	t.Cleanup(func() { w.account.Close() })
	o.DB, o.Account, o.Node = w.db, w.account, "here"
	w.opt = o
	w.vault, w.catalog = v, cat
	w.start()
	w.people()
	return w
}

// again starts the services on the same data, as after a crash.
func (w *world) again(o video.Options) {
	w.t.Helper()
	w.opt = o
	w.start()
}

func (w *world) count(query string) (n int) {
	w.t.Helper()
	err := w.db.Read(context.Background(), "test", func(tx *db.Tx) error { return tx.QueryRow(query).Scan(&n) })
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// start makes the services and lets them run until stop.
func (w *world) start() {
	v, cat := w.vault, w.catalog
	w.t.Helper()
	w.bus = must[*bus.Bus](w.t)(bus.New(bus.Options{DB: w.db, Poll: 20 * time.Millisecond}))
	persons := person.New(w.db, v, w.account)
	w.chat = chat.New(chat.Options{DB: w.db, Vault: v, Bus: w.bus, Account: w.account, Persons: persons, StartsPerMinute: 100_000, Logger: discard})
	w.privacy = privacy.New(privacy.Options{DB: w.db, Vault: v, Bus: w.bus, Catalog: cat, Account: w.account, Persons: persons, Logger: discard})
	o := w.opt
	o.Bus, o.Conversations, o.Notices = w.bus, talks{w.chat}, w.privacy
	w.Service = video.New(o)
	w.engine = newEngine()
	w.engine.svc = w.Service
	ctx, cancel := context.WithCancel(context.Background())
	w.chat.Serve(ctx, w.hub)
	if err := w.Serve(ctx, w.engine); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.bus.Run(ctx) }()
	<-w.bus.Ready()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { w.stop() })
}

// talks are the chat as calls see it; app does the same.
type talks struct{ chat *chat.Service }

func (c talks) Party(ctx context.Context, conversation string) (video.Party, error) {
	p, err := c.chat.Party(ctx, conversation)
	return video.Party{Org: p.Org, Conversation: p.Conversation, Person: p.Person, Side: video.Side(p.Kind), Member: p.Member}, err
}

func (c talks) Publish(e video.Event) {
	c.chat.Publish(chat.Announcement{Org: e.Org, Type: e.Type, Conversation: e.Conversation, Person: e.Person, Agents: e.Agents, Data: e.Data})
}

// people fills the world: an organisation with an owner and two agents, and a visitor who wrote.
func (w *world) people() {
	w.org = w.organisation("Harbour")
	w.owner, w.agent, w.second = w.member(w.org, "owner", actor.Owner), w.member(w.org, "agent", actor.Agent), w.member(w.org, "second", actor.Agent)
	must[account.Project](w.t)(w.account.CreateProject(operator(), w.org, "web"))
	w.site = must[chat.Site](w.t)(w.chat.CreateSite(w.owner, chat.Site{Name: "Shop", Origins: []string{"https://shop.example"}})).ID
	w.visitor, w.conversation = w.writer()
	w.personID = actor.From(w.visitor).ID
}

func operator() context.Context {
	return actor.AsSystem(context.Background(), "test", "", catalog.Service)
}

func as(a actor.Actor, p catalog.Purpose) context.Context {
	return actor.For(actor.With(context.Background(), a), p)
}

func (w *world) organisation(name string) string {
	return must[account.Org](w.t)(w.account.CreateOrg(operator(), name)).ID
}

func (w *world) member(org, name string, role actor.Role) context.Context {
	m, token, err := w.account.CreateMember(operator(), org, name+"@"+org+".example", role)
	if err == nil {
		_, _, err = w.account.AcceptInvitation(context.Background(), token, name, "quiet-otter-lamp-98")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return as(actor.Actor{Kind: actor.Member, ID: m.ID, Org: org, Role: role}, catalog.Support)
}

// writer is a visitor who wrote a first message.
func (w *world) writer() (ctx context.Context, conversation string) {
	got := must[chat.Started](w.t)(w.chat.Begin(context.Background(), chat.Start{Site: w.site, ClientID: db.NewID(), Body: "Hello", Locale: "en"}))
	return as(actor.Actor{Kind: actor.Visitor, ID: got.Person, Org: w.org}, catalog.Service), got.Conversation.ID
}

// ring starts a call in the conversation.
func (w *world) ring(ctx context.Context) video.Session {
	w.t.Helper()
	c, fresh, err := w.Start(ctx, w.conversation, db.NewID(), video.WithVideo)
	if err != nil || !fresh || c.State != video.Ringing {
		w.t.Fatalf("the call is %+v, %v", c, err)
	}
	return c
}

// live starts a call of the visitor and answers it as the agent.
func (w *world) live() video.Session {
	w.t.Helper()
	return must[video.Session](w.t)(w.Accept(w.agent, w.ring(w.visitor).ID))
}

// read acknowledges the notice.
func (w *world) read(who ...context.Context) {
	w.t.Helper()
	for _, ctx := range who {
		n, _, err := w.privacy.Notice(ctx, video.NoticeMedia, "en")
		if err == nil {
			err = w.privacy.Acknowledge(ctx, n.ID, n.Version, "en", "widget")
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// in acknowledges, joins and connects.
func (w *world) in(ctx context.Context, id string) video.Pass {
	w.t.Helper()
	w.read(ctx)
	p := must[video.Pass](w.t)(w.Join(ctx, id))
	w.engine.enter(p)
	return p
}

// now is the call as the owner sees it.
func (w *world) now(id string) video.Session {
	w.t.Helper()
	return must[video.Session](w.t)(w.Get(w.owner, id))
}

// await waits until the call has ended for the reason, and its room is closed if it had one.
func (w *world) await(id string, why video.Reason) video.Session {
	w.t.Helper()
	var c video.Session
	w.until(func() bool { c = w.now(id); return c.State == video.Ended }, "the call goes on")
	if c.EndReason != why {
		w.t.Fatalf("the call ended as %s, want %s", c.EndReason, why)
	}
	return c
}

// until waits for a condition that the services bring about by themselves.
func (w *world) until(done func() bool, otherwise string) {
	w.t.Helper()
	for limit := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(limit) {
			w.t.Fatal(otherwise)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code {
		t.Errorf("want %s, got %v", code, err)
	}
}

// audited returns the actions of the organisation's audit log that are about calls.
func (w *world) audited() (out []string) {
	list := must[api.List[account.Entry]](w.t)(w.account.AuditLog(w.owner, w.org, api.Page{Limit: 100}))
	for _, e := range list.Items {
		if strings.HasPrefix(e.Action, "video.") {
			out = append(out, e.Action)
		}
	}
	return out
}

type busOf = bus.Bus

func newBus(d *db.DB) (*bus.Bus, error) { return bus.New(bus.Options{DB: d}) }
