// Package bus carries what happens from one domain to others: events after a commit, and durable jobs.
//
// Events are hints about rows that can be read: delivered in order, but lost when a process dies, and repeated now and then when
// Redis is between several processes. What must happen is a job: a row that is written with the work
// that asks for it and is tried until it succeeds, by whichever process is alive.
//
// Both hold ids or sealed bytes only. The package knows no domain, opens no sealed value, and talks to no browser:
// internal/bus/realtime does.
package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/db"
	"parley/internal/fault"
)

// Options says what a Bus works with.
type Options struct {
	DB     *db.DB
	Redis  *redis.Client // joins several processes, in RESP2 (CheckRedis); nil: this one is alone
	Prefix string        // of the Redis channel; "parley" if empty. Installations that share a Redis need different ones
	Logger *slog.Logger  // slog.Default() if nil

	Workers int           // jobs that run at once in this process; 4 if 0
	Lease   time.Duration // how long after a process died its jobs are taken over; 30 s if 0
	Poll    time.Duration // how often to look for jobs that nobody announced; 1 s if 0
	Grace   time.Duration // how long running jobs may go on when Run is told to end; 5 s if 0
}

// Bus carries events and jobs. Subscribe, Handle and Every are called before Run, everything else at any time.
type Bus struct {
	opt   Options
	node  string
	log   *slog.Logger
	stats counters

	subs  []*subscriber
	relay *relay // nil without Redis

	handlers map[string]func(context.Context, Job) error
	periodic map[string]time.Duration
	wakeup   chan struct{}
	started  atomic.Bool
	ready    chan struct{}
}

// Stats are counts since the process started.
type Stats struct {
	Events       uint64 // emitted here or received
	Dropped      uint64 // events that a slow subscriber, or a Redis away for long, has missed
	JobsDone     uint64
	JobsFailed   uint64
	JobsRunning  int64
	RedisTrouble uint64 // times that the connection to Redis broke
}

type counters struct {
	events, dropped, done, failed, trouble atomic.Uint64
	running                                atomic.Int64
}

// New makes a Bus. It connects to nothing yet.
func New(opt Options) (*Bus, error) {
	if opt.DB == nil {
		return nil, fault.New(fault.Internal, "bus.New", "no_database", "the bus needs a database")
	}
	setDefault(&opt.Prefix, "parley")
	setDefault(&opt.Workers, 4)
	setDefault(&opt.Lease, 30*time.Second)
	setDefault(&opt.Poll, time.Second)
	setDefault(&opt.Grace, 5*time.Second)
	setDefault(&opt.Logger, slog.Default())
	b := &Bus{opt: opt, node: db.NewID(), log: opt.Logger, wakeup: make(chan struct{}, 1), ready: make(chan struct{}),
		handlers: map[string]func(context.Context, Job) error{}, periodic: map[string]time.Duration{}}
	if opt.Redis != nil {
		if err := CheckRedis(opt.Redis); err != nil {
			return nil, err
		}
		b.relay = newRelay(b, opt.Redis, opt.Prefix+":bus")
	}
	return b, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Run delivers events and works on jobs until ctx ends, then lets running jobs finish for a moment and returns. It returns
// an error only when it cannot start: the database is away or has no table bus_job.
func (b *Bus) Run(ctx context.Context) error {
	if b.started.Swap(true) {
		return fault.New(fault.Internal, "bus.Run", "running", "the bus runs already")
	}
	if err := b.startJobs(ctx); err != nil {
		return fault.Wrap(fault.Internal, "bus.Run", err)
	}
	var wg sync.WaitGroup
	for _, s := range b.subs {
		wg.Go(func() { s.deliver(ctx, b.log) })
	}
	if b.relay != nil {
		subscribed := make(chan struct{})
		wg.Go(func() { b.relay.receive(ctx, subscribed) })
		wg.Go(func() { b.relay.send(ctx) })
		wg.Go(func() {
			select {
			case <-subscribed:
				close(b.ready)
			case <-ctx.Done():
			}
		})
	} else {
		close(b.ready)
	}
	b.work(ctx)
	wg.Wait()
	return nil
}

// Ready is closed once Run has begun to work and, with Redis, hears the other processes.
func (b *Bus) Ready() <-chan struct{} { return b.ready }

// Stats returns what the bus has done so far.
func (b *Bus) Stats() Stats {
	c := &b.stats
	return Stats{Events: c.events.Load(), Dropped: c.dropped.Load(), JobsDone: c.done.Load(), JobsFailed: c.failed.Load(),
		JobsRunning: c.running.Load(), RedisTrouble: c.trouble.Load()}
}

// code returns the stable code by which err is logged and recorded.
func code(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	f := fault.Of(err)
	if f.Code == "" {
		return f.Kind.String()
	}
	return f.Code
}
