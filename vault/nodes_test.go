//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

// savedKey is a copy of a key's row, as a thief of the database's files has it.
type savedKey struct {
	id, org, parent, kind, subject, class string
	version, epoch                        int64
	wrapped                               []byte
}

func saveKey(t *testing.T, store *db.DB, person string) (k savedKey) {
	t.Helper()
	check(t, store.Read(bg, "test", func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT id, org, parent, kind, subject, class, version, epoch, wrapped FROM vault_key
			WHERE subject = $1 AND class = 'service'`, person).Scan(&k.id, &k.org, &k.parent, &k.kind, &k.subject,
			&k.class, &k.version, &k.epoch, &k.wrapped)
	}))
	return k
}

// resurrect puts the row back, as one of an epoch.
func (k savedKey) resurrect(store *db.DB, epoch int64) error {
	return store.Do(bg, "test", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO vault_key (id, org, parent, kind, subject, class, version, epoch, wrapped) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
			k.id, k.org, k.parent, k.kind, k.subject, k.class, k.version, epoch, k.wrapped)
		return err
	})
}

// bury removes it again.
func (k savedKey) bury(t *testing.T, store *db.DB) {
	t.Helper()
	check(t, store.Do(bg, "test", func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM vault_key WHERE id = $1`, k.id)
		return err
	}))
}

// After the epoch's end a saved copy of a destroyed key's row is useless, even to who has the master key and the database.
func TestEpochRotation(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		p.opt.Lease = 2 * time.Second
		v, store := p.open(t)
		var kept []vault.Sealed
		for range 300 {
			person, _ := people(t, v, "o1")
			kept = append(kept, seal(t, v, person, name, "r"))
		}
		person, _ := people(t, v, "o1")
		s := seal(t, v, person, name, "r")
		saved := saveKey(t, store, person.ID)
		destroy(t, v, person)
		isErased(t, v, s, "o1")
		// Control: within the epoch the dead row, dug out of the database's files, could still be opened.
		check(t, saved.resurrect(store, saved.epoch))
		opens(t, v, s, "o1")
		saved.bury(t, store)
		v.Close()

		v, store = p.open(t)
		old, err := os.ReadFile(filepath.Join(p.dir, "epochs", "1.key"))
		check(t, err)
		check(t, v.RotateEpoch(bg))
		if _, err := os.Stat(filepath.Join(p.dir, "epochs", "1.key")); !errors.Is(err, os.ErrNotExist) {
			t.Fatal("the old epoch's key is still there")
		}
		if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE epoch <> 2`); n != 0 {
			t.Fatalf("%d keys were left behind", n)
		}
		for _, s := range kept {
			opens(t, v, s, "o1")
		}
		if saved.resurrect(store, 1) == nil {
			t.Fatal("a row of an epoch that ended was accepted")
		}
		check(t, saved.resurrect(store, 2))
		if _, err := v.Open(as("o1"), s); err == nil {
			t.Fatal("the saved row opens after its epoch's end")
		}
		saved.bury(t, store)
		// Again, with another vault in between, and a rotation that was cut after the new key file.
		check(t, os.WriteFile(filepath.Join(p.dir, "epochs", "3.key"), old, 0o600))
		check(t, v.RotateEpoch(bg))
		v.Close()
		check(t, os.WriteFile(filepath.Join(p.dir, "epochs", "4.key"), old, 0o600))
		v, store = p.open(t)
		for _, s := range kept[:20] {
			opens(t, v, s, "o1")
		}
		files, err := os.ReadDir(filepath.Join(p.dir, "epochs"))
		if err != nil || len(files) != 1 || files[0].Name() != "3.key" {
			t.Fatalf("%v %v", files, err)
		}
		v.Close()
		store.Close()
		check(t, os.Remove(filepath.Join(p.dir, "epochs", "3.key")))
		p.refused(t, "epoch_missing")
	})
}

// Keys are created, opened and destroyed while epochs end, on two nodes: nothing is lost, nothing comes back.
func TestRotationUnderLoad(t *testing.T) {
	p := at(t, testdb.Postgres(t))
	p.opt.Lease = 2 * time.Second
	p.opt.CacheKeys = 64 // so that most opens load
	a, _ := p.open(t)
	b, store := p.open(t)
	check(t, a.EnsureOrg(bg, "o1"))
	var mu sync.Mutex
	var kept []vault.Sealed
	var goneKeys []vault.Key
	var load, rotate sync.WaitGroup
	var stop atomic.Bool
	for w := range 4 {
		v := []*vault.Vault{a, b}[w%2]
		load.Go(func() {
			for i := 0; !stop.Load(); i++ {
				k := vault.Key{Org: "o1", Kind: "person", ID: db.NewID()}
				if err := v.Create(bg, k, vault.Key{}); err != nil {
					t.Error("create:", err)
					return
				}
				s, err := v.Seal(bg, k, name, "r", canary, vault.Provenance{})
				if err != nil {
					t.Error("seal:", err)
					return
				}
				mu.Lock()
				kept = append(kept, s)
				s = kept[(i*7919)%len(kept)]
				mu.Unlock()
				if _, err := v.Open(as("o1"), s); err != nil {
					t.Error("open:", err)
					return
				}
			}
		})
	}
	load.Go(func() {
		for !stop.Load() {
			k := vault.Key{Org: "o1", Kind: "person", ID: db.NewID()}
			if err := a.Create(bg, k, vault.Key{}); err != nil {
				t.Error("create:", err)
				return
			}
			if _, err := b.Destroy(bg, k); err != nil {
				t.Error("destroy:", err)
				return
			}
			goneKeys = append(goneKeys, k)
		}
	})
	rotate.Go(func() {
		for i := range 6 {
			v := []*vault.Vault{a, b}[i%2]
			if err := v.RotateEpoch(bg); err != nil {
				t.Error("rotate:", err)
			}
		}
	})
	rotate.Wait()
	stop.Store(true)
	load.Wait()
	for _, s := range kept {
		opens(t, a, s, "o1")
	}
	for _, k := range goneKeys {
		if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE subject = $1`, k.ID); n != 0 {
			t.Fatal("a destroyed key is there")
		}
	}
	if len(goneKeys) == 0 || len(kept) < 20 {
		t.Fatalf("only %d kept, %d destroyed", len(kept), len(goneKeys))
	}
}

// Creating and destroying the same key at once ends with no key.
func TestCreateAgainstDestroy(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		check(t, v.EnsureOrg(bg, "o1"))
		for range 30 {
			k := vault.Key{Org: "o1", Kind: "person", ID: db.NewID()}
			c := vault.Key{Org: "o1", Kind: "conversation", ID: db.NewID()}
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					if err := v.CreateMany(bg, []vault.New{{Key: k}, {Key: c, Parent: k}}); err != nil && !fault.Is(err, fault.Gone) {
						t.Error(err)
					}
				})
			}
			group.Go(func() {
				if _, err := v.Destroy(bg, k); err != nil {
					t.Error(err)
				}
			})
			group.Wait()
			if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE subject IN ($1, $2)`, k.ID, c.ID); n != 0 {
				t.Fatalf("%d keys survived", n)
			}
		}
	})
}

// wire is a network that can be cut.
type wire struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("the wire is cut")}
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

func TestLease(t *testing.T) {
	const lease = 2500 * time.Millisecond
	p := at(t, testdb.Postgres(t))
	p.opt.Lease = lease
	a, _ := p.open(t)
	w := &wire{}
	far := &place{url: p.url, dir: p.dir, opt: p.opt, dial: w.dial}
	b, _ := far.open(t)

	// A live node: once Destroy has returned, no node opens, however warm its memory.
	for range 3 {
		_, conv := people(t, a, "o1")
		s := seal(t, a, conv, body, "r")
		opens(t, b, s, "o1")
		var last atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				began := time.Now()
				if _, err := b.Open(as("o1"), s); err != nil {
					return
				}
				last.Store(began.UnixNano())
			}
		}()
		destroy(t, a, conv)
		returned := time.Now().UnixNano()
		<-done
		if last.Load() > returned {
			t.Fatal("a node opened after the destruction was acknowledged")
		}
		isErased(t, b, s, "o1")
	}

	// A node that lost the store: it stops by itself, and the destroyer waits no longer than its lease.
	person, conv := people(t, a, "o1")
	other, _ := people(t, a, "o1")
	gone, kept := seal(t, a, conv, body, "r"), seal(t, a, other, name, "r")
	opens(t, b, gone, "o1")
	opens(t, b, kept, "o1")
	w.set(true)
	began := time.Now()
	destroy(t, a, person)
	if took := time.Since(began); took > 2*lease {
		t.Fatalf("took %v", took)
	}
	_, err := b.Open(as("o1"), gone)
	wantFault(t, err, fault.Unavailable, "lease_lost")
	_, err = b.Seal(bg, other, name, "r", canary, vault.Provenance{})
	wantFault(t, err, fault.Unavailable, "lease_lost")
	if b.Stats().Leased {
		t.Fatal("the figures say otherwise")
	}
	// Nobody waits for it twice.
	began = time.Now()
	destroy(t, a, vault.Key{Org: "o1", Kind: "person", ID: "x"})
	if took := time.Since(began); took > lease {
		t.Fatalf("took %v", took)
	}
	// When the store is back the node goes on, and knows what happened meanwhile.
	w.set(false)
	waitFor(t, func() bool { return b.Stats().Leased })
	isErased(t, b, gone, "o1")
	opens(t, b, kept, "o1")
	// A node that ends signs off.
	check(t, b.Close())
	began = time.Now()
	destroy(t, a, other)
	if took := time.Since(began); took > lease/2 {
		t.Fatalf("took %v", took)
	}
	isErased(t, a, kept, "o1")
}

// waitFor waits for a state that has no event: a background loop's.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it never happened")
		}
	}
}

func TestBlindIndexOnTwoNodes(t *testing.T) {
	p := at(t, testdb.Postgres(t))
	p.opt.Lease = 2 * time.Second
	a, _ := p.open(t)
	b, _ := p.open(t)
	check(t, a.EnsureOrg(bg, "o1"))
	one, err := a.Index(bg, "o1", email, "x")
	check(t, err)
	other, err := b.Index(bg, "o1", email, "x")
	check(t, err)
	if !bytes.Equal(one, other) {
		t.Fatal("two nodes, two indexes")
	}
	_, err = a.RotateIndex(bg, "o1", email)
	check(t, err)
	two, err := a.Index(bg, "o1", email, "x")
	check(t, err)
	all, err := b.IndexAll(bg, "o1", email, "x")
	check(t, err)
	if len(all) != 2 || !bytes.Equal(all[0], two) || !bytes.Equal(all[1], one) {
		t.Fatal("the other node does not know the new version")
	}
}
