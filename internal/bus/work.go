package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
)

// work claims jobs and runs them until ctx ends and the running ones have returned.
func (b *Bus) work(ctx context.Context) {
	if len(b.handlers) == 0 {
		<-ctx.Done()
		return
	}
	q := b.jobQueries()
	var wg sync.WaitGroup
	slots := make(chan struct{}, b.opt.Workers)
	for ctx.Err() == nil {
		free := b.opt.Workers - len(slots)
		claims, wait, err := b.claim(ctx, q, free)
		if err != nil && ctx.Err() == nil {
			b.log.Error("jobs cannot be claimed", "code", code(err))
			wait = b.opt.Poll
		}
		for _, c := range claims {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots; b.wake() }()
				b.runJob(ctx, c)
			})
		}
		if len(claims) > 0 && len(claims) < free {
			continue // look again: how long to wait is not known
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-b.wakeup:
		case <-ctx.Done():
		}
		t.Stop()
	}
	wg.Wait()
}

// jobQueries are the statements over the kinds that this process handles.
type jobQueries struct {
	kinds      []any
	next, take string
}

func (b *Bus) jobQueries() jobQueries {
	var q jobQueries
	for kind := range b.handlers {
		q.kinds = append(q.kinds, kind)
	}
	slices.SortFunc(q.kinds, func(x, y any) int { return strings.Compare(x.(string), y.(string)) })
	list := func(from int) string {
		var marks []string
		for i := range q.kinds {
			marks = append(marks, fmt.Sprintf("$%d", from+i))
		}
		return strings.Join(marks, ", ")
	}
	q.next = `SELECT COALESCE(MIN(CASE WHEN lease_until > run_at THEN lease_until ELSE run_at END), -1) FROM bus_job WHERE kind IN (` + list(1) + `)`
	// A second process that picks the same rows waits for the first, looks at the condition again, and leaves them.
	q.take = `UPDATE bus_job SET lease_until = $1, lease_by = $2, attempt = attempt + 1
		WHERE id IN (SELECT id FROM bus_job WHERE run_at <= $3 AND lease_until < $3 AND kind IN (` + list(5) + `) ORDER BY run_at, id LIMIT $4)
			AND lease_until < $3 AND run_at <= $3
		RETURNING id, kind, args, attempt, every_us, created_at`
	return q
}

// claim takes up to n due jobs. Without any it returns how long nothing will be due.
func (b *Bus) claim(ctx context.Context, q jobQueries, n int) (claims []*claim, wait time.Duration, err error) {
	if n == 0 {
		return nil, b.opt.Poll, nil
	}
	var next int64
	var now time.Time
	if err := b.opt.DB.Read(ctx, "bus.next", func(tx *db.Tx) error {
		now = tx.Now()
		return tx.QueryRow(q.next, q.kinds...).Scan(&next)
	}); err != nil {
		return nil, 0, err
	}
	if next < 0 {
		return nil, b.opt.Poll, nil
	}
	if due := db.FromMicros(next); due.After(now) {
		return nil, min(due.Sub(now)+time.Microsecond, b.opt.Poll), nil
	}
	token := db.NewID()
	err = b.opt.DB.Do(ctx, "bus.claim", func(tx *db.Tx) error {
		claims = nil
		args := append([]any{db.Micros(tx.Now().Add(b.opt.Lease)), token, db.Micros(tx.Now()), n}, q.kinds...)
		rows, err := tx.Query(q.take, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c := &claim{token: token}
			var body string
			var every, created int64
			if err := rows.Scan(&c.ID, &c.Kind, &body, &c.Attempt, &every, &created); err != nil {
				return err
			}
			c.Args, c.every, c.Created = []byte(body), time.Duration(every)*time.Microsecond, db.FromMicros(created)
			claims = append(claims, c)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, 0, err
	}
	return claims, b.opt.Poll, nil
}

// runJob runs one job to its end and records the outcome.
func (b *Bus) runJob(ctx context.Context, c *claim) {
	b.stats.running.Add(1)
	defer b.stats.running.Add(-1)
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// When the process ends, the job has a moment to finish.
	stop := context.AfterFunc(ctx, func() {
		if sleep(own, b.opt.Grace) {
			cancel()
		}
	})
	defer stop()
	var renewing sync.WaitGroup
	renewing.Go(func() { b.keepLease(own, cancel, c) })
	err := b.callHandler(own, c)
	gaveUp := err != nil && own.Err() != nil
	cancel()
	renewing.Wait()

	last, done := context.WithTimeout(context.WithoutCancel(ctx), b.opt.Lease)
	defer done()
	record := c.finish
	switch {
	case err == nil:
		b.stats.done.Add(1)
	case gaveUp && ctx.Err() != nil:
		record = c.release
	case isDiscarded(err):
		b.stats.failed.Add(1)
		b.log.Error("a job was given up", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt, "code", code(err), "op", fault.Of(err).Op)
	default:
		b.stats.failed.Add(1)
		b.log.Warn("a job failed and will be tried again", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt, "code", code(err), "op", fault.Of(err).Op)
		record = func(tx *db.Tx) error { return c.retry(tx, err) }
	}
	if err := b.opt.DB.Do(last, "bus.record", record); err != nil { // the lease runs out and the job runs once more
		b.log.Error("a job's outcome could not be recorded", "job", c.ID, "kind", c.Kind, "code", code(err))
	}
}

// callHandler calls the kind's handler; a panic is an error like others.
func (b *Bus) callHandler(ctx context.Context, c *claim) (err error) {
	defer func() {
		if recover() != nil { // the value may quote data
			err = fault.New(fault.Internal, "bus.job", "panic", "the job's handler panicked")
			b.log.Error("a job panicked", "job", c.ID, "kind", c.Kind, "stack", string(debug.Stack()))
		}
	}()
	ctx = actor.With(ctx, actor.Actor{Kind: actor.System, ID: c.Kind})
	return b.handlers[c.Kind](ctx, c.Job)
}

// keepLease renews the lease until ctx ends, and ends the job when the lease is lost.
func (b *Bus) keepLease(ctx context.Context, cancel func(), c *claim) {
	valid := time.Now().Add(b.opt.Lease)
	for sleep(ctx, b.opt.Lease/3) {
		var mine bool
		err := b.opt.DB.Do(ctx, "bus.renew", func(tx *db.Tx) (err error) {
			mine, err = c.renew(tx, b.opt.Lease)
			return err
		})
		switch {
		case err == nil && mine:
			valid = time.Now().Add(b.opt.Lease)
		case err == nil, time.Now().After(valid):
			cancel()
			return
		}
	}
}
