package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// phase is one way to load the server.
type phase struct {
	Name     string
	Rate     int // messages a second, sent when they are due whatever became of the earlier ones; 0: InFlight counts
	InFlight int // messages sent and not acknowledged, kept up
	Seconds  int // measured
	Profile  string
}

const (
	warmUp      = 2 * time.Second
	drainWithin = 15 * time.Second // for what was under way at the end of a phase
	agentEvery  = 3                // one of so many messages is an agent's
	mostPerSec  = 30_000           // messages a second that a phase has room for
)

// record is one message. Times are nanoseconds since the start of the phase; 0: not yet.
type record struct {
	talk    *talk
	from    int          // the end that sent it
	due     int64        // when it was to be sent: waiting for a slow server counts
	acked   atomic.Int64 // time
	other   atomic.Int64 // time of arrival at the other end
	seq     atomic.Int64 // by the acknowledgement
	arrived [2]atomic.Int64
}

// ledger is what became of a phase's messages.
type ledger struct {
	prefix   string
	began    time.Time
	records  []record
	sent     atomic.Int64 // records in use
	answered atomic.Int64
	arrivals atomic.Int64
	doubled  atomic.Int64
	disorder atomic.Int64
	slots    chan struct{} // one token for each message that may be under way; nil: no limit

	mu      sync.Mutex
	refused map[string]int
}

func (l *ledger) since() int64 { return int64(time.Since(l.began)) }

// find returns the record of a client id of this phase.
func (l *ledger) find(clientID string) *record {
	rest, ok := strings.CutPrefix(clientID, l.prefix)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 || n >= int(l.sent.Load()) {
		return nil
	}
	return &l.records[n]
}

func (l *ledger) delivered(m Message, end int) {
	r := l.find(m.ClientID)
	if r == nil {
		return
	}
	if !r.arrived[end].CompareAndSwap(0, m.Seq) {
		return // counted as doubled by its seq
	}
	l.arrivals.Add(1)
	if end != r.from {
		r.other.Store(l.since())
	}
}

func (l *ledger) answer(r *record, reply Reply) {
	if reply.Err == nil {
		r.seq.Store(reply.Message.Seq)
		r.acked.Store(l.since())
	} else {
		l.mu.Lock()
		l.refused[reply.Err.Error()]++
		l.mu.Unlock()
	}
	l.answered.Add(1)
	if l.slots != nil {
		l.slots <- struct{}{}
	}
}

// load runs a phase: a warm-up, the measured part, and the wait for what is still under way.
func (w *world) load(ctx context.Context, p phase) (f Figures, err error) {
	w.serial++
	total := time.Duration(p.Seconds)*time.Second + warmUp
	room := mostPerSec * int(total/time.Second)
	if p.Rate > 0 {
		room = p.Rate*int(total/time.Second) + p.Rate
	}
	l := &ledger{prefix: fmt.Sprintf("bench-%d-", w.serial), records: make([]record, room), refused: map[string]int{}}
	if p.Rate == 0 {
		l.slots = make(chan struct{}, room)
		for range p.InFlight {
			l.slots <- struct{}{}
		}
	}
	l.began = time.Now()
	w.now.Store(l)
	end := l.began.Add(total)
	sending := make(chan error, 1)
	go func() { sending <- w.send(ctx, l, p, end) }()
	before, after, err := w.window(ctx, p, end)
	if err = errors.Join(err, <-sending); err != nil {
		return f, err
	}
	l.drain(ctx)
	f = l.figures(p)
	f.between(before, after, l.ackedBetween(warmUp, total))
	if f.ServerRSS, err = w.server.RSS(); err != nil {
		return f, err
	}
	return f, w.stored(ctx, &f)
}

// window waits for the measured part and takes the server's figures at both ends of it.
func (w *world) window(ctx context.Context, p phase, end time.Time) (before, after snapshot, err error) {
	profile := func() error {
		if p.Profile == "" {
			return nil
		}
		return w.server.Signal(syscall.SIGUSR1) // starts it, and ends it
	}
	if err := pause(ctx, warmUp); err != nil {
		return before, after, err
	}
	if before, err = w.snapshot(ctx); err != nil {
		return before, after, err
	}
	if err := errors.Join(profile(), pause(ctx, time.Until(end))); err != nil {
		return before, after, err
	}
	if after, err = w.snapshot(ctx); err != nil {
		return before, after, err
	}
	return before, after, profile()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tick is how long the sender sleeps when nothing is due.
const tick = 500 * time.Microsecond

// send sends messages until the end, round the conversations.
func (w *world) send(ctx context.Context, l *ledger, p phase, end time.Time) error {
	timeout := time.NewTimer(time.Until(end))
	defer timeout.Stop()
	for n := range l.records {
		var due int64
		if p.Rate > 0 {
			due = int64(n) * int64(time.Second) / int64(p.Rate)
			for l.since() < due {
				time.Sleep(tick)
			}
			if l.began.Add(time.Duration(due)).After(end) {
				return nil
			}
		} else {
			select {
			case <-l.slots:
			case <-timeout.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
			due = l.since()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.sendOne(l, n, due)
	}
	return nil
}

func (w *world) sendOne(l *ledger, n int, due int64) {
	t := w.talks[n%len(w.talks)]
	r := &l.records[n]
	r.talk, r.due, r.from = t, due, atVisitor
	socket := t.visitor
	if n%agentEvery == agentEvery-1 {
		r.from, socket = atAgent, t.agent
	}
	l.sent.Store(int64(n) + 1)
	socket.Go("send", SendInput{Conversation: t.id, ClientID: l.prefix + strconv.Itoa(n), Body: text(n)}, func(reply Reply) { l.answer(r, reply) })
}

// drain waits until everything was answered and arrived, or nothing more is to be expected.
func (l *ledger) drain(ctx context.Context) {
	limit := time.Now().Add(drainWithin)
	for time.Now().Before(limit) && ctx.Err() == nil {
		sent := l.sent.Load()
		l.mu.Lock()
		refused := int64(0)
		for _, n := range l.refused {
			refused += int64(n)
		}
		l.mu.Unlock()
		if l.answered.Load() == sent && l.arrivals.Load() >= 2*(sent-refused) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stored asks the server how many messages the conversations hold that they did not hold before the phase.
func (w *world) stored(ctx context.Context, f *Figures) error {
	for at := 0; at < len(w.talks); at += maxIDs {
		var ids []string
		for _, t := range w.talks[at:min(at+maxIDs, len(w.talks))] {
			ids = append(ids, t.id)
		}
		var out struct {
			Items []struct {
				LastSeq int64 `json:"last_seq"`
			} `json:"items"`
		}
		if _, err := w.do(ctx, "GET", "/conversations?limit=100&ids="+strings.Join(ids, ","), w.agents[0].cookie, nil, &out); err != nil {
			return err
		}
		for _, c := range out.Items {
			f.Stored += int(c.LastSeq)
		}
	}
	f.Stored -= w.stock
	w.stock += f.Stored
	return nil
}

// maxIDs is how many conversations the API returns by their ids at once.
const maxIDs = 100
