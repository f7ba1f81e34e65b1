package bus

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/db"
	"parley/internal/fault"
)

const (
	relayBatch   = 128             // messages per round trip to Redis
	relaySilence = 5 * time.Second // without a word from Redis for so long, it is asked for one
	relayFlush   = time.Second     // for the last messages when the process ends
	retryMin     = 50 * time.Millisecond
	retryMax     = 2 * time.Second
)

// relay joins the buses of several processes over one Redis channel.
type relay struct {
	bus     *Bus
	rdb     *redis.Client
	channel string
	out     *queue[envelope]
}

// envelope is what travels on the channel: an event, or the news that a job is due.
type envelope struct {
	Node  string `json:"node"`
	Event *Event `json:"event,omitempty"`
	Job   bool   `json:"job,omitempty"`
}

// CheckRedis refuses a client that speaks RESP3 (Options.Protocol other than 2). go-redis 9.17 loses a message to a
// subscriber, and says nothing, when a read from the socket ends within its first bytes (redis/go-redis#3839); in
// RESP2 a message is a reply like any other.
func CheckRedis(rdb *redis.Client) error {
	if rdb.Options().Protocol != 2 {
		return fault.New(fault.Internal, "bus.CheckRedis", "redis_protocol", "The Redis client has to speak RESP2, or messages are lost.")
	}
	return nil
}

func newRelay(b *Bus, rdb *redis.Client, channel string) *relay {
	return &relay{bus: b, rdb: rdb, channel: channel, out: newQueue[envelope](backlog)}
}

func (r *relay) event(ev Event) { r.push(envelope{Node: r.bus.node, Event: &ev}) }
func (r *relay) job()           { r.push(envelope{Node: r.bus.node, Job: true}) }

// push runs in the commit's hook, so it leaves the encoding to send.
func (r *relay) push(e envelope) {
	if !r.out.push(e) {
		r.bus.stats.dropped.Add(1)
	}
}

// send publishes in order. While Redis is away it holds what there is, and the queue behind it forgets the oldest.
func (r *relay) send(ctx context.Context) {
	for {
		messages := r.out.take(ctx)
		if messages == nil {
			break
		}
		for len(messages) > 0 {
			n := min(len(messages), relayBatch)
			if !r.publish(ctx, messages[:n]) {
				messages = append(messages, r.out.drain()...)
				r.flush(ctx, messages)
				return
			}
			messages = messages[n:]
		}
	}
	r.flush(ctx, r.out.drain())
}

// flush makes one attempt to publish what is left when the process ends.
func (r *relay) flush(ctx context.Context, messages []envelope) {
	if len(messages) == 0 {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayFlush)
	defer cancel()
	if err := r.try(last, messages); err != nil {
		r.bus.stats.dropped.Add(uint64(len(messages)))
	}
}

// publish tries until it succeeds; false means that ctx ended.
func (r *relay) publish(ctx context.Context, messages []envelope) bool {
	pause := retryMin
	for {
		err := r.try(ctx, messages)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if pause == retryMin {
			r.bus.log.Warn("events wait for Redis", "count", len(messages))
		}
		if !sleep(ctx, pause) {
			return false
		}
		pause = min(2*pause, retryMax)
	}
}

func (r *relay) try(ctx context.Context, messages []envelope) error {
	_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, m := range messages {
			b, err := json.Marshal(m)
			if err != nil { // Data is not JSON: a mistake in the code that emitted it
				r.bus.log.Error("an event could not be encoded", "kind", m.Event.Type)
				continue
			}
			p.Publish(ctx, r.channel, b)
		}
		return nil
	})
	return err
}

// receive delivers other processes' messages until ctx ends. It closes subscribed when it hears them for the first time.
func (r *relay) receive(ctx context.Context, subscribed chan<- struct{}) {
	heard, pause := false, retryMin
	for ctx.Err() == nil {
		err := r.listen(ctx, func() {
			pause = retryMin
			if !heard {
				heard = true
				close(subscribed)
				return
			}
			r.bus.dispatch(Event{ID: db.NewID(), Type: Resumed, Time: time.Now().UTC()})
			r.bus.wake()
		})
		if ctx.Err() != nil {
			return
		}
		r.bus.stats.trouble.Add(1)
		if pause == retryMin {
			r.bus.log.Warn("the connection to Redis is lost; events of other processes wait", "code", code(err))
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, retryMax)
	}
}

// listen holds one subscription until it breaks. It calls on when Redis has confirmed it.
func (r *relay) listen(ctx context.Context, on func()) error {
	sub := r.rdb.Subscribe(ctx, r.channel)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { sub.Close() }) // a read in progress does not look at ctx
	defer stop()
	confirmed, asked := false, false
	for {
		msg, err := sub.ReceiveTimeout(ctx, relaySilence)
		var ne net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &ne) && ne.Timeout() && !asked: // silence is normal, no answer to a question is not
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		switch m := msg.(type) {
		case *redis.Subscription:
			if confirmed { // the client has reconnected on its own
				return errResubscribed
			}
			confirmed = true
			on()
		case *redis.Message:
			r.handle([]byte(m.Payload))
		}
	}
}

var errResubscribed = errors.New("bus: the Redis client reconnected")

// handle takes one message from the channel.
func (r *relay) handle(payload []byte) {
	var e envelope
	if json.Unmarshal(payload, &e) != nil || e.Node == r.bus.node {
		return
	}
	if e.Job {
		r.bus.wake()
	}
	if e.Event != nil && e.Event.Type != "" {
		r.bus.dispatch(*e.Event)
	}
}

// sleep waits; false means that ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
