package db_test

import (
	"fmt"
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

// benchDo is 500 callers who each take a conversation's next number and insert a message of 300 bytes.
func benchDo(b *testing.B, url string, callers int) {
	d := open(b, db.Config{URL: url})
	if err := d.Migrate(ctx, benchSchema); err != nil {
		b.Fatal(err)
	}
	org := db.NewID()
	conversations := make([]string, callers)
	for i := range conversations {
		conversations[i] = db.NewID()
	}
	if err := d.Do(ctx, "bench.setup", func(tx *db.Tx) error {
		for _, id := range conversations {
			if _, err := tx.Exec("INSERT INTO bench_conversation (org, id, last_seq) VALUES ($1, $2, 0)", org, id); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 300)
	var left atomic.Int64
	left.Store(int64(b.N))
	before := d.Stats()
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				id := db.NewID()
				if err := d.Do(ctx, "bench.send", func(tx *db.Tx) error {
					var seq int64
					if err := tx.QueryRow("UPDATE bench_conversation SET last_seq = last_seq + 1 WHERE org = $1 AND id = $2 RETURNING last_seq", org, conversations[i]).Scan(&seq); err != nil {
						return err
					}
					_, err := tx.Exec("INSERT INTO bench_message (org, conversation, seq, id, client_id, sent_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7)",
						org, conversations[i], seq, id, id, db.Micros(tx.Now()), body)
					return err
				}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s := d.Stats()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "usecases/s")
	commits := float64(s.Commits - before.Commits)
	b.ReportMetric(float64(s.UseCases-before.UseCases)/commits, "usecases/commit")
	b.ReportMetric((s.Commit.Sum-before.Commit.Sum)/commits*1e3, "ms/commit")
}

func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("sqlite/%d", callers), func(b *testing.B) { benchDo(b, testdb.SQLite(b), callers) })
		b.Run(fmt.Sprintf("postgres/%d", callers), func(b *testing.B) { benchDo(b, testdb.Postgres(b), callers) })
	}
}
