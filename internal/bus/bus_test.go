package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/catalog"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

var ctx = context.Background()

// patience bounds how long a test waits for something that has to happen.
const patience = 20 * time.Second

func open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(ctx, db.Config{URL: url, Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.Migrate(ctx, bus.Migrations); err != nil {
		t.Fatal(err)
	}
	return d
}

func client(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Protocol = 2
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// start makes a bus, lets prepare register with it and runs it until the test ends or stop is called.
func start(t testing.TB, o bus.Options, prepare func(*bus.Bus)) (b *bus.Bus, stop func()) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	b, err := bus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	prepare(b)
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.Run(run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-b.Ready():
	case <-time.After(patience):
		t.Fatal("the bus is not ready")
	}
	return b, stop
}

// next returns what arrives on c.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}

func emit(t testing.TB, d *db.DB, b *bus.Bus, ev bus.Event) {
	t.Helper()
	if err := d.Do(ctx, "test.emit", func(tx *db.Tx) error { b.Emit(tx, ev); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestEventsFollowTheCommit(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		chat, all := make(chan bus.Event, 10), make(chan bus.Event, 10)
		b, _ := start(t, bus.Options{DB: d}, func(b *bus.Bus) {
			b.Subscribe("chat.", func(_ context.Context, ev bus.Event) { chat <- ev })
			b.Subscribe("", func(_ context.Context, ev bus.Event) { all <- ev })
		})
		err := d.Do(ctx, "test.undone", func(tx *db.Tx) error {
			b.Emit(tx, bus.Event{Type: "chat.message.created.v1"})
			return errors.New("undone")
		})
		if err == nil {
			t.Fatal("no error")
		}
		emit(t, d, b, bus.Event{Type: "visit.began.v1", Org: "o"})
		emit(t, d, b, bus.Event{Type: "chat.message.created.v1", Org: "o", Seq: 7, Data: json.RawMessage(`{"id":"x"}`)})
		ev := next(t, chat)
		if ev.Seq != 7 || ev.ID == "" || ev.Time.IsZero() || string(ev.Data) != `{"id":"x"}` {
			t.Errorf("event %+v", ev)
		}
		if a, b := next(t, all).Type, next(t, all).Type; a != "visit.began.v1" || b != "chat.message.created.v1" {
			t.Errorf("all: %s, %s", a, b)
		}
	})
}

// A subscriber that blocks or panics holds up neither commits nor others.
func TestSlowSubscribersHoldNobodyUp(t *testing.T) {
	d := open(t, testdb.SQLite(t))
	hold, quick := make(chan struct{}), make(chan bus.Event, 100)
	var log bytes.Buffer
	b, _ := start(t, bus.Options{DB: d, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(b *bus.Bus) {
		b.Subscribe("x", func(context.Context, bus.Event) { <-hold })
		b.Subscribe("x", func(_ context.Context, ev bus.Event) {
			quick <- ev
			if ev.Seq == 3 {
				panic("anna@example.org")
			}
		})
	})
	for i := range 50 {
		emit(t, d, b, bus.Event{Type: "x", Seq: int64(i)})
	}
	for i := range 50 {
		if ev := next(t, quick); ev.Seq != int64(i) {
			t.Fatalf("event %d came at place %d", ev.Seq, i)
		}
	}
	close(hold)
	if !strings.Contains(log.String(), "panicked") || strings.Contains(log.String(), "anna") {
		t.Errorf("log: %s", log.String())
	}
}

// Two processes on one PostgreSQL and one Redis: what one emits both receive, in order.
func TestEventsReachOtherProcesses(t *testing.T) {
	url, rurl := testdb.Postgres(t), testdb.Redis(t)
	var got [2]chan bus.Event
	var buses [2]*bus.Bus
	var dbs [2]*db.DB
	for i := range 2 {
		got[i] = make(chan bus.Event, 1000)
		dbs[i] = open(t, url)
		buses[i], _ = start(t, bus.Options{DB: dbs[i], Redis: client(t, rurl)}, func(b *bus.Bus) {
			b.Subscribe("n.", func(_ context.Context, ev bus.Event) { got[i] <- ev })
		})
	}
	if err := client(t, rurl).Publish(ctx, "parley:bus", "no envelope\x00").Err(); err != nil {
		t.Fatal(err)
	}
	want := bus.Event{Type: "n.v1", Org: "o", Data: json.RawMessage(`[1]`)}
	for i := range 300 {
		want.Seq = int64(i)
		emit(t, dbs[0], buses[0], want)
	}
	for i := range 2 {
		for n := range 300 {
			if ev := next(t, got[i]); ev.Seq != int64(n) || string(ev.Data) != "[1]" || ev.Org != "o" {
				t.Fatalf("process %d: event %+v at place %d", i, ev, n)
			}
		}
	}
	if s := buses[1].Stats(); s.Events != 300 {
		t.Errorf("process 1 received %d events", s.Events)
	}
}

// When Redis cuts the connections, events wait and subscribers learn that they may have missed some.
func TestRedisComesBack(t *testing.T) {
	url, rurl := testdb.Postgres(t), testdb.Redis(t)
	d := open(t, url)
	got, resumed := make(chan bus.Event, 1000), make(chan bus.Event, 100)
	a, _ := start(t, bus.Options{DB: d, Redis: client(t, rurl)}, func(*bus.Bus) {})
	b, _ := start(t, bus.Options{DB: d, Redis: client(t, rurl)}, func(b *bus.Bus) {
		b.Subscribe("n.", func(_ context.Context, ev bus.Event) { got <- ev })
		b.Subscribe(bus.Resumed, func(_ context.Context, ev bus.Event) { resumed <- ev })
	})
	admin := client(t, rurl)
	for _, kind := range []string{"pubsub", "normal"} {
		if err := admin.ClientKillByFilter(ctx, "TYPE", kind, "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	}
	next(t, resumed)
	emit(t, d, a, bus.Event{Type: "n.v1", Seq: 1})
	if ev := next(t, got); ev.Seq != 1 {
		t.Errorf("event %+v", ev)
	}
	if b.Stats().RedisTrouble == 0 {
		t.Error("no trouble was counted")
	}
}

func TestEventJSON(t *testing.T) {
	b, err := json.Marshal(bus.Event{ID: "i", Type: "chat.message.created.v1", Org: "o", Time: time.UnixMicro(1).UTC(), Seq: 2, Data: json.RawMessage(`{}`)})
	if want := `{"id":"i","type":"chat.message.created.v1","org":"o","time":"1970-01-01T00:00:00.000001Z","seq":2,"data":{}}`; err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}

func TestCatalogueMatchesTheSchema(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		live, err := open(t, url).LiveSchema(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c, err := catalog.New(db.Data, bus.Data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := c.CompareSchema(live); len(diff) > 0 {
			t.Error(strings.Join(diff, "\n"))
		}
	})
}

func TestRunNeedsItsTable(t *testing.T) {
	d, err := db.Open(ctx, db.Config{URL: testdb.SQLite(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := bus.New(bus.Options{DB: d})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(ctx); err == nil {
		t.Error("Run without a table")
	}
	if _, err := bus.New(bus.Options{}); err == nil {
		t.Error("New without a database")
	}
}

// gather reads n values and sorts them.
func gather(t testing.TB, c <-chan string, n int) []string {
	t.Helper()
	var out []string
	for range n {
		out = append(out, next(t, c))
	}
	slices.Sort(out)
	return out
}

func ids(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%03d", i))
	}
	return out
}

func TestRedisClientsSpeakRESP2(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", Protocol: 3})
	defer func() { _ = rdb.Close() }()
	if _, err := bus.New(bus.Options{DB: open(t, testdb.SQLite(t)), Redis: rdb}); fault.Of(err) == nil || fault.Of(err).Code != "redis_protocol" {
		t.Errorf("a client that loses messages: %v", err)
	}
}
