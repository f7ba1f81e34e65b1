package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

var dial = (&net.Dialer{}).DialContext

// A use case that finds the disk full breaks the transaction that it shares; its neighbours run again and are kept.
func TestFullDiskOnSQLite(t *testing.T) {
	d := things(t, testdb.SQLite(t))
	limit := func(pages int) {
		if err := d.Do(ctx, "test.limit", func(tx *db.Tx) error {
			return tx.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(new(int))
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(20)
	release := gate(t, d)
	var hooks atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := d.Do(ctx, "test.fill", func(tx *db.Tx) error {
				tx.After(func() { hooks.Add(1) })
				body := []byte("small")
				if i%10 == 5 {
					body = make([]byte, 1<<20)
				}
				_, err := tx.Exec("INSERT INTO thing (id, name, body) VALUES ($1, $1, $2)", fmt.Sprint(i), body)
				return err
			})
			if full := i%10 == 5; full != fault.Is(err, fault.Full) || !full && err != nil {
				t.Errorf("use case %d: %v", i, err)
			}
		})
	}
	release()
	wg.Wait()
	if got := names(t, d); len(got) != 27 || hooks.Load() != 27 {
		t.Errorf("%d stored, %d hooks, want 27 (reads go on)", len(got), hooks.Load())
	}
	limit(1 << 20)
	add(t, d, "again", "there is space again")
}

// Another process that holds the lock makes callers wait, then tells them so; when it lets go all is well.
func TestBusySQLite(t *testing.T) {
	t.Parallel() // waits for SQLite's own patience to end
	url := testdb.SQLite(t)
	d := things(t, url)
	other, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite://"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	patient := make(chan error)
	go func() {
		patient <- d.Do(ctx, "test.patient", func(tx *db.Tx) error { return insert(tx, "1", "a") })
	}()
	if err := d.Do(short, "test.short", func(tx *db.Tx) error { return insert(tx, "2", "b") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the impatient caller got %v", err)
	}
	if err := <-patient; !fault.Is(err, fault.Unavailable) || fault.Of(err).Code != "busy" {
		t.Errorf("the patient caller got %v", err)
	}
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	add(t, d, "3", "c")
	if got := names(t, d); len(got) != 1 {
		t.Errorf("stored %v", got)
	}
}

// Many callers share few transactions.
func TestGroupCommit(t *testing.T) {
	d := things(t, testdb.SQLite(t))
	release := gate(t, d)
	before := d.Stats().Commits
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { add(t, d, fmt.Sprint(i), fmt.Sprint(i)) })
	}
	for d.Stats().Queued < 200 {
		time.Sleep(time.Millisecond) // no event tells how many callers have arrived
	}
	release()
	wg.Wait()
	if n := d.Stats().Commits - before; n > 3 {
		t.Errorf("200 queued use cases took %d commits", n)
	}
}

func TestStatementsBuiltByTheHundred(t *testing.T) {
	d := things(t, testdb.SQLite(t))
	for i := range 1200 {
		if err := d.Read(ctx, "test.many", func(tx *db.Tx) error {
			var n int
			return tx.QueryRow(fmt.Sprintf("SELECT COUNT(*) + %d FROM thing", i)).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// raise makes PostgreSQL fail with a code, as a full disk or a conflict would.
func raise(tx *db.Tx, code string) error {
	_, err := tx.Exec("DO $$ BEGIN RAISE EXCEPTION 'about anna@example.org' USING ERRCODE = '" + code + "'; END $$")
	return err
}

func TestPostgresFaults(t *testing.T) {
	d := things(t, testdb.Postgres(t))
	for code, kind := range map[string]fault.Kind{"53100": fault.Full, "57P03": fault.Unavailable, "53300": fault.Unavailable, "P0001": fault.Internal} {
		if err := d.Do(ctx, "test.raise", func(tx *db.Tx) error { return raise(tx, code) }); !fault.Is(err, kind) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestPostgresRunsAgainAfterConflicts(t *testing.T) {
	d := things(t, testdb.Postgres(t))
	for _, code := range []string{"40001", "40P01"} {
		runs, hooks := 0, 0
		if err := d.Do(ctx, "test.again", func(tx *db.Tx) error {
			tx.After(func() { hooks++ })
			if err := insert(tx, code, code); err != nil {
				return err
			}
			if runs++; runs < 4 {
				// A domain may give the error its own words; the cause decides.
				return fault.Wrap(fault.Internal, "test.inner", raise(tx, code))
			}
			return nil
		}); err != nil || runs != 4 || hooks != 1 {
			t.Errorf("%s: %v after %d runs, %d hooks", code, err, runs, hooks)
		}
	}
	if got := names(t, d); len(got) != 2 {
		t.Errorf("stored %v", got)
	}
	runs := 0
	err := d.Do(ctx, "test.never", func(tx *db.Tx) error { runs++; return raise(tx, "40001") })
	if !fault.Is(err, fault.Unavailable) || runs < 3 {
		t.Errorf("%v after %d runs", err, runs)
	}
}

// Two use cases that take two rows in opposite order: the server stops one, and it runs again.
func TestPostgresDeadlock(t *testing.T) {
	d := things(t, testdb.Postgres(t))
	add(t, d, "1", "a")
	add(t, d, "2", "b")
	var met sync.WaitGroup
	met.Add(2)
	var wg sync.WaitGroup
	for _, order := range [][2]string{{"1", "2"}, {"2", "1"}} {
		wg.Go(func() {
			first := true
			if err := d.Do(ctx, "test.deadlock", func(tx *db.Tx) error {
				for i, id := range order {
					if _, err := tx.Exec("UPDATE thing SET size = size + 1 WHERE id = $1", id); err != nil {
						return err
					}
					if i == 0 && first {
						first = false
						met.Done()
						met.Wait()
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := d.Read(ctx, "test.sum", func(tx *db.Tx) error { return tx.QueryRow("SELECT SUM(size)::bigint FROM thing").Scan(&sum) }); err != nil || sum != 4 {
		t.Errorf("sum %d, %v", sum, err)
	}
	if d.Stats().Retries == 0 {
		t.Error("no use case ran again: the test met no deadlock")
	}
}

// Connections that the server cut are replaced, also when it happens in the middle of a use case.
func TestPostgresConnectionsLost(t *testing.T) {
	url := testdb.Postgres(t)
	d := things(t, url)
	other := open(t, db.Config{URL: url})
	cut := func() {
		if err := other.Do(ctx, "test.cut", func(tx *db.Tx) error {
			_, err := tx.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	add(t, d, "1", "a")
	cut()
	add(t, d, "2", "b")
	if got := names(t, d); len(got) != 2 {
		t.Errorf("stored %v", got)
	}
	cut()
	names(t, d)
	runs := 0
	if err := d.Do(ctx, "test.mid", func(tx *db.Tx) error {
		if runs++; runs == 1 {
			cut()
		}
		return insert(tx, "3", "c")
	}); err != nil || runs != 2 {
		t.Errorf("%v after %d runs", err, runs)
	}
}

func TestPostgresAway(t *testing.T) {
	var down atomic.Bool
	d, err := db.Open(ctx, db.Config{URL: testdb.Postgres(t), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if down.Load() {
			return nil, errors.New("refused by the test")
		}
		c, err := dial(ctx, network, addr)
		return cuttable{c, &down}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	down.Store(true)
	if err := d.Do(ctx, "test.away", func(tx *db.Tx) error { return nil }); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Do: %v", err)
	}
	if err := d.Ping(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Ping: %v", err)
	}
	down.Store(false)
	if err := d.Ping(ctx); err != nil {
		t.Errorf("Ping after the server came back: %v", err)
	}
}

// cuttable is a connection that fails while down is set.
type cuttable struct {
	net.Conn
	down *atomic.Bool
}

func (c cuttable) Write(b []byte) (int, error) {
	if c.down.Load() {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// The dialer sees the host name that the operator wrote, not an address that somebody else resolved.
func TestPostgresDialsByName(t *testing.T) {
	var asked string
	_, err := db.Open(ctx, db.Config{URL: "postgres://u:s3cret@db.example.org:6543/x?sslmode=disable", Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		asked = addr
		return nil, errors.New("not allowed")
	}})
	if asked != "db.example.org:6543" || !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("asked for %q: %v", asked, err)
	}
}

func TestPostgresSchemas(t *testing.T) {
	url := testdb.Postgres(t)
	var wg sync.WaitGroup
	for range 4 { // several servers that start at once
		wg.Go(func() {
			d := open(t, db.Config{URL: url, Schema: "the \"keys\""})
			if err := d.Migrate(ctx, migrations("thing", thingSchema)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	plain := things(t, url)
	add(t, plain, "1", "plain")
	keys := open(t, db.Config{URL: url, Schema: "the \"keys\""})
	if got := names(t, keys); len(got) != 0 {
		t.Errorf("the schemas share tables: %v", got)
	}
	if live, err := keys.LiveSchema(ctx); err != nil || len(live) != 3 {
		t.Errorf("live schema %v, %v", live, err)
	}
}

// The log is moved into the file beside the writer, and begins anew instead of growing for ever.
func TestLogIsMoved(t *testing.T) {
	url := testdb.SQLite(t)
	d := things(t, url)
	size := func(suffix string) int64 {
		i, err := os.Stat(strings.TrimPrefix(url, "sqlite://") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return i.Size()
	}
	var written int64
	body := make([]byte, 1<<20)
	deadline := time.Now().Add(time.Minute)
	for written < 40<<20 || size("") < written/2 || size("-wal") > written*3/4 {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes written: %d in the file, %d in the log", written, size(""), size("-wal"))
		}
		if err := d.Do(ctx, "test.grow", func(tx *db.Tx) error {
			_, err := tx.Exec("INSERT INTO thing (id, name, body) VALUES ($1, $1, $2)", db.NewID(), body)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		written += int64(len(body))
	}
}
