package bus

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
)

// Job is one run of durable work.
type Job struct {
	ID      string
	Kind    string
	Args    json.RawMessage
	Attempt int       // 1 for the first
	Created time.Time // when it was first asked for
}

// Decode reads the job's arguments into v.
func (j Job) Decode(v any) error {
	if err := json.Unmarshal(j.Args, v); err != nil {
		return Discard(fault.New(fault.Internal, "bus.Decode", "job_args", "a job's arguments do not fit its kind"))
	}
	return nil
}

// discarded is an error that ends a job.
type discarded struct{ error }

func (d discarded) Unwrap() error { return d.error }

// Discard marks an error after which trying again is pointless: the job is logged and removed.
func Discard(err error) error { return discarded{err} }

type jobOptions struct {
	runAt  time.Time
	unique sql.NullString
}

// JobOption changes what Enqueue does.
type JobOption func(*jobOptions)

// RunAt makes the job wait until t.
func RunAt(t time.Time) JobOption { return func(o *jobOptions) { o.runAt = t } }

// Unique joins the job with one of its kind and key that waits already: the earlier time and the later arguments hold. If that one is
// running, it runs once more afterwards, since it may have passed what the new request is about.
func Unique(key string) JobOption {
	return func(o *jobOptions) { o.unique = sql.NullString{String: key, Valid: true} }
}

// Handle sets what jobs of a kind do. fn is called at least once per job, in any process, several at a time, with the
// system as actor; its error means another try, later each time, an hour apart at most. An error's RetryAfter is respected. fn should return soon after
// ctx ends: the process stops, or the job was taken over after its lease ran out.
func (b *Bus) Handle(kind string, fn func(ctx context.Context, job Job) error) {
	if b.started.Load() || b.handlers[kind] != nil {
		panic("bus: Handle after Run, or twice: " + kind)
	}
	b.handlers[kind] = fn
}

// Every makes the kind's handler run once per interval in one of the processes, with arguments "null", starting at once on a new
// installation. Intervals that were missed are not made up for.
func (b *Bus) Every(kind string, every time.Duration) {
	if b.started.Load() || every < time.Millisecond {
		panic("bus: Every after Run, or too often: " + kind)
	}
	b.periodic[kind] = every
}

const insertJob = `INSERT INTO bus_job (id, kind, unique_key, args, run_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (kind, unique_key) DO UPDATE SET
		args = excluded.args,
		run_at = CASE WHEN bus_job.lease_until >= $6 AND NOT bus_job.again OR excluded.run_at < bus_job.run_at
			THEN excluded.run_at ELSE bus_job.run_at END,
		again = bus_job.again OR bus_job.lease_until >= $6`

// Enqueue adds a job as part of the use case; it is started after the commit. args is marshalled to JSON and holds ids only.
func (b *Bus) Enqueue(tx *db.Tx, kind string, args any, opts ...JobOption) error {
	const op = "bus.Enqueue"
	if b.started.Load() && b.handlers[kind] == nil {
		return fault.New(fault.Internal, op, "job_kind", "nothing handles jobs of kind "+kind)
	}
	body, err := json.Marshal(args)
	if err != nil {
		return fault.New(fault.Internal, op, "job_args", fmt.Sprintf("arguments of type %T cannot be marshalled", args))
	}
	o := jobOptions{runAt: tx.Now()}
	for _, opt := range opts {
		opt(&o)
	}
	if _, err := tx.Exec(insertJob, db.NewID(), kind, o.unique, string(body), db.Micros(o.runAt), db.Micros(tx.Now())); err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	soon := o.runAt.Sub(tx.Now()) <= b.opt.Poll
	tx.After(func() {
		b.wake()
		if b.relay != nil && soon {
			b.relay.job()
		}
	})
	return nil
}

// wake makes work look at the table now.
func (b *Bus) wake() {
	select {
	case b.wakeup <- struct{}{}:
	default:
	}
}

// periodicKey is the unique key of the one row of a periodic kind.
const periodicKey = "every"

// startJobs writes the rows of periodic jobs.
func (b *Bus) startJobs(ctx context.Context) error {
	for kind := range b.periodic {
		if b.handlers[kind] == nil {
			return fault.New(fault.Internal, "bus.Run", "job_kind", "nothing handles the periodic kind "+kind)
		}
	}
	return b.opt.DB.Do(ctx, "bus.start", func(tx *db.Tx) error {
		if b.opt.DB.Engine() == db.SQLite {
			// One process has the file: whoever held a lease is dead, and its jobs need not wait for the lease to end.
			if _, err := tx.Exec("UPDATE bus_job SET lease_until = 0, lease_by = NULL WHERE lease_until > 0"); err != nil {
				return err
			}
		}
		for kind, every := range b.periodic {
			if _, err := tx.Exec(`INSERT INTO bus_job (id, kind, unique_key, args, every_us, run_at, created_at) VALUES ($1, $2, $3, 'null', $4, $5, $5)
				ON CONFLICT (kind, unique_key) DO UPDATE SET every_us = excluded.every_us,
					run_at = CASE WHEN bus_job.run_at > excluded.run_at + excluded.every_us THEN excluded.run_at + excluded.every_us ELSE bus_job.run_at END`,
				db.NewID(), kind, periodicKey, every.Microseconds(), db.Micros(tx.Now())); err != nil {
				return err
			}
		}
		return nil
	})
}

// claim is a job in this process's hands.
type claim struct {
	Job
	token string
	every time.Duration
}

// finish removes a job that succeeded, or readies it for its next run.
func (c *claim) finish(tx *db.Tx) error {
	if c.every > 0 {
		us := c.every.Microseconds()
		next := (db.Micros(tx.Now())/us + 1) * us
		_, err := tx.Exec(`UPDATE bus_job SET run_at = $1, lease_until = 0, lease_by = NULL, attempt = 0, again = FALSE, last_error = NULL
			WHERE id = $2 AND lease_by = $3`, next, c.ID, c.token)
		return err
	}
	n, err := tx.Exec("DELETE FROM bus_job WHERE id = $1 AND lease_by = $2 AND NOT again", c.ID, c.token)
	if err != nil || n > 0 {
		return err
	}
	_, err = tx.Exec(`UPDATE bus_job SET again = FALSE, lease_until = 0, lease_by = NULL, attempt = 0, last_error = NULL
		WHERE id = $1 AND lease_by = $2`, c.ID, c.token)
	return err
}

// retry puts a job back for later.
func (c *claim) retry(tx *db.Tx, cause error) error {
	delay := backoff(c.Attempt)
	if f := fault.Of(cause); f.RetryAfter > delay {
		delay = f.RetryAfter
	}
	if c.every > 0 {
		delay = min(delay, c.every)
	}
	_, err := tx.Exec("UPDATE bus_job SET run_at = $1, lease_until = 0, lease_by = NULL, last_error = $2 WHERE id = $3 AND lease_by = $4",
		db.Micros(tx.Now().Add(delay)), code(cause), c.ID, c.token)
	return err
}

// release gives a job back untouched, because the process ends.
func (c *claim) release(tx *db.Tx) error {
	_, err := tx.Exec("UPDATE bus_job SET lease_until = 0, lease_by = NULL, attempt = attempt - 1 WHERE id = $1 AND lease_by = $2", c.ID, c.token)
	return err
}

// renew extends the lease. It reports false when somebody else has the job.
func (c *claim) renew(tx *db.Tx, lease time.Duration) (bool, error) {
	n, err := tx.Exec("UPDATE bus_job SET lease_until = $1 WHERE id = $2 AND lease_by = $3", db.Micros(tx.Now().Add(lease)), c.ID, c.token)
	return n > 0, err
}

const maxBackoff = time.Hour

// backoff returns how long to wait after the attempt: 1 s, doubled each time, an hour at most.
func backoff(attempt int) time.Duration {
	if attempt > 12 {
		return maxBackoff
	}
	return min(time.Second<<max(attempt-1, 0), maxBackoff)
}

// isDiscarded reports whether err ends its job.
func isDiscarded(err error) bool {
	var d discarded
	return errors.As(err, &d)
}
