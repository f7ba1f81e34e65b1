package bus

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"parley/internal/db"
)

// Event says that something happened. The same shape goes to webhooks and sockets; fields are only ever added.
type Event struct {
	ID   string          `json:"id"`            // a fresh UUIDv7 if empty
	Type string          `json:"type"`          // "chat.message.created.v1"
	Org  string          `json:"org,omitempty"` // the organisation that it belongs to
	Time time.Time       `json:"time"`          // of the use case if zero
	Seq  int64           `json:"seq,omitempty"` // position in its stream (a conversation), where it has one
	Data json.RawMessage `json:"data,omitempty"`
}

// Resumed is the type of the event that subscribers of every prefix of it ("" or "bus.") receive when events from other processes may
// have been missed: whoever mirrors rows reads them again.
const Resumed = "bus.resumed.v1"

// backlog is how many events wait for one subscriber, or for Redis, before the oldest are dropped.
const backlog = 1 << 16

// Emit hands ev to subscribers once the use case is durable: here, and with Redis in every other process. Events of use cases that depend on
// each other arrive in their order.
func (b *Bus) Emit(tx *db.Tx, ev Event) {
	if ev.ID == "" {
		ev.ID = db.NewID()
	}
	if ev.Time.IsZero() {
		ev.Time = tx.Now()
	}
	tx.After(func() {
		b.dispatch(ev)
		if b.relay != nil {
			b.relay.event(ev)
		}
	})
}

// Subscribe calls fn for every event whose type begins with typePrefix, one after the other in order. fn may block: it has
// a queue of its own, which drops its oldest events when it grows past 65,536.
func (b *Bus) Subscribe(typePrefix string, fn func(ctx context.Context, ev Event)) {
	if b.started.Load() {
		panic("bus: Subscribe after Run")
	}
	b.subs = append(b.subs, &subscriber{prefix: typePrefix, fn: fn, queue: newQueue[Event](backlog), stats: &b.stats})
}

// dispatch queues ev for this process's subscribers. It does not block.
func (b *Bus) dispatch(ev Event) {
	b.stats.events.Add(1)
	for _, s := range b.subs {
		if strings.HasPrefix(ev.Type, s.prefix) && !s.queue.push(ev) {
			b.stats.dropped.Add(1)
		}
	}
}

type subscriber struct {
	prefix string
	fn     func(context.Context, Event)
	queue  *queue[Event]
	stats  *counters
}

// deliver calls fn until ctx ends.
func (s *subscriber) deliver(ctx context.Context, log *slog.Logger) {
	for {
		events := s.queue.take(ctx)
		if events == nil {
			return
		}
		for _, ev := range events {
			if ctx.Err() != nil {
				return
			}
			s.call(ctx, ev, log)
		}
	}
}

func (s *subscriber) call(ctx context.Context, ev Event, log *slog.Logger) {
	defer func() {
		if recover() != nil { // the value may quote data
			log.Error("an event's subscriber panicked", "kind", ev.Type, "stack", string(debug.Stack()))
		}
	}()
	s.fn(ctx, ev)
}

// queue is unblocking at its entrance and bounded: when full it forgets its oldest item.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	limit int
	fresh chan struct{}
}

func newQueue[T any](limit int) *queue[T] {
	return &queue[T]{limit: limit, fresh: make(chan struct{}, 1)}
}

// push adds an item; false means that the oldest had to go.
func (q *queue[T]) push(item T) bool {
	q.mu.Lock()
	fits := len(q.items) < q.limit
	if !fits {
		q.items = q.items[1:]
	}
	q.items = append(q.items, item)
	q.mu.Unlock()
	select {
	case q.fresh <- struct{}{}:
	default:
	}
	return fits
}

// take waits for items and returns all of them; nil when ctx ended.
func (q *queue[T]) take(ctx context.Context) []T {
	for {
		if items := q.drain(); len(items) > 0 {
			return items
		}
		select {
		case <-q.fresh:
		case <-ctx.Done():
			return nil
		}
	}
}

// drain returns what is there.
func (q *queue[T]) drain() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}
