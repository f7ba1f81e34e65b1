package bus_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

func enqueue(t testing.TB, d *db.DB, b *bus.Bus, kind string, args any, opts ...bus.JobOption) {
	t.Helper()
	if err := d.Do(ctx, "test.enqueue", func(tx *db.Tx) error { return b.Enqueue(tx, kind, args, opts...) }); err != nil {
		t.Fatal(err)
	}
}

// rows returns how many jobs are in the table.
func rows(t testing.TB, d *db.DB) (n int) {
	t.Helper()
	if err := d.Read(ctx, "test.rows", func(tx *db.Tx) error {
		return tx.QueryRow("SELECT COUNT(*) FROM bus_job").Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestJobsRunAfterTheCommit(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		ran := make(chan string, 100)
		b, stop := start(t, bus.Options{DB: d}, func(b *bus.Bus) {
			b.Handle("note", func(ctx context.Context, j bus.Job) error {
				var id string
				if err := j.Decode(&id); err != nil {
					return err
				}
				if a := actor.From(ctx); a.Kind != actor.System || a.ID != "note" || j.Attempt != 1 || j.Created.IsZero() {
					t.Errorf("actor %+v, job %+v", a, j)
				}
				ran <- id
				return nil
			})
		})
		if err := d.Do(ctx, "test.undone", func(tx *db.Tx) error {
			if err := b.Enqueue(tx, "note", "undone"); err != nil {
				return err
			}
			return errors.New("undone")
		}); err == nil {
			t.Fatal("no error")
		}
		if err := d.Do(ctx, "test.many", func(tx *db.Tx) error {
			for _, id := range ids(40) {
				if err := b.Enqueue(tx, "note", id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := gather(t, ran, 40); !slices.Equal(got, ids(40)) {
			t.Errorf("ran %v", got)
		}
		stop()
		if n := rows(t, d); n != 0 || b.Stats().JobsDone != 40 {
			t.Errorf("%d jobs are left, %+v", n, b.Stats())
		}
		err := d.Do(ctx, "test.unknown", func(tx *db.Tx) error { return b.Enqueue(tx, "unknown", nil) })
		if err == nil {
			t.Error("a job that nothing handles was accepted")
		}
	})
}

func TestJobsAreTriedAgain(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		d := open(t, url)
		type run struct {
			attempt int
			at      time.Time
		}
		runs := make(chan run, 10)
		b, stop := start(t, bus.Options{DB: d}, func(b *bus.Bus) {
			b.Handle("flaky", func(_ context.Context, j bus.Job) error {
				runs <- run{j.Attempt, time.Now()}
				switch j.Attempt {
				case 1:
					return fault.New(fault.Unavailable, "test", "carrier_away", "about anna@example.org")
				case 2:
					panic("anna@example.org")
				}
				return nil
			})
			b.Handle("hopeless", func(context.Context, bus.Job) error {
				runs <- run{}
				return bus.Discard(errors.New("no such thing"))
			})
		})
		enqueue(t, d, b, "flaky", nil)
		first := next(t, runs)
		var last string
		for last == "" { // until the outcome is recorded
			if err := d.Read(ctx, "test.error", func(tx *db.Tx) error {
				return tx.QueryRow("SELECT COALESCE(last_error, '') FROM bus_job").Scan(&last)
			}); err != nil {
				t.Fatal(err)
			}
		}
		if last != "carrier_away" {
			t.Errorf("recorded %q", last)
		}
		second, third := next(t, runs), next(t, runs)
		if first.attempt != 1 || second.attempt != 2 || third.attempt != 3 {
			t.Errorf("attempts %v %v %v", first, second, third)
		}
		if a, b := second.at.Sub(first.at), third.at.Sub(second.at); a < time.Second || b < 2*time.Second {
			t.Errorf("tried again after %v and %v", a, b)
		}
		enqueue(t, d, b, "hopeless", nil)
		next(t, runs)
		stop()
		if n := rows(t, d); n != 0 || b.Stats().JobsFailed != 3 {
			t.Errorf("%d jobs left, %+v", n, b.Stats())
		}
	})
}

func TestRunAt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		ran := make(chan time.Time, 10)
		b, _ := start(t, bus.Options{DB: d}, func(b *bus.Bus) {
			b.Handle("later", func(context.Context, bus.Job) error { ran <- time.Now(); return nil })
		})
		at := time.Now().Add(300 * time.Millisecond)
		enqueue(t, d, b, "later", nil, bus.RunAt(at))
		if got := next(t, ran); got.Before(at) || got.After(at.Add(5*time.Second)) {
			t.Errorf("ran at %v, wanted %v", got, at)
		}
	})
}

// Requests with one key join while they wait; one that comes while the job runs makes it run once more.
func TestUnique(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		began, finish := make(chan string, 10), make(chan struct{})
		b, stop := start(t, bus.Options{DB: d}, func(b *bus.Bus) {
			b.Handle("sweep", func(_ context.Context, j bus.Job) error {
				began <- string(j.Args)
				<-finish
				return nil
			})
		})
		far := bus.RunAt(time.Now().Add(time.Hour))
		for i := range 5 {
			enqueue(t, d, b, "sweep", i, bus.Unique("k"), far)
		}
		enqueue(t, d, b, "sweep", 9, bus.Unique("other"), far)
		if n := rows(t, d); n != 2 {
			t.Errorf("%d jobs, want 2", n)
		}
		enqueue(t, d, b, "sweep", 5, bus.Unique("k")) // now, after all
		if got := next(t, began); got != "5" {
			t.Errorf("began with %s", got)
		}
		enqueue(t, d, b, "sweep", 6, bus.Unique("k"))
		enqueue(t, d, b, "sweep", 7, bus.Unique("k"))
		finish <- struct{}{}
		if got := next(t, began); got != "7" {
			t.Errorf("began again with %s", got)
		}
		finish <- struct{}{}
		stop()
		if n := rows(t, d); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
	})
}

// Several processes share the work, and no job is done by two of them.
func TestProcessesShareJobs(t *testing.T) {
	url, rurl := testdb.Postgres(t), testdb.Redis(t)
	ran := make(chan string, 1000)
	var per [3]atomic.Int32
	var first *bus.Bus
	var d *db.DB
	for i := range 3 {
		d = open(t, url)
		first, _ = start(t, bus.Options{DB: d, Redis: client(t, rurl), Poll: time.Minute}, func(b *bus.Bus) {
			b.Handle("share", func(_ context.Context, j bus.Job) error {
				per[i].Add(1)
				time.Sleep(time.Millisecond) // work
				ran <- strings.Trim(string(j.Args), `"`)
				return nil
			})
		})
	}
	for _, id := range ids(200) {
		enqueue(t, d, first, "share", id)
	}
	if got := gather(t, ran, 200); !slices.Equal(got, ids(200)) {
		t.Errorf("ran %v", got)
	}
	for i := range per {
		if per[i].Load() == 0 {
			t.Errorf("process %d did nothing", i)
		}
	}
}

// A periodic job runs once per interval, however many processes there are.
func TestEvery(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		const every = 400 * time.Millisecond
		ran := make(chan time.Time, 100)
		n := 3
		if strings.HasPrefix(url, "sqlite") {
			n = 1
		}
		for range n {
			start(t, bus.Options{DB: open(t, url), Poll: 50 * time.Millisecond}, func(b *bus.Bus) {
				b.Handle("tick", func(context.Context, bus.Job) error { ran <- time.Now(); return nil })
				b.Every("tick", every)
			})
		}
		seen := map[int64]int{}
		next(t, ran) // the very first, in the middle of an interval
		for range 4 {
			seen[next(t, ran).UnixMicro()/every.Microseconds()]++
		}
		for interval, times := range seen {
			if times != 1 {
				t.Errorf("interval %d: %d runs", interval, times)
			}
		}
	})
}

// A long job keeps its lease; one whose process is gone is taken over.
func TestLeases(t *testing.T) {
	url := testdb.Postgres(t)
	d := open(t, url)
	opt := bus.Options{DB: d, Lease: 600 * time.Millisecond, Poll: 50 * time.Millisecond}
	var runs atomic.Int32
	done := make(chan struct{}, 10)
	for range 2 {
		b, _ := start(t, opt, func(b *bus.Bus) {
			b.Handle("long", func(ctx context.Context, _ bus.Job) error {
				runs.Add(1)
				select {
				case <-time.After(2 * time.Second): // several leases
				case <-ctx.Done():
					return ctx.Err()
				}
				done <- struct{}{}
				return nil
			})
		})
		enqueue(t, d, b, "long", nil, bus.Unique("one"))
	}
	next(t, done)
	// The second request may have come while the job ran, and then it runs once more.
	if n := runs.Load(); n > 2 {
		t.Errorf("the job ran %d times", n)
	}
}

// When the process ends, a job that does not finish in time goes back untouched.
func TestStopGivesJobsBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		began := make(chan int, 10)
		handle := func(stubborn bool) func(*bus.Bus) {
			return func(b *bus.Bus) {
				b.Handle("stubborn", func(ctx context.Context, j bus.Job) error {
					began <- j.Attempt
					if stubborn {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
			}
		}
		b, stop := start(t, bus.Options{DB: d, Grace: 10 * time.Millisecond}, handle(true))
		enqueue(t, d, b, "stubborn", nil)
		next(t, began)
		stop()
		start(t, bus.Options{DB: d}, handle(false))
		if attempt := next(t, began); attempt != 1 {
			t.Errorf("attempt %d after the restart", attempt)
		}
	})
}

// child names the environment variable with the database of a process that takes a job, says so, and never finishes it.
const child = "PARLEY_BUS_TEST_CHILD"

func TestMain(m *testing.M) {
	url := os.Getenv(child)
	if url == "" {
		os.Exit(m.Run())
	}
	if err := takeJob(url); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
	}
	os.Exit(1)
}

// takeJob runs until its standard input ends, which it does when the parent is gone.
func takeJob(url string) error {
	d, err := db.Open(ctx, db.Config{URL: url, Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		return err
	}
	b, err := bus.New(bus.Options{DB: d, Lease: time.Second})
	if err != nil {
		return err
	}
	b.Handle("survive", func(context.Context, bus.Job) error {
		os.Stdout.WriteString("took it\n")
		select {}
	})
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // any end will do
		os.Exit(1)
	}()
	return b.Run(ctx)
}

func TestJobsSurviveKill(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, url)
		b, err := bus.New(bus.Options{DB: d, Lease: time.Second, Poll: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		enqueue(t, d, b, "survive", "id")
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), child+"="+url)
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "took it\n" {
			t.Errorf("the child said %q, %v", line, err)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait() //nolint:errcheck // it was killed
		ran := make(chan int, 1)
		b.Handle("survive", func(_ context.Context, j bus.Job) error { ran <- j.Attempt; return nil })
		run, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.Run(run); err != nil {
				t.Error(err)
			}
		})
		if attempt := next(t, ran); attempt != 2 {
			t.Errorf("attempt %d", attempt)
		}
		cancel()
		wg.Wait()
		if n := rows(t, d); n != 0 {
			t.Errorf("%d jobs left", n)
		}
	})
}
