// Package db opens Parley's database, migrates it and runs use cases in it. It is the only code that knows
// whether the engine is SQLite or PostgreSQL: everything above writes one SQL text with $1 parameters.
//
// A use case is a closure given to [DB.Do]. On SQLite many of them share one physical transaction, each in its own
// savepoint (group commit); on PostgreSQL each is a transaction. Either way Do returns after the work is on
// disk, and hooks set with [Tx.After] run after that, in commit order. The package holds no domain's SQL, seals nothing, and
// never dials by itself: connections to PostgreSQL go through the dialer in [Config].
package db

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"

	"parley/internal/fault"
)

// Engine is the kind of database behind a DB.
type Engine uint8

// The engines.
const (
	SQLite Engine = iota + 1
	Postgres
)

func (e Engine) String() string {
	switch e {
	case SQLite:
		return "sqlite"
	case Postgres:
		return "postgres"
	}
	return "unknown"
}

// Config says what to open.
type Config struct {
	URL          string                                                            // "sqlite:///abs/path.db" or "postgres://…"
	Schema       string                                                            // PostgreSQL schema (search_path), created if absent; "" is the server's default. Ignored by SQLite
	Dial         func(ctx context.Context, network, addr string) (net.Conn, error) // reaches PostgreSQL, by the host name in the URL; required for it
	SecureDelete bool                                                              // SQLite overwrites deleted rows with zeros (the key store)
	MaxReaders   int                                                               // SQLite: concurrent readers, 4 if 0. PostgreSQL: all connections, 16 if 0
	SyncOff      bool                                                              // SQLite synchronous=OFF: only for the test which shows that the durability test can fail
	Now          func() time.Time                                                  // the clock behind Tx.Now; time.Now if nil
}

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	engine Engine
	be     backend
	stats  *recorder
}

// backend is what an engine has to do. fn never sees the engine's own types.
type backend interface {
	do(ctx context.Context, op string, fn func(*Tx) error) error
	read(ctx context.Context, op string, fn func(*Tx) error) error
	dialect() dialect
	checkpoint(ctx context.Context) error
	ping(ctx context.Context) error
	close() error
}

// Open opens the database, creating a SQLite file (mode 0600, and its folder) or a PostgreSQL schema that does not exist.
// A server that is away, or a file that cannot be opened, is a fault of kind Unavailable; a URL that
// cannot be read is Invalid. Neither repeats the password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	scheme, _, _ := strings.Cut(cfg.URL, ":")
	d := &DB{stats: newRecorder()}
	var err error
	switch scheme {
	case "sqlite":
		u, perr := url.Parse(cfg.URL)
		if perr != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return nil, fault.Bad("db.Open", "database", "database_url", "a SQLite URL has the form sqlite:///absolute/path.db")
		}
		d.engine = SQLite
		d.be, err = openSQLite(ctx, u.Path, cfg, d.stats)
	case "postgres", "postgresql":
		d.engine = Postgres
		d.be, err = openPostgres(ctx, cfg, d.stats)
	default:
		return nil, fault.Bad("db.Open", "database", "database_url", "the database URL must begin with sqlite:// or postgres://")
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Do runs fn as one use case and returns once its changes are durable. op names it in errors ("chat.Send").
//
// An error from fn undoes everything that fn did, and only that. fn may run more than once (busy, serialisation failure, a
// neighbour that broke the shared transaction), so it must only read and write tx: no I/O, no cryptography, no
// call of Do or Read (it would wait for itself). After a statement of tx has failed every further one fails too, on both
// engines: to expect a conflict, say ON CONFLICT.
//
// When ctx ends before fn's turn, fn is not run. Once it runs, Do waits for the outcome. A panic in fn undoes its work
// and is raised again in the caller. Errors: faults from fn as they are; Full when no disk space is left;
// Unavailable when the database is away, busy for too long, or ctx ended; Internal otherwise.
func (d *DB) Do(ctx context.Context, op string, fn func(*Tx) error) error {
	return d.be.do(ctx, op, fn)
}

// Read runs fn on a read-only snapshot. A statement that writes fails. Errors are as for Do.
func (d *DB) Read(ctx context.Context, op string, fn func(*Tx) error) error {
	return d.be.read(ctx, op, fn)
}

// Engine returns the engine, for tests and for what an operator is told; no SQL should depend on it.
func (d *DB) Engine() Engine { return d.engine }

// Checkpoint moves all of SQLite's write-ahead log into the database file and truncates the log, so that deleted bytes are
// in neither. It does nothing on PostgreSQL. Unavailable (code "busy") when a reader held on for too long.
func (d *DB) Checkpoint(ctx context.Context) error { return d.be.checkpoint(ctx) }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.be.ping(ctx) }

// Close waits for running use cases and closes the database. Later calls fail with Unavailable.
func (d *DB) Close() error { return d.be.close() }
