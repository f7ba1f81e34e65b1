package db

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	maxBatch   = 256  // use cases that share one physical transaction
	queueDepth = 4096 // callers that wait without blocking one another; more block at the door
)

// writer owns SQLite's writing connection. Callers queue; the writer takes what is there, runs each use case in a savepoint of one
// transaction, commits once, runs the hooks and answers. While the disk syncs, the next batch gathers.
type writer struct {
	conn    *sqliteConn
	now     func() time.Time
	stats   *recorder
	queue   chan *call
	alone   chan *solo
	closing <-chan struct{}
	stopped chan struct{}

	committed chan struct{} // tells the checkpointer that the log has grown

	batch   []*call // being run; those before position next have run
	next    int
	exiting bool // a closure ended the goroutine with runtime.Goexit
}

// The states of a call. Whoever moves it out of waiting decides: the writer runs it, or the caller leaves.
const (
	waiting int32 = iota
	taken
	left
)

// call is one use case in the queue.
type call struct {
	ctx      context.Context
	op       string
	fn       func(*Tx) error
	since    time.Time
	waited   time.Duration
	state    atomic.Int32
	tx       *Tx
	err      error
	panicked any
	goexit   bool
	done     chan struct{}
}

// solo is work that needs the connection outside any transaction.
type solo struct {
	fn   func(*sqliteConn) error
	err  error
	done chan struct{}
}

func newWriter(conn *sqliteConn, now func() time.Time, stats *recorder, closing <-chan struct{}) *writer {
	return &writer{conn: conn, now: now, stats: stats, closing: closing, stopped: make(chan struct{}),
		queue: make(chan *call, queueDepth), alone: make(chan *solo), committed: make(chan struct{}, 1)}
}

func (w *writer) do(ctx context.Context, op string, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return ended(op, err)
	}
	c := &call{ctx: ctx, op: op, fn: fn, since: time.Now(), done: make(chan struct{})}
	select {
	case <-w.closing:
		return closedError(op)
	default:
	}
	select {
	case w.queue <- c:
	case <-ctx.Done():
		return ended(op, ctx.Err())
	case <-w.closing:
		return closedError(op)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.state.CompareAndSwap(waiting, left) {
			return ended(op, ctx.Err())
		}
		<-c.done
	case <-w.stopped: // the writer left before it saw the call
		if c.state.CompareAndSwap(waiting, left) {
			return closedError(op)
		}
		<-c.done
	}
	if c.goexit {
		runtime.Goexit()
	}
	if c.panicked != nil {
		panic(c.panicked)
	}
	return result(op, c.err)
}

// exclusive runs fn between batches.
func (w *writer) exclusive(ctx context.Context, op string, fn func(*sqliteConn) error) error {
	s := &solo{fn: fn, done: make(chan struct{})}
	select {
	case w.alone <- s:
		<-s.done
		return result(op, s.err)
	case <-ctx.Done():
		return ended(op, ctx.Err())
	case <-w.closing:
		return closedError(op)
	}
}

// loop is the writer's goroutine.
func (w *writer) loop() {
	defer func() {
		if w.exiting { // testing.T.FailNow inside a use case, for one
			w.exiting = false
			w.rest()
			go w.loop()
		}
	}()
	for {
		if len(w.batch) > 0 {
			w.runBatch()
			continue
		}
		select {
		case <-w.closing:
			close(w.stopped)
			return
		case s := <-w.alone:
			s.err = s.fn(w.conn)
			close(s.done)
		case c := <-w.queue:
			w.gather(c)
		}
	}
}

// gather makes a batch of c and everything else that waits.
func (w *writer) gather(c *call) {
	w.batch = append(w.batch[:0], c)
	for len(w.batch) < maxBatch {
		select {
		case c := <-w.queue:
			w.batch = append(w.batch, c)
		default:
			return
		}
	}
}

// runBatch runs the batch in one transaction and answers all of it, or leaves in w.batch what has to run again.
func (w *writer) runBatch() {
	w.next = 0
	ctx := context.Background()
	if _, err := w.conn.exec(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		w.conn.exec(ctx, "ROLLBACK", nil) //nolint:errcheck // in case an earlier end failed
		w.refuse(err)
		return
	}
	for w.next < len(w.batch) {
		c := w.batch[w.next]
		w.next++
		if !c.state.CompareAndSwap(waiting, taken) && c.state.Load() == left {
			continue
		}
		if intact := w.runOne(c); !intact {
			w.rest()
			return
		}
	}
	w.commit()
}

// runOne runs a use case in its savepoint. It reports whether the transaction around it still stands.
func (w *writer) runOne(c *call) (intact bool) {
	ctx := context.Background()
	if c.waited == 0 {
		c.waited = time.Since(c.since)
	}
	c.tx = newTx(c.ctx, w.now(), w.conn)
	if _, c.err = w.conn.exec(ctx, "SAVEPOINT u", nil); c.err != nil {
		return false
	}
	w.invoke(c)
	c.err = c.tx.finish(c.err)
	if c.err == nil && c.panicked == nil {
		_, c.err = w.conn.exec(ctx, "RELEASE u", nil)
		return c.err == nil
	}
	// A full disk, or an error of the disk, ends the whole transaction; then there is no savepoint to return to.
	if _, err := w.conn.exec(ctx, "ROLLBACK TO u", nil); err != nil {
		return false
	}
	_, err := w.conn.exec(ctx, "RELEASE u", nil)
	return err == nil
}

// invoke calls the closure and keeps its panic for the caller.
func (w *writer) invoke(c *call) {
	returned := false
	defer func() {
		if c.panicked = recover(); c.panicked == nil && !returned {
			c.goexit, w.exiting = true, true
		}
	}()
	c.err = c.fn(c.tx)
	returned = true
}

// rest gives up the transaction because of the use case that ran last: that one is answered, the
// others run again.
func (w *writer) rest() {
	culprit := w.batch[w.next-1]
	if culprit.tx != nil {
		culprit.tx.finish(nil) //nolint:errcheck // its error is known
	}
	w.conn.exec(context.Background(), "ROLLBACK", nil) //nolint:errcheck // fails when SQLite has rolled back already
	again := w.batch[:0:0]
	for _, c := range w.batch {
		if c == culprit || c.state.Load() == left {
			continue
		}
		if c.tx != nil && (c.err != nil || c.panicked != nil) {
			w.answer(c) // had failed by itself
			continue
		}
		again = append(again, c)
	}
	w.stats.update(func(s *Stats) {
		for _, c := range again {
			if c.tx != nil {
				s.Retries++
			}
		}
	})
	for _, c := range again {
		c.tx = nil
	}
	w.answer(culprit)
	w.batch = again
}

// refuse answers the whole batch with err.
func (w *writer) refuse(err error) {
	for _, c := range w.batch {
		if c.state.CompareAndSwap(waiting, taken) || c.state.Load() == taken {
			c.err = err
			w.answer(c)
		}
	}
	w.batch = w.batch[:0]
}

// commit makes the batch durable, runs its hooks in order and answers.
func (w *writer) commit() {
	ctx := context.Background()
	ok := 0
	for _, c := range w.batch {
		if c.tx != nil && c.err == nil && c.panicked == nil {
			ok++
		}
	}
	end := "COMMIT"
	if ok == 0 {
		end = "ROLLBACK"
	}
	start := time.Now()
	_, err := w.conn.exec(ctx, end, nil)
	if err != nil {
		w.conn.exec(ctx, "ROLLBACK", nil) //nolint:errcheck // fails when SQLite has rolled back already
	} else if ok > 0 {
		w.stats.committed(ok, time.Since(start))
		select {
		case w.committed <- struct{}{}:
		default:
		}
	}
	for _, c := range w.batch {
		if c.tx == nil || c.err != nil || c.panicked != nil {
			continue
		}
		if c.err = err; err == nil {
			c.hooks()
		}
	}
	w.stats.update(func(s *Stats) {
		for _, c := range w.batch {
			if c.tx != nil {
				s.Wait.observe(c.waited.Seconds())
			}
		}
	})
	for i, c := range w.batch {
		w.batch[i] = nil
		if c.tx != nil {
			w.answer(c)
		}
	}
	w.batch = w.batch[:0]
}

func (w *writer) answer(c *call) {
	if c.err != nil || c.panicked != nil || c.goexit {
		w.stats.update(func(s *Stats) { s.Failed++ })
	}
	close(c.done)
}

// hooks runs the use case's hooks; a panic in one is raised in the caller, and the writer goes on.
func (c *call) hooks() {
	defer func() { c.panicked = recover() }()
	for _, f := range c.tx.after {
		f()
	}
}
