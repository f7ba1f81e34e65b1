package db_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"parley/internal/db"
	"parley/internal/parleytest/testdb"
)

var benchSchema = db.Migrations{Domain: "bench", FS: fstest.MapFS{"schema/001.sql": {Data: []byte(`
	CREATE TABLE bench_conversation (org TEXT NOT NULL, id TEXT NOT NULL, last_seq BIGINT NOT NULL, PRIMARY KEY (org, id)) WITHOUT ROWID;
	CREATE TABLE bench_message (
		org TEXT NOT NULL, conversation TEXT NOT NULL, seq BIGINT NOT NULL, id TEXT NOT NULL, client_id TEXT NOT NULL,
		sent_at BIGINT NOT NULL, body BLOB NOT NULL,
		PRIMARY KEY (org, conversation, seq),
		UNIQUE (org, conversation, client_id)
	);`)}}}

// sender sends messages of 300 bytes: a conversation's next number, and a row with it.
type sender struct {
	d             *db.DB
	org           string
	conversations []string
	body          []byte
}

func newSender(b *testing.B, url string, conversations int) *sender {
	s := &sender{d: open(b, db.Config{URL: url}), org: db.NewID(), body: make([]byte, 300)}
	if err := s.d.Migrate(ctx, benchSchema); err != nil {
		b.Fatal(err)
	}
	for range conversations {
		s.conversations = append(s.conversations, db.NewID())
	}
	if err := s.d.Do(ctx, "bench.setup", func(tx *db.Tx) error {
		for _, id := range s.conversations {
			if _, err := tx.Exec("INSERT INTO bench_conversation (org, id, last_seq) VALUES ($1, $2, 0)", s.org, id); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return s
}

func (s *sender) send(conversation int) error {
	id, c := db.NewID(), s.conversations[conversation]
	return s.d.Do(ctx, "bench.send", func(tx *db.Tx) error {
		var seq int64
		if err := tx.QueryRow("UPDATE bench_conversation SET last_seq = last_seq + 1 WHERE org = $1 AND id = $2 RETURNING last_seq", s.org, c).Scan(&seq); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO bench_message (org, conversation, seq, id, client_id, sent_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			s.org, c, seq, id, id, db.Micros(tx.Now()), s.body)
		return err
	})
}

// benchDo is as many callers, each of whom sends again as soon as the last message is durable.
func benchDo(b *testing.B, url string, callers int) {
	s := newSender(b, url, callers)
	var left atomic.Int64
	left.Store(int64(b.N))
	before := s.d.Stats()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := s.send(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := s.d.Stats()
	commits := float64(after.Commits - before.Commits)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "usecases/s")
	b.ReportMetric(float64(after.UseCases-before.UseCases)/commits, "usecases/commit")
	b.ReportMetric((after.Commit.Sum-before.Commit.Sum)/commits*1e3, "ms/commit")
}

func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("sqlite/%d", callers), func(b *testing.B) { benchDo(b, testdb.SQLite(b), callers) })
		b.Run(fmt.Sprintf("postgres/%d", callers), func(b *testing.B) { benchDo(b, testdb.Postgres(b), callers) })
	}
}

// BenchmarkSteady sends 3,000 messages a second, whatever the answers take, and reports how long they took.
func BenchmarkSteady(b *testing.B) {
	for engine, url := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		b.Run(engine, func(b *testing.B) { benchSteady(b, url(b), 300, 10) })
	}
}

func benchSteady(b *testing.B, url string, callers, perSecond int) {
	s := newSender(b, url, 1000)
	took := make([][]time.Duration, callers)
	each := b.N/callers + 1
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			period := time.Second / time.Duration(perSecond)
			due := time.Now().Add(rand.N(period))
			for range each {
				time.Sleep(time.Until(due))
				if err := s.send(rand.IntN(len(s.conversations))); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(due)) // from when it should have begun
				due = due.Add(period)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1e3 }
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "usecases/s")
	b.ReportMetric(at(.5), "ms-p50")
	b.ReportMetric(at(.99), "ms-p99")
	b.ReportMetric(at(1), "ms-max")
}
