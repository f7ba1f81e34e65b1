//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
				p.opt.Lease = 2 * time.Second
				crashAt(t, p, p, point, func() {})
			})
		})
	}
}

func crashAt(t *testing.T, p, image *place, point string, snap func()) {
	v, store := p.open(t)
	person, conv := people(t, v, "o1")
	other, _ := people(t, v, "o1")
	gone, kept := seal(t, v, conv, body, "r"), seal(t, v, other, name, "r")
	secret := wrapped(t, store, conv)[0]
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

	v, store = image.open(t)
	if file, ok := strings.CutPrefix(image.url, "sqlite://"); ok && grep(t, filepath.Dir(file), secret) {
		t.Fatal("the wrapped key is still in the key store's files")
	}
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

// A legal hold keeps named fields under a key of another class before the person's is destroyed.
func TestResealKeepsWhatIsHeld(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	person, _ := people(t, v, "o1")
	statutory := person
	statutory.Class = catalog.ClassStatutory
	s := seal(t, v, person, name, "r")
	_, err := v.Reseal(bg, s, statutory, invoice, "held")
	wantFault(t, err, fault.Forbidden, "no_actor")
	_, err = v.Reseal(as("o1"), s, person, invoice, "held")
	wantFault(t, err, fault.Internal, "key_class")
	held, err := v.Reseal(as("o1"), s, statutory, invoice, "held")
	check(t, err)
	destroy(t, v, person)
	isErased(t, v, s, "o1")
	opens(t, v, held, "o1")
	was, _ := s.Provenance()
	if is, err := held.Provenance(); err != nil || is != was {
		t.Fatalf("provenance %+v", is)
	}
}

func TestOpenRefusesUnsafeStores(t *testing.T) {
	store, err := db.Open(bg, db.Config{URL: testdb.SQLite(t)})
	check(t, err)
	defer store.Close()
	_, err = vault.Open(bg, vault.Options{Store: store, Dir: filepath.Join(t.TempDir(), "vault"), Catalog: declared(t)})
	wantFault(t, err, fault.Unavailable, "secure_delete_off")
	_, err = vault.Open(bg, vault.Options{})
	wantFault(t, err, fault.Internal, "options")
}
