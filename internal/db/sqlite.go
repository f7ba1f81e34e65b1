package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"parley/internal/fault"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

const (
	sqliteReaders = 4
	busyTimeout   = 5 * time.Second // how long SQLite itself waits for another process's lock
	// walLimit is the size in bytes to which a log that has grown is cut back.
	walLimit = 64 << 20
)

// sqliteDB is one file: a connection that writes, owned by the writer's goroutine, and a few that read.
type sqliteDB struct {
	pools   []*sql.DB
	writer  *writer
	mover   *checkpointer
	readers chan *sqliteConn
	now     func() time.Time
	stats   *recorder

	closing   chan struct{} // closed by close: no new work
	closeOnce sync.Once
	closeErr  error
}

func openSQLite(ctx context.Context, path string, cfg Config, stats *recorder) (*sqliteDB, error) {
	if err := createFile(path); err != nil {
		return nil, &fault.Error{Kind: fault.Unavailable, Op: "db.Open", Code: "database_io", Text: "the database file cannot be created", Cause: err}
	}
	if cfg.MaxReaders <= 0 {
		cfg.MaxReaders = sqliteReaders
	}
	s := &sqliteDB{now: cfg.Now, stats: stats, closing: make(chan struct{}), readers: make(chan *sqliteConn, cfg.MaxReaders)}
	writing, err := s.connect(ctx, path, 2, writerPragmas(cfg))
	if err != nil {
		return nil, openError(errors.Join(err, s.closePools()))
	}
	reading, err := s.connect(ctx, path, cfg.MaxReaders, []string{"query_only(1)", "cache_size(-4000)"})
	if err != nil {
		return nil, openError(errors.Join(err, s.closePools()))
	}
	for _, c := range reading {
		s.readers <- c
	}
	stats.gauge = func(st *Stats) {
		st.Queued = len(s.writer.queue)
		st.Available = cap(s.readers)
		st.InUse = cap(s.readers) - len(s.readers)
	}
	s.writer = newWriter(writing[0], cfg.Now, stats, s.closing)
	s.mover = &checkpointer{conn: writing[1], writer: s.writer, done: make(chan struct{})}
	go s.writer.loop()
	go s.mover.loop(s.closing)
	return s, nil
}

func openError(err error) error {
	return fault.Wrap(fault.Unavailable, "db.Open", classify(err))
}

// createFile makes the file before SQLite does, for its mode: the log and its index inherit it.
func createFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := os.Open(dir) // the new name must survive a power cut too
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writerPragmas(cfg Config) []string {
	synchronous := "synchronous(FULL)"
	if cfg.SyncOff {
		synchronous = "synchronous(OFF)"
	}
	pragmas := []string{
		"journal_mode(WAL)", synchronous, "cache_size(-16000)",
		"wal_autocheckpoint(0)", // the checkpointer does it
		fmt.Sprintf("journal_size_limit(%d)", walLimit),
	}
	if cfg.SecureDelete {
		pragmas = append(pragmas, "secure_delete(ON)")
	}
	return pragmas
}

// connect opens n connections that live until close.
func (s *sqliteDB) connect(ctx context.Context, path string, n int, pragmas []string) ([]*sqliteConn, error) {
	// temp_store=MEMORY keeps the savepoints' journal, and whatever a query sorts, off the disk.
	q := url.Values{"_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "foreign_keys(1)", "temp_store(MEMORY)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	pool, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	s.pools = append(s.pools, pool)
	pool.SetMaxOpenConns(n)
	var out []*sqliteConn
	for range n {
		c, err := pool.Conn(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, &sqliteConn{conn: c, stmts: map[string]*sql.Stmt{}})
	}
	return out, nil
}

func (s *sqliteDB) dialect() dialect { return dialectSQLite }

func (s *sqliteDB) do(ctx context.Context, op string, fn func(*Tx) error) error {
	return s.writer.do(ctx, op, fn)
}

func (s *sqliteDB) read(ctx context.Context, op string, fn func(*Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return ended(op, err)
	}
	var c *sqliteConn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return ended(op, ctx.Err())
	case <-s.closing:
		return closedError(op)
	}
	defer func() { s.readers <- c }()
	if _, err := c.exec(ctx, "BEGIN", nil); err != nil {
		return result(op, err)
	}
	tx := newTx(ctx, s.now(), c)
	defer func() { // also when fn panics
		ferr := tx.finish(nil)
		if _, rerr := c.exec(ctx, "ROLLBACK", nil); err == nil {
			err = result(op, errors.Join(ferr, rerr))
		}
		s.stats.read()
	}()
	return result(op, fn(tx))
}

func (s *sqliteDB) checkpoint(ctx context.Context) error {
	s.mover.mu.Lock()
	defer s.mover.mu.Unlock()
	return s.writer.exclusive(ctx, "db.Checkpoint", func(c *sqliteConn) error {
		_, _, err := c.checkpoint("TRUNCATE")
		return err
	})
}

func (s *sqliteDB) ping(ctx context.Context) error {
	return s.read(ctx, "db.Ping", func(tx *Tx) error {
		var one int
		return tx.QueryRow("SELECT 1").Scan(&one)
	})
}

func (s *sqliteDB) close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		<-s.writer.stopped
		<-s.mover.done
		for range cap(s.readers) {
			s.closeErr = errors.Join(s.closeErr, (<-s.readers).close())
		}
		s.closeErr = errors.Join(s.closeErr, s.mover.conn.close(), s.writer.conn.close(), s.closePools())
	})
	return s.closeErr
}

func (s *sqliteDB) closePools() (err error) {
	for _, p := range s.pools {
		err = errors.Join(err, p.Close())
	}
	return err
}

// maxStatements bounds the statements that a connection keeps prepared; queries built with lists of parameters
// would otherwise add up.
const maxStatements = 512

// sqliteConn is a connection with its prepared statements. One goroutine uses it at a time.
//
// Statements run without the caller's ctx: the driver would start a goroutine for each, and an interrupt
// would break the transaction that a use case shares with its neighbours. Tx looks at ctx between statements.
type sqliteConn struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func (c *sqliteConn) prepare(query string) (*sql.Stmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		for q, s := range c.stmts { // an arbitrary one
			delete(c.stmts, q)
			if err := s.Close(); err != nil {
				return nil, err
			}
			break
		}
	}
	s, err := c.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

func (c *sqliteConn) exec(_ context.Context, query string, args []any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, classify(err)
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, classify(err)
	}
	n, err := r.RowsAffected()
	return n, classify(err)
}

func (c *sqliteConn) query(_ context.Context, query string, args []any) (*sql.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, classify(err)
	}
	rows, err := s.QueryContext(context.Background(), args...)
	return rows, classify(err)
}

func (c *sqliteConn) close() (err error) {
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.conn.Close())
}
