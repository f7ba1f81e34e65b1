package api_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/parleytest/testdb"
)

func TestOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
		d, err := db.Open(ctx, db.Config{URL: url, Now: func() time.Time { return now },
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := d.Migrate(ctx, api.Migrations); err != nil {
			t.Fatal(err)
		}
		as := func(member, key string) context.Context {
			return api.WithOnce(actor.With(ctx, actor.Actor{Kind: actor.Member, ID: member, Org: "o1"}), key)
		}
		once := func(ctx context.Context) (id string, again bool, ran int) {
			err := d.Do(ctx, "test", func(tx *db.Tx) (err error) {
				ran = 0
				id, again, err = api.Once(ctx, tx, "create-thing", db.NewID(), func() error { ran++; return nil })
				return err
			})
			if err != nil {
				t.Error(err)
			}
			return id, again, ran
		}
		ids := make([]string, 8)
		var total int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				id, _, ran := once(as("m1", "k1"))
				mu.Lock()
				defer mu.Unlock()
				ids[i] = id
				total += ran
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id == "" || id != ids[0] {
				t.Errorf("ids %q", ids)
			}
		}
		if total != 1 {
			t.Errorf("made %d times", total)
		}
		if id, again, ran := once(as("m2", "k1")); id == ids[0] || again || ran != 1 {
			t.Errorf("another member's key: %s %v %d", id, again, ran)
		}
		if _, again, ran := once(as("m1", "")); again || ran != 1 {
			t.Errorf("without a key: %v %d", again, ran)
		}
		now = now.Add(api.OnceFor + time.Second)
		if id, again, ran := once(as("m1", "k1")); id == ids[0] || again || ran != 1 {
			t.Errorf("a day later: %s %v %d", id, again, ran)
		}
		if n, err := api.SweepOnce(ctx, d); err != nil || n != 1 {
			t.Errorf("swept %d: %v", n, err)
		}
	})
}
