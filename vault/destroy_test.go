//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

func destroy(t testing.TB, v *vault.Vault, k vault.Key) vault.Receipt {
	t.Helper()
	r, err := v.Destroy(bg, k)
	check(t, err)
	return r
}

// wrapped returns the stored bytes of a subject's keys.
func wrapped(t testing.TB, store *db.DB, k vault.Key) (out [][]byte) {
	t.Helper()
	check(t, store.Read(bg, "test", func(tx *db.Tx) error {
		rows, err := tx.Query(`SELECT wrapped FROM vault_key WHERE org = $1 AND subject = $2`, k.Org, k.ID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				return err
			}
			out = append(out, b)
		}
		return rows.Err()
	}))
	if len(out) == 0 {
		t.Fatal("no such key")
	}
	return out
}

// grep reports whether any file below dir holds the bytes.
func grep(t testing.TB, dir string, want []byte) (found bool) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, want)
		return err
	}))
	return found
}

func TestPromise_F7_DestroyedKeysAreGone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		person, conv := people(t, v, "o1")
		other, otherConv := people(t, v, "o1")
		statutory := person
		statutory.Class = catalog.ClassStatutory
		gone := []vault.Sealed{seal(t, v, person, name, "r"), seal(t, v, conv, body, "r")}
		kept := []vault.Sealed{seal(t, v, statutory, invoice, "r"), seal(t, v, other, name, "r"), seal(t, v, otherConv, body, "r")}
		check(t, store.Ping(bg))

		before := time.Now()
		r := destroy(t, v, person)
		if r.LedgerSeq != 1 || len(r.Subject) != 64 || r.At.Before(before.Add(-time.Second)) || r.FinalAt.Before(r.At) {
			t.Fatalf("receipt %+v", r)
		}
		// On SQLite it is final at once; on PostgreSQL when the epoch ends.
		if wait := r.FinalAt.Sub(r.At); store.Engine() == db.SQLite && wait > time.Minute || store.Engine() == db.Postgres && (wait < 23*time.Hour || wait > 25*time.Hour) {
			t.Fatalf("final after %v", wait)
		}
		verify := func(v *vault.Vault) {
			t.Helper()
			for _, s := range gone {
				isErased(t, v, s, "o1")
			}
			for _, s := range kept { // another class, another person
				opens(t, v, s, "o1")
			}
			for _, k := range []vault.Key{person, conv} {
				if !v.Erased(bg, k) {
					t.Error("not known as erased")
				}
				f := name
				if k.Kind == "conversation" {
					f = body
				}
				_, err := v.Seal(bg, k, f, "r", canary, vault.Provenance{})
				wantFault(t, err, fault.Gone, "erased")
				wantFault(t, v.Create(bg, k, vault.Key{}), fault.Gone, "erased")
			}
			wantFault(t, v.Create(bg, vault.Key{Org: "o1", Kind: "conversation", ID: "new"}, person), fault.Gone, "erased")
			if v.Erased(bg, statutory) || v.Erased(bg, other) || v.Erased(bg, otherConv) {
				t.Error("too much is erased")
			}
		}
		verify(v)
		again := destroy(t, v, person)
		if again != r {
			t.Fatalf("another receipt: %+v, %+v", r, again)
		}
		if r := destroy(t, v, conv); r.LedgerSeq != 1 { // went with the person
			t.Fatalf("receipt %+v", r)
		}
		// What never existed is remembered too.
		if r := destroy(t, v, vault.Key{Org: "o1", Kind: "person", ID: "never"}); r.LedgerSeq != 2 {
			t.Fatalf("receipt %+v", r)
		}
		v.Close()
		store.Close()
		v, _ = p.open(t)
		verify(v)
		if again := destroy(t, v, person); again != r {
			t.Fatalf("another receipt after a restart: %+v", again)
		}
	})
}

func TestDestroyOrganisation(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		v, store := at(t, url).open(t)
		person, conv := people(t, v, "o1")
		_, conv2 := people(t, v, "o2")
		s, s2 := seal(t, v, conv, body, "r"), seal(t, v, conv2, body, "r")
		_, err := v.Index(bg, "o1", email, "x")
		check(t, err)
		destroy(t, v, vault.OrgKey("o1"))
		isErased(t, v, s, "o1")
		opens(t, v, s2, "o2")
		if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE org = 'o1'`); n != 0 {
			t.Fatalf("%d keys left", n)
		}
		wantFault(t, v.EnsureOrg(bg, "o1"), fault.Gone, "erased")
		wantFault(t, v.Create(bg, vault.Key{Org: "o1", Kind: "person", ID: "x"}, vault.Key{}), fault.Gone, "erased")
		if !v.Erased(bg, person) || v.Erased(bg, conv2) {
			t.Fatal("erased")
		}
		_, err = v.Destroy(bg, vault.OrgKey(vault.Install))
		wantFault(t, err, fault.Internal, "key_name")
	})
}

// No file of the key store holds the wrapped key after its destruction, nor anything that names the subject in the ledger.
func TestDestroyedBytesAreNotOnDisk(t *testing.T) {
	url := testdb.SQLite(t)
	files := filepath.Dir(strings.TrimPrefix(url, "sqlite://"))
	p := at(t, url)
	v, store := p.open(t)
	var all []vault.Key
	for range 50 {
		person, conv := people(t, v, "o1")
		all = append(all, person, conv)
	}
	_, err := v.Renew(bg, all[1])
	check(t, err)
	victim, its := all[20], all[21]
	secrets := append(wrapped(t, store, victim), wrapped(t, store, its)...)
	for _, b := range secrets {
		if !grep(t, files, b) {
			t.Fatal("the search finds nothing even before")
		}
	}
	service := victim
	destroy(t, v, service)
	service.Class = catalog.ClassStatutory
	destroy(t, v, service)
	for _, b := range secrets {
		if grep(t, files, b) || grep(t, files, b[:32]) || grep(t, files, b[len(b)-32:]) {
			t.Fatal("the wrapped key is still in the key store's files")
		}
	}
	for _, k := range []vault.Key{victim, its} {
		if grep(t, files, []byte(k.ID)) || grep(t, p.dir, []byte(k.ID)) {
			t.Fatal("the subject's id is still there")
		}
	}
	if !grep(t, files, wrapped(t, store, all[22])[0]) {
		t.Fatal("another key went too")
	}
}

// copyTree copies the files below from, as a power cut would leave them.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	check(t, os.CopyFS(to, os.DirFS(from)))
}

// A crash at any point of a destruction leaves something that the next start completes before it answers.
func TestDestructionSurvivesCrashes(t *testing.T) {
	for _, point := range []string{"condemned", "ledger", "deleted"} {
		t.Run(point, func(t *testing.T) {
			t.Run("sqlite", func(t *testing.T) {
				url := testdb.SQLite(t)
				p := at(t, url)
				image := &place{dir: filepath.Join(t.TempDir(), "vault"), url: testdb.SQLite(t)}
				crashAt(t, p, image, point, func() {
					os.RemoveAll(filepath.Dir(strings.TrimPrefix(image.url, "sqlite://")))
					copyTree(t, filepath.Dir(strings.TrimPrefix(url, "sqlite://")), filepath.Dir(strings.TrimPrefix(image.url, "sqlite://")))
					copyTree(t, p.dir, image.dir)
				})
			})
			t.Run("postgres", func(t *testing.T) {
				p := at(t, testdb.Postgres(t))
				p.opt.Lease = 500 * time.Millisecond
				crashAt(t, p, p, point, func() {})
			})
		})
	}
}

func crashAt(t *testing.T, p, image *place, point string, snap func()) {
	v, _ := p.open(t)
	person, conv := people(t, v, "o1")
	other, _ := people(t, v, "o1")
	gone, kept := seal(t, v, conv, body, "r"), seal(t, v, other, name, "r")
	destroy(t, v, vault.Key{Org: "o1", Kind: "person", ID: "earlier"})
	cut := errors.New("power cut")
	vault.SetCrash(v, func(at string) error {
		if at != point {
			return nil
		}
		snap()
		return cut
	})
	if _, err := v.Destroy(bg, person); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	isErased(t, v, gone, "o1") // decided is decided

	v, store := image.open(t)
	isErased(t, v, gone, "o1")
	opens(t, v, kept, "o1")
	if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE subject = $1`, conv.ID); n != 0 {
		t.Fatal("the key is still there")
	}
	r := destroy(t, v, person)
	if r.LedgerSeq != 2 {
		t.Fatalf("receipt %+v", r)
	}
	ledger, err := os.ReadFile(filepath.Join(image.dir, "ledger"))
	check(t, err)
	if n := bytes.Count(ledger, []byte(r.Subject)); n != 1 || bytes.Count(ledger, []byte("\n")) != 3 {
		t.Fatalf("%d entries", n)
	}
}

// The same destruction again after an error completes it, without a restart.
func TestDestroyAgainAfterAnError(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	person, conv := people(t, v, "o1")
	s := seal(t, v, conv, body, "r")
	for _, point := range []string{"condemned", "ledger", "deleted"} {
		vault.SetCrash(v, func(at string) error {
			if at == point {
				return errors.New("no")
			}
			return nil
		})
		if _, err := v.Destroy(bg, person); err == nil {
			t.Fatal("no error")
		}
		isErased(t, v, s, "o1")
	}
	vault.SetCrash(v, nil)
	if r := destroy(t, v, person); r.LedgerSeq != 1 {
		t.Fatalf("receipt %+v", r)
	}
}

func TestLedgerFile(t *testing.T) {
	p := at(t, testdb.SQLite(t))
	v, store := p.open(t)
	person, _ := people(t, v, "o1")
	first := destroy(t, v, person)
	second := destroy(t, v, vault.Key{Org: "o1", Kind: "person", ID: "b"})
	v.Close()
	store.Close()
	path := filepath.Join(p.dir, "ledger")
	good, err := os.ReadFile(path)
	check(t, err)
	if bytes.Contains(good, []byte(person.ID)) || bytes.Contains(good, []byte("person")) {
		t.Fatal("the ledger names somebody")
	}
	reopen := func(text []byte) vault.Receipt {
		t.Helper()
		check(t, os.WriteFile(path, text, 0o600))
		v, store := p.open(t)
		defer func() { v.Close(); store.Close() }()
		return destroy(t, v, vault.Key{Org: "o1", Kind: "person", ID: "b"})
	}
	// What a crash leaves of an entry that nobody acknowledged goes.
	next := append(bytes.Clone(good), []byte("3 1700000000000000 00112233")...)
	zeros := append(bytes.Clone(next), make([]byte, 100)...)
	torn := append(append(bytes.Clone(next), make([]byte, 40)...), '\n')
	for _, text := range [][]byte{next, zeros, torn, good} {
		if r := reopen(text); r != second {
			t.Fatalf("receipt %+v", r)
		}
		now, err := os.ReadFile(path)
		check(t, err)
		if !bytes.Equal(now, good) {
			t.Fatal("the torn line is still there")
		}
	}
	// What was acknowledged may not go, nor change.
	lines := bytes.SplitAfter(good, []byte("\n"))
	for what, text := range map[string][]byte{
		"an entry was changed": bytes.Replace(good, []byte(first.Subject[:8]), []byte("00000000"), 1),
		"an entry was removed": slices.Concat(lines[0], lines[2]),
		"entries were swapped": slices.Concat(lines[0], lines[2], lines[1]),
		"another first line":   slices.Concat([]byte("parley-ledger-1 00000000000000000000000000000000\n"), lines[1], lines[2]),
		"no first line":        slices.Concat(lines[1], lines[2]),
		"garbage at the end":   append(bytes.Clone(good), "3 x y #z\n"...),
	} {
		check(t, os.WriteFile(path, text, 0o600))
		_, _, err := p.tryOpen(t)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Code != "ledger_tampered" && f.Code != "ledger_other" {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, os.WriteFile(path, slices.Concat(lines[0], lines[1]), 0o600))
	p.refused(t, "keystore_older") // the copy of the head is further
	check(t, os.Remove(path))
	p.refused(t, "keystore_older")
	check(t, os.Remove(p.dir+".ledger-head"))
	p.refused(t, "ledger_older") // the key store has destroyed more
	// Without its copy the ledger opens, and the copy is written again.
	if r := reopen(good); r != second {
		t.Fatalf("receipt %+v", r)
	}
	head, err := os.ReadFile(p.dir + ".ledger-head")
	if err != nil || !bytes.Contains(head, []byte(" 2 ")) {
		t.Fatalf("%s %v", head, err)
	}
}

// A key store that was restored from a backup does not bring the erased back.
func TestPromise_F8_OlderKeyStoreIsRefused(t *testing.T) {
	url := testdb.SQLite(t)
	files := filepath.Dir(strings.TrimPrefix(url, "sqlite://"))
	p := at(t, url)
	v, store := p.open(t)
	person, conv := people(t, v, "o1")
	other, _ := people(t, v, "o1")
	gone, kept := seal(t, v, conv, body, "r"), seal(t, v, other, name, "r")
	destroy(t, v, vault.Key{Org: "o1", Kind: "person", ID: "earlier"})
	v.Close()
	store.Close()
	backup, backupDir := t.TempDir(), filepath.Join(t.TempDir(), "vault")
	copyTree(t, files, backup)
	copyTree(t, p.dir, backupDir)

	v, store = p.open(t)
	destroy(t, v, person)
	later := vault.Key{Org: "o1", Kind: "person", ID: db.NewID()}
	check(t, v.Create(bg, later, vault.Key{}))
	destroy(t, v, later)
	v.Close()
	store.Close()

	restore := func(from, to string) {
		t.Helper()
		check(t, os.RemoveAll(to))
		copyTree(t, from, to)
	}
	// The database alone is older: the ledger tells.
	restore(backup, files)
	p.refused(t, "keystore_older")
	p.refused(t, "keystore_older") // and trying changes nothing
	// Database and ledger are older: the copy of the head tells.
	nowDir := filepath.Join(t.TempDir(), "vault")
	copyTree(t, p.dir, nowDir)
	restore(backupDir, p.dir)
	p.refused(t, "keystore_older")
	p.opt.Replay = true
	p.refused(t, "keystore_older") // nothing can be replayed from a ledger that lacks its end
	// With the newest ledger the restore command destroys again what was destroyed.
	restore(nowDir, p.dir)
	v, store = p.open(t)
	isErased(t, v, gone, "o1")
	opens(t, v, kept, "o1")
	wantFault(t, v.Create(bg, later, vault.Key{}), fault.Gone, "erased")
	v.Close()
	store.Close()
	p.opt.Replay = false
	v, _ = p.open(t)
	isErased(t, v, gone, "o1")

	// A restored data store has rows of the erased again: the ledger says which.
	candidates := []vault.Key{other, person, conv, later, {Org: "o1", Kind: "person", ID: "earlier"}, {Org: "o1", Kind: "person", ID: "unknown"}}
	for i := range 600 {
		candidates = append(candidates, vault.Key{Org: "o1", Kind: "person", ID: fmt.Sprint("p", i)})
	}
	hits, err := v.ReplayLedger(bg, slices.Values(candidates))
	check(t, err)
	var ids []string
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	want := []string{person.ID, conv.ID, later.ID, "earlier"}
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Fatalf("hits %v, want %v", ids, want)
	}
}

// After the epoch's end a saved copy of a destroyed key's row is useless, even to who has the master key and the database.
func TestEpochRotation(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		p.opt.Lease = time.Second
		v, store := p.open(t)
		var kept []vault.Sealed
		for range 300 {
			person, _ := people(t, v, "o1")
			kept = append(kept, seal(t, v, person, name, "r"))
		}
		person, _ := people(t, v, "o1")
		s := seal(t, v, person, name, "r")
		type row struct {
			id, org, parent, kind, subject, class string
			version, epoch                        int64
			wrapped                               []byte
		}
		var saved row
		check(t, store.Read(bg, "test", func(tx *db.Tx) error {
			return tx.QueryRow(`SELECT id, org, parent, kind, subject, class, version, epoch, wrapped FROM vault_key
				WHERE subject = $1 AND class = 'service'`, person.ID).Scan(&saved.id, &saved.org, &saved.parent, &saved.kind, &saved.subject,
				&saved.class, &saved.version, &saved.epoch, &saved.wrapped)
		}))
		resurrect := func(epoch int64) error {
			return store.Do(bg, "test", func(tx *db.Tx) error {
				_, err := tx.Exec(`INSERT INTO vault_key (id, org, parent, kind, subject, class, version, epoch, wrapped) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
					saved.id, saved.org, saved.parent, saved.kind, saved.subject, saved.class, saved.version, epoch, saved.wrapped)
				return err
			})
		}
		bury := func() {
			check(t, store.Do(bg, "test", func(tx *db.Tx) error {
				_, err := tx.Exec(`DELETE FROM vault_key WHERE id = $1`, saved.id)
				return err
			}))
		}
		destroy(t, v, person)
		isErased(t, v, s, "o1")
		// Control: within the epoch the dead row, dug out of the database's files, could still be opened.
		check(t, resurrect(saved.epoch))
		opens(t, v, s, "o1")
		bury()
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
		if resurrect(1) == nil {
			t.Fatal("a row of an epoch that ended was accepted")
		}
		check(t, resurrect(2))
		if _, err := v.Open(as("o1"), s); err == nil {
			t.Fatal("the saved row opens after its epoch's end")
		}
		bury()
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
	p.opt.Lease = time.Second
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
		p.opt.Lease = 300 * time.Millisecond
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
	const lease = 800 * time.Millisecond
	p := at(t, testdb.Postgres(t))
	p.opt.Lease = lease
	a, _ := p.open(t)
	w := &wire{}
	far := &place{url: p.url, dir: p.dir, opt: p.opt, dial: w.dial}
	b, _ := far.open(t)

	// A live node: once Destroy has returned, no node opens, however warm its memory.
	for range 5 {
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
	p.opt.Lease = time.Second
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

// Errors of every operation with the key store away say so, and carry nothing.
func TestStoreAway(t *testing.T) {
	p := at(t, testdb.SQLite(t))
	v, store := p.open(t)
	person, conv := people(t, v, "o1")
	s := seal(t, v, conv, body, "r")
	check(t, store.Close())
	opens(t, v, s, "o1") // a single process needs no lease
	_, err := v.Destroy(bg, person)
	isAway(t, err)
	isAway(t, v.Create(bg, vault.Key{Org: "o1", Kind: "person", ID: "x"}, vault.Key{}))
	_, err = v.Seal(bg, vault.Key{Org: "o1", Kind: "conversation", ID: "x"}, body, "r", canary, vault.Provenance{})
	isAway(t, err)
	if v.Erased(bg, person) {
		t.Fatal("erased, on nobody's word")
	}
}

func isAway(t testing.TB, err error) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	if out, _ := json.Marshal(err.Error()); bytes.Contains(out, []byte("CANARY")) {
		t.Fatal("the error carries the value")
	}
}
