package db

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"parley/internal/fault"
)

const (
	postgresConns  = 16
	postgresTries  = 10               // runs of a closure that meets serialisation failures
	postgresTxLife = 30 * time.Second // a transaction that takes longer is given up, its COMMIT included
	migrationLife  = 24 * time.Hour
	connectTimeout = 5 * time.Second
)

type postgresDB struct {
	pool  *sql.DB
	now   func() time.Time
	stats *recorder
	order sequencer

	closed atomic.Bool
}

func openPostgres(ctx context.Context, cfg Config, stats *recorder) (*postgresDB, error) {
	if cfg.Dial == nil {
		return nil, fault.New(fault.Internal, "db.Open", "no_dialer", "PostgreSQL needs a dialer")
	}
	pc, err := pgx.ParseConfig(cfg.URL)
	if err != nil { // the parser's text may hold the password
		return nil, fault.Bad("db.Open", "database", "database_url", "the PostgreSQL URL cannot be read")
	}
	pc.DialFunc = cfg.Dial
	// The dialer decides by host name, and looks the name up itself.
	pc.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = connectTimeout
	}
	if cfg.Schema != "" {
		pc.RuntimeParams["search_path"] = pgx.Identifier{cfg.Schema}.Sanitize()
	}
	if pc.RuntimeParams["application_name"] == "" {
		pc.RuntimeParams["application_name"] = "parley"
	}
	pool := stdlib.OpenDB(*pc, stdlib.OptionAfterConnect(durable))
	if cfg.MaxReaders <= 0 {
		cfg.MaxReaders = postgresConns
	}
	pool.SetMaxOpenConns(cfg.MaxReaders)
	pool.SetMaxIdleConns(cfg.MaxReaders)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	p := &postgresDB{pool: pool, now: cfg.Now, stats: stats}
	if err := p.prepare(ctx, cfg.Schema); err != nil {
		pool.Close()
		return nil, fault.Wrap(fault.Unavailable, "db.Open", connectError(err))
	}
	stats.gauge = func(st *Stats) {
		s := pool.Stats()
		st.InUse, st.Available = s.InUse, s.MaxOpenConnections
	}
	return p, nil
}

// durable turns synchronous_commit on where the server's default is off: Do promises durability.
func durable(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

// connectError says what an operator has to know about a failed first connection: pgx names user, host and reason, never the password.
func connectError(err error) error {
	if ce, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &fault.Error{Kind: fault.Unavailable, Op: "db.Open", Code: "database_away", Text: ce.Error(), RetryAfter: time.Second}
	}
	return classify(err)
}

// prepare creates the schema. Two servers may start at once; the second finds it there.
func (p *postgresDB) prepare(ctx context.Context, schema string) error {
	if err := p.pool.PingContext(ctx); err != nil || schema == "" {
		return err
	}
	var there bool
	err := p.pool.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", schema).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = p.pool.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{schema}.Sanitize())
	var pe *pgconn.PgError
	if errors.As(err, &pe) && (pe.Code == "23505" || pe.Code == "42P06") {
		return nil
	}
	return err
}

func (p *postgresDB) dialect() dialect { return dialectPostgres }

func (p *postgresDB) do(ctx context.Context, op string, fn func(*Tx) error) error {
	if p.closed.Load() {
		return closedError(op)
	}
	since := time.Now()
	life := postgresTxLife
	if op == opMigrate {
		life = migrationLife
	}
	for try := 1; ; try++ {
		again, err := p.once(ctx, fn, since, life)
		if err == nil {
			return nil
		}
		if !again || try >= postgresTries || ctx.Err() != nil {
			p.stats.update(func(s *Stats) { s.Failed++ })
			return result(op, err)
		}
		p.stats.update(func(s *Stats) { s.Retries++ })
		pause := time.NewTimer(rand.N(time.Millisecond << min(try, 6)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// once runs fn in one transaction. again says whether the failure is one that another run may not meet.
func (p *postgresDB) once(ctx context.Context, fn func(*Tx) error, since time.Time, life time.Duration) (again bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, ended("db", err)
	}
	conn, err := p.pool.Conn(ctx)
	if err != nil {
		return retriable(err), classify(err)
	}
	defer conn.Close()
	// The transaction has a context of its own, so that a caller who leaves cannot interrupt COMMIT and never learn its outcome.
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), life)
	defer cancel()
	ptx, err := conn.BeginTx(own, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return retriable(err), classify(err)
	}
	defer ptx.Rollback() //nolint:errcheck // ends what a failure or a panic left; after COMMIT it does nothing
	tx := newTx(ctx, p.now(), postgresTx{ptx})
	waited := time.Since(since)
	if err := tx.finish(fn(tx)); err != nil {
		return retriable(err) || retriable(tx.failed), err
	}
	if err := ctx.Err(); err != nil {
		return false, ended("db", err)
	}
	turn := p.order.take(len(tx.after) > 0)
	defer turn.done()
	start := time.Now()
	if err := ptx.Commit(); err != nil {
		var pe *pgconn.PgError
		return errors.As(err, &pe) && retriable(err), classify(err) // a connection lost here leaves the outcome unknown: no second run
	}
	p.stats.committed(1, time.Since(start))
	p.stats.update(func(s *Stats) { s.Wait.observe(waited.Seconds()) })
	turn.wait()
	for _, f := range tx.after {
		f()
	}
	return false, nil
}

// retriable reports whether the closure may succeed when it runs again: a serialisation failure or deadlock, a plan that a
// migration made stale, or a connection that broke.
func retriable(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pe.Code {
		case "40001", "40P01", "26000":
			return true
		case "0A000":
			return pe.Message == "cached plan must not change result type"
		case "57P01", "57P02": // the server restarts; it may be back
			return true
		}
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var ce *pgconn.ConnectError
	return err != nil && lostConnection(err) && !errors.As(err, &ce)
}

func (p *postgresDB) read(ctx context.Context, op string, fn func(*Tx) error) error {
	if p.closed.Load() {
		return closedError(op)
	}
	err := p.readOnce(ctx, fn)
	if err != nil && retriable(err) && ctx.Err() == nil {
		err = p.readOnce(ctx, fn)
	}
	p.stats.read()
	return result(op, err)
}

func (p *postgresDB) readOnce(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return ended("db", err)
	}
	ptx, err := p.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return classify(err)
	}
	defer ptx.Rollback() //nolint:errcheck // nothing was written
	tx := newTx(ctx, p.now(), postgresTx{ptx})
	return tx.finish(fn(tx))
}

func (p *postgresDB) checkpoint(context.Context) error { return nil }

func (p *postgresDB) ping(ctx context.Context) error {
	return result("db.Ping", classify(p.pool.PingContext(ctx)))
}

func (p *postgresDB) close() error {
	p.closed.Store(true)
	return p.pool.Close()
}

// postgresTx runs statements in a transaction; pgx keeps them prepared per connection.
type postgresTx struct{ tx *sql.Tx }

func (t postgresTx) exec(ctx context.Context, query string, args []any) (int64, error) {
	r, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, classify(err)
	}
	n, err := r.RowsAffected()
	return n, classify(err)
}

func (t postgresTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	rows, err := t.tx.QueryContext(ctx, query, args...)
	return rows, classify(err)
}

// sequencer makes hooks run in commit order where order can be observed. A transaction that depends on another (they wrote
// the same row) sends its COMMIT only after the other's is done, so turns taken just before COMMIT
// are in an order that agrees with the database's; hooks wait for every earlier turn.
type sequencer struct {
	mu   sync.Mutex
	last chan struct{}
}

type turn struct {
	prev, mine chan struct{}
}

// take joins the line. Use cases without hooks stay out of it.
func (s *sequencer) take(hooks bool) turn {
	if !hooks {
		return turn{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := turn{prev: s.last, mine: make(chan struct{})}
	s.last = t.mine
	return t
}

func (t turn) wait() {
	if t.prev != nil {
		<-t.prev
	}
}

// done lets the next in line go, in line.
func (t turn) done() {
	if t.mine != nil {
		t.wait()
		close(t.mine)
	}
}
