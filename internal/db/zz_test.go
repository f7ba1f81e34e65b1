package db_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"parley/internal/db"
	"sort"
	"sync"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	url := "sqlite:///work/main/../zz-bench/parley.db"
	os.MkdirAll("/tmp/c/zzb", 0o700)
	url = "sqlite:///tmp/c/zzb/parley.db"
	d := open(t, db.Config{URL: url})
	if err := d.Migrate(ctx, benchSchema); err != nil {
		t.Fatal(err)
	}
	org := "00000000-0000-0000-0000-000000000000"
	conv := make([]string, 20000)
	d.Do(ctx, "x", func(tx *db.Tx) error {
		for i := range conv {
			conv[i] = fmt.Sprintf("c-%030d", i)
			if _, err := tx.Exec("INSERT INTO bench_conversation VALUES ($1,$2,0) ON CONFLICT DO NOTHING", org, conv[i]); err != nil {
				return err
			}
		}
		return nil
	})
	body := make([]byte, 300)
	send := func(c string) {
		id := db.NewID()
		if err := d.Do(ctx, "s", func(tx *db.Tx) error {
			var seq int64
			if err := tx.QueryRow("UPDATE bench_conversation SET last_seq = last_seq + 1 WHERE org = $1 AND id = $2 RETURNING last_seq", org, c).Scan(&seq); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO bench_message (org, conversation, seq, id, client_id, sent_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7)", org, c, seq, id, id, db.Micros(tx.Now()), body)
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	n := 0
	d.Read(ctx, "x", func(tx *db.Tx) error { return tx.QueryRow("SELECT COUNT(*) FROM bench_message").Scan(&n) })
	if os.Getenv("FILL") != "" && n < 1000000 {
		st := time.Now()
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				for range 2000 {
					send(conv[rand.N(len(conv))])
				}
			})
		}
		wg.Wait()
		t.Log("fill 1M", time.Since(st))
	}
	t.Log("rows", n)
	var mu sync.Mutex
	var lat []float64
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			time.Sleep(rand.N(100 * time.Millisecond))
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range 150 {
				<-tick.C
				st := time.Now()
				send(conv[rand.N(len(conv))])
				e := time.Since(st).Seconds() * 1e3
				mu.Lock()
				lat = append(lat, e)
				mu.Unlock()
			}
		})
	}
	st := time.Now()
	wg.Wait()
	sort.Float64s(lat)
	q := func(p float64) float64 { return lat[int(float64(len(lat)-1)*p)] }
	t.Logf("rate %.0f p50 %.2f p99 %.2f p999 %.2f max %.2f ms", float64(len(lat))/time.Since(st).Seconds(), q(.5), q(.99), q(.999), q(1))
	s := d.Stats()
	t.Logf("%v %v", s.Commit.Bounds, s.Commit.Counts); t.Logf("commits %d mean %.2fms", s.Commits, s.Commit.Sum/float64(s.Commit.Count)*1e3)
}
