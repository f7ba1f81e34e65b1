package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

var ctx = context.Background()

func TestAcknowledgedWorkSurvivesReopening(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		add(t, d, "1", "kept")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got := names(t, things(t, url)); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("after reopening: %v", got)
		}
		err := d.Do(ctx, "test.late", func(*db.Tx) error { return nil })
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("Do on a closed database: %v", err)
		}
	})
}

// The error of one use case undoes that one only, though its neighbours share the transaction; hooks run for
// the others alone, in the order of their commits.
func TestErrorsStayWithTheirUseCase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		refused := errors.New("refused")
		release := gate(t, d)
		var mu sync.Mutex
		var hooked, want []string
		var wg sync.WaitGroup
		for i := range 60 {
			name := fmt.Sprintf("n%02d", i)
			if i%3 != 0 {
				want = append(want, name)
			}
			wg.Go(func() {
				err := d.Do(ctx, "test.mixed", func(tx *db.Tx) error {
					tx.After(func() { mu.Lock(); hooked = append(hooked, name); mu.Unlock() })
					if err := insert(tx, name, name); err != nil {
						return err
					}
					switch {
					case i%6 == 0:
						return refused
					case i%6 == 3: // a broken statement
						return insert(tx, name+"x", name)
					}
					return nil
				})
				switch {
				case i%6 == 0 && !errors.Is(err, refused), i%6 == 3 && !db.IsUnique(err), i%3 != 0 && err != nil:
					t.Errorf("use case %d: %v", i, err)
				}
			})
		}
		release()
		wg.Wait()
		if got := names(t, d); !slices.Equal(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
		slices.Sort(hooked)
		if !slices.Equal(hooked, want) {
			t.Errorf("hooks ran for %v, want %v", hooked, want)
		}
		if s := d.Stats(); s.Failed != 20 || s.UseCases < 40 || s.Commits == 0 || s.Batch.Sum != float64(s.UseCases) {
			t.Errorf("stats %+v", s)
		}
	})
}

// Hooks of use cases that write the same row run in the order in which the row's number grew.
func TestHooksFollowCommitOrder(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		add(t, d, "1", "counter")
		var seen []int64 // unguarded: hooks never overlap, and the race detector would say so
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 15 {
					if err := d.Do(ctx, "test.count", func(tx *db.Tx) error {
						var n int64
						tx.After(func() { seen = append(seen, n) })
						return tx.QueryRow("UPDATE thing SET size = size + 1 WHERE id = $1 RETURNING size", "1").Scan(&n)
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if len(seen) != 300 || !slices.IsSorted(seen) {
			t.Errorf("hooks saw %v", seen)
		}
	})
}

func TestContextEndsWhileQueued(t *testing.T) {
	d := things(t, testdb.SQLite(t))
	release := gate(t, d)
	short, cancel := context.WithCancel(ctx)
	ran := false
	left := make(chan error)
	go func() {
		left <- d.Do(short, "test.impatient", func(*db.Tx) error { ran = true; return nil })
	}()
	for d.Stats().Queued == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("Do returned %v", err)
	}
	release()
	add(t, d, "1", "next")
	if ran {
		t.Error("the closure of a caller who left was run")
	}
}

func TestContextEnded(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		over, cancel := context.WithCancel(ctx)
		cancel()
		for name, call := range map[string]func(context.Context, string, func(*db.Tx) error) error{"Do": d.Do, "Read": d.Read} {
			err := call(over, "test.over", func(*db.Tx) error { t.Error(name + " ran the closure"); return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// A caller who leaves between two statements: the work is undone.
		mid, cancel := context.WithCancel(ctx)
		err := d.Do(mid, "test.mid", func(tx *db.Tx) error {
			if err := insert(tx, "1", "a"); err != nil {
				return err
			}
			cancel()
			return insert(tx, "2", "b")
		})
		if !errors.Is(err, context.Canceled) || len(names(t, d)) != 0 {
			t.Errorf("cancelled between statements: %v, stored %v", err, names(t, d))
		}
	})
}

func TestOneOfManyEqualInsertsWins(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				switch err := d.Do(ctx, "test.race", func(tx *db.Tx) error { return insert(tx, db.NewID(), "same") }); {
				case err == nil:
					won.Add(1)
				case db.IsUnique(err):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 39 {
			t.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
	})
}

// After a failed statement nothing more runs, on SQLite as on PostgreSQL, and swallowing the error does not commit.
func TestFailedStatementEndsTheUseCase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		err := d.Do(ctx, "test.swallow", func(tx *db.Tx) error {
			if err := insert(tx, "1", "a"); err != nil {
				return err
			}
			insert(tx, "2", "a") //nolint:errcheck // the point
			if err := insert(tx, "3", "c"); err == nil {
				t.Error("a statement ran after a failed one")
			}
			return nil
		})
		if !db.IsUnique(err) || len(names(t, d)) != 0 {
			t.Errorf("Do: %v, stored %v", err, names(t, d))
		}
		err = d.Do(ctx, "test.foreign", func(tx *db.Tx) error {
			_, err := tx.Exec("INSERT INTO part (thing, seq) VALUES ($1, 1)", "absent")
			return err
		})
		if err == nil || db.IsUnique(err) || !fault.Is(err, fault.Internal) {
			t.Errorf("a part of nothing: %v", err)
		}
	})
}

func TestNoRowsIsNoFailure(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		if err := d.Do(ctx, "test.absent", func(tx *db.Tx) error {
			var name string
			if err := tx.QueryRow("SELECT name FROM thing WHERE id = $1", "x").Scan(&name); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("Scan: %v", err)
			}
			return insert(tx, "1", "a")
		}); err != nil {
			t.Error(err)
		}
		err := d.Read(ctx, "test.absent", func(tx *db.Tx) error {
			return tx.QueryRow("SELECT name FROM thing WHERE id = $1", "x").Scan(new(string))
		})
		if !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("Read hides sql.ErrNoRows: %v", err)
		}
	})
}

func TestRowsMustBeClosedBeforeTheNextStatement(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		add(t, d, "1", "a")
		add(t, d, "2", "b")
		err := d.Do(ctx, "test.nested", func(tx *db.Tx) error {
			rows, err := tx.Query("SELECT id FROM thing")
			if err != nil {
				return err
			}
			rows.Next()
			return insert(tx, "3", "c") // rows are open
		})
		if err == nil || !strings.Contains(err.Error(), "close the rows") {
			t.Errorf("Do: %v", err)
		}
		for range 20 { // what was left open is closed, and the connection is usable
			if got := names(t, d); len(got) != 2 {
				t.Fatalf("stored %v", got)
			}
		}
	})
}

func TestPanicsReachTheCaller(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		caught := func(run func()) (v any) {
			defer func() { v = recover() }()
			run()
			return nil
		}
		if v := caught(func() {
			d.Do(ctx, "test.panic", func(tx *db.Tx) error { //nolint:errcheck // panics
				if err := insert(tx, "1", "a"); err != nil {
					t.Error(err)
				}
				panic("fn")
			})
		}); v != "fn" {
			t.Errorf("caught %v", v)
		}
		if v := caught(func() {
			d.Do(ctx, "test.hook", func(tx *db.Tx) error { //nolint:errcheck // panics
				tx.After(func() { panic("hook") })
				return insert(tx, "2", "b")
			})
		}); v != "hook" {
			t.Errorf("caught %v", v)
		}
		if v := caught(func() {
			d.Read(ctx, "test.panic", func(*db.Tx) error { panic("read") }) //nolint:errcheck // panics
		}); v != "read" {
			t.Errorf("caught %v", v)
		}
		if got := names(t, d); !slices.Equal(got, []string{"b"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// A closure that ends its goroutine (t.FailNow does) ends its caller, not the writer.
func TestGoexitEndsTheCallerOnly(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		release := gate(t, d)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				returned := false
				defer func() {
					if i == 5 && returned {
						t.Error("Do returned after Goexit")
					}
				}()
				err := d.Do(ctx, "test.goexit", func(tx *db.Tx) error {
					if err := insert(tx, fmt.Sprint(i), fmt.Sprint(i)); err != nil {
						return err
					}
					if i == 5 {
						runtime.Goexit()
					}
					return nil
				})
				returned = true
				if err != nil {
					t.Error(err)
				}
			})
		}
		release()
		wg.Wait()
		if got := names(t, d); len(got) != 9 || slices.Contains(got, "5") {
			t.Errorf("stored %v", got)
		}
	})
}

func TestReadIsAReadOnlySnapshot(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		add(t, d, "1", "a")
		count := func(tx *db.Tx) (n int) {
			if err := tx.QueryRow("SELECT COUNT(*) FROM thing").Scan(&n); err != nil {
				t.Error(err)
			}
			return n
		}
		if err := d.Read(ctx, "test.snapshot", func(tx *db.Tx) error {
			before := count(tx)
			add(t, d, "2", "b")
			if after := count(tx); before != 1 || after != 1 {
				t.Errorf("a snapshot saw %d, then %d things", before, after)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		err := d.Read(ctx, "test.write", func(tx *db.Tx) error { return insert(tx, "3", "c") })
		if err == nil || len(names(t, d)) != 2 {
			t.Errorf("Read wrote: %v", err)
		}
	})
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		type row struct {
			size int64
			open bool
			null bool
			body []byte
		}
		want := map[string]row{
			"a": {-1 << 63, true, false, []byte{0, 1, 255}},
			"b": {1<<63 - 1, false, false, []byte{}},
			"ß": {0, true, true, nil},
		}
		got := map[string]row{}
		if err := d.Do(ctx, "test.values", func(tx *db.Tx) error {
			for name, r := range want {
				if _, err := tx.Exec("INSERT INTO thing (id, name, size, open, body) VALUES ($1, $1, $2, $3, $4)", name, r.size, r.open, r.body); err != nil {
					return err
				}
			}
			n, err := tx.Exec("UPDATE thing SET size = size WHERE open = $1", true)
			if n != 2 {
				t.Errorf("%d rows changed, want 2", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.Read(ctx, "test.values", func(tx *db.Tx) error {
			rows, err := tx.Query("SELECT name, size, open, body IS NULL, body FROM thing WHERE open OR NOT open")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var name string
				var r row
				if err := rows.Scan(&name, &r.size, &r.open, &r.null, &r.body); err != nil {
					return err
				}
				if !r.null && r.body == nil {
					r.body = []byte{} // SQLite's driver gives an empty value as nil
				}
				got[name] = r
			}
			return rows.Err()
		}); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Errors name columns and codes, never what was stored.
func TestErrorsCarryNoValues(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		const secret = "anna@example.org"
		add(t, d, "1", secret)
		for name, fn := range map[string]func(*db.Tx) error{
			"unique": func(tx *db.Tx) error { return insert(tx, "2", secret) },
			"type": func(tx *db.Tx) error {
				_, err := tx.Exec("INSERT INTO thing (id, name, size) VALUES ('3', 'x', $1)", secret)
				return err
			},
			"cast": func(tx *db.Tx) error {
				_, err := tx.Exec("UPDATE thing SET size = CAST(name AS BIGINT) / 0, name = NULL")
				return err
			},
			"scan": func(tx *db.Tx) error { return tx.QueryRow("SELECT name FROM thing").Scan(new(int64)) },
			"argument": func(tx *db.Tx) error {
				_, err := tx.Exec("UPDATE thing SET size = $1", struct{ s string }{secret})
				return err
			},
		} {
			err := d.Do(ctx, "test."+name, fn)
			if err == nil || strings.Contains(err.Error(), "anna") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestNowIsFixedAndWholeMicroseconds(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		at := time.Date(2031, 5, 4, 3, 2, 1, 123456789, time.FixedZone("", 3600))
		d := open(t, db.Config{URL: url, Now: func() time.Time { at = at.Add(time.Second); return at }})
		if err := d.Do(ctx, "test.now", func(tx *db.Tx) error {
			n := tx.Now()
			if !n.Equal(tx.Now()) || n.Location() != time.UTC || !n.Equal(db.FromMicros(db.Micros(n))) || n.Nanosecond() != 123456000 {
				t.Errorf("now is %v", n)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestIDsAreOrderedAndLowerCase(t *testing.T) {
	last := ""
	for range 1000 {
		id := db.NewID()
		if id <= last || strings.ToLower(id) != id || len(id) != 36 || id[14] != '7' {
			t.Fatalf("%q after %q", id, last)
		}
		last = id
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := t.TempDir() + "/plain"
	if err := os.WriteFile(file, []byte(strings.Repeat("this is no database", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url  string
		kind fault.Kind
	}{
		{"", fault.Invalid},
		{"mysql://u:s3cret@host/db", fault.Invalid},
		{"sqlite://relative.db", fault.Invalid},
		{"sqlite:///\x7fs3cret", fault.Invalid},
		{"sqlite://" + file, fault.Unavailable},
		{"sqlite://" + file + "/below.db", fault.Unavailable},
		{"postgres://u:s3cret@host:port/db", fault.Invalid},
		{"postgres://u:s3cret@127.0.0.1:1/db", fault.Unavailable},
		{strings.Replace(testdb.Postgres(t), "@", "s3cret@", 1), fault.Unavailable},
	} {
		_, err := db.Open(ctx, db.Config{URL: c.url, Dial: dial})
		if !fault.Is(err, c.kind) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", c.url, err)
		}
	}
	if _, err := db.Open(ctx, db.Config{URL: "postgres://u@127.0.0.1/db"}); err == nil {
		t.Error("PostgreSQL opened without a dialer")
	}
}

func TestSQLiteFilesArePrivateAndSynced(t *testing.T) {
	url := testdb.SQLite(t)
	d := things(t, url)
	add(t, d, "1", "a")
	path := strings.TrimPrefix(url, "sqlite://")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		i, err := os.Stat(path + suffix)
		if err != nil || i.Mode() != fs.FileMode(0o600) {
			t.Errorf("%s: %v %v", suffix, i, err)
		}
	}
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "temp_store": "2"} {
		var got string
		if err := d.Do(ctx, "test.pragma", func(tx *db.Tx) error { return tx.QueryRow("PRAGMA " + pragma).Scan(&got) }); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
		}
	}
}

// What is deleted from a store with SecureDelete is in none of its files after a checkpoint.
func TestSecureDelete(t *testing.T) {
	url := testdb.SQLite(t)
	d := open(t, db.Config{URL: url, SecureDelete: true})
	if err := d.Migrate(ctx, migrations("thing", thingSchema)); err != nil {
		t.Fatal(err)
	}
	const canary = "canary-7f3a99"
	add(t, d, "1", canary)
	add(t, d, "2", "other")
	contains := func() bool {
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(strings.TrimPrefix(url, "sqlite://") + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), canary) {
				return true
			}
		}
		return false
	}
	if !contains() {
		t.Fatal("the canary was never there")
	}
	if err := d.Do(ctx, "test.delete", func(tx *db.Tx) error {
		_, err := tx.Exec("DELETE FROM thing WHERE id = '1'")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if contains() {
		t.Error("deleted bytes are still in the files")
	}
}
