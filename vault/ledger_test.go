//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

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
