//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

const (
	body     catalog.FieldID = "chat.message.body"
	subject  catalog.FieldID = "chat.message.subject"
	name     catalog.FieldID = "person.profile.name"
	invoice  catalog.FieldID = "person.invoice.line"
	signedIn catalog.FieldID = "person.sign_in.address"
	email    catalog.FieldID = "member.profile.email"
	canary                   = "CANARY the quick brown fox"
)

func table(name, kind string, purposes []catalog.Purpose, columns catalog.Columns) catalog.Table {
	columns["org"], columns["id"], columns["owner"] = catalog.Scope, catalog.Plain, catalog.LinkTo(name)
	return catalog.Table{
		Name: name, Doc: "For tests.", Subjects: catalog.Subjects{"owner": catalog.Owner}, Purposes: purposes,
		Basis: catalog.Contract, Erase: catalog.Delete, Keep: catalog.WithParent("tests"),
		Key: catalog.KeyRule{Kind: kind, Column: "owner"}, Columns: columns,
	}
}

func declared(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.New(vault.Data, db.Data, catalog.Dataset{Domain: "test", Tables: []catalog.Table{
		table("t_message", "conversation", catalog.For(catalog.Service, catalog.Support), catalog.Columns{
			"body": catalog.Sealed(catalog.Content, body), "subject": catalog.Sealed(catalog.Content, subject)}),
		table("t_person", "person", catalog.For(catalog.Service, catalog.Support, catalog.Security), catalog.Columns{
			"name":    catalog.Sealed(catalog.Identity, name),
			"invoice": catalog.Sealed(catalog.Identity, invoice).In(catalog.ClassStatutory),
			"sign_in": catalog.Sealed(catalog.Usage, signedIn).In(catalog.ClassSecurity)}),
		table("t_member", "member", catalog.For(catalog.Service), catalog.Columns{
			"email": catalog.Sealed(catalog.Contact, email), "email_index": catalog.Index(catalog.Contact, email)}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// place is where a test's vault lives.
type place struct {
	url, dir string
	opt      vault.Options // further options
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

func at(t testing.TB, url string) *place {
	return &place{url: url, dir: filepath.Join(t.TempDir(), "vault")}
}

func (p *place) tryOpen(t testing.TB) (*vault.Vault, *db.DB, error) {
	t.Helper()
	dial := p.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	store, err := db.Open(context.Background(), db.Config{URL: p.url, SecureDelete: true, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	o := p.opt
	o.Store, o.Dir, o.Catalog, o.Node = store, p.dir, declared(t), t.Name()
	v, err := vault.Open(context.Background(), o)
	if err != nil {
		store.Close()
		return nil, nil, err
	}
	t.Cleanup(func() { v.Close(); store.Close() })
	return v, store, nil
}

func (p *place) open(t testing.TB) (*vault.Vault, *db.DB) {
	t.Helper()
	v, store, err := p.tryOpen(t)
	if err != nil {
		t.Fatal(err)
	}
	return v, store
}

func (p *place) refused(t testing.TB, code string) {
	t.Helper()
	_, _, err := p.tryOpen(t)
	wantFault(t, err, fault.Unavailable, code)
}

func wantFault(t testing.TB, err error, kind fault.Kind, code string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind || f.Code != code {
		t.Fatalf("want %s %q, got %v", kind, code, err)
	}
	if strings.Contains(err.Error(), "CANARY") {
		t.Fatalf("the error carries the value: %v", err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// as is a member of the organisation who supports.
func as(org string) context.Context {
	return actor.For(actor.With(context.Background(), actor.Actor{Kind: actor.Member, ID: "m", Org: org, Role: actor.Agent}), catalog.Support)
}

var bg = context.Background()

// people creates, in an organisation, a person with keys of two classes and a conversation. It returns the person's and the conversation's key.
func people(t testing.TB, v *vault.Vault, org string) (person, conversation vault.Key) {
	t.Helper()
	check(t, v.EnsureOrg(bg, org))
	person = vault.Key{Org: org, Kind: "person", ID: db.NewID()}
	conversation = vault.Key{Org: org, Kind: "conversation", ID: db.NewID()}
	statutory := person
	statutory.Class = catalog.ClassStatutory
	check(t, v.CreateMany(bg, []vault.New{{Key: person}, {Key: statutory}, {Key: conversation, Parent: person}}))
	return person, conversation
}

func seal(t testing.TB, v *vault.Vault, k vault.Key, f catalog.FieldID, row string) vault.Sealed {
	t.Helper()
	s, err := v.Seal(bg, k, f, row, canary, vault.Provenance{Source: "visitor", Stage: "conversation", Notice: "3"})
	check(t, err)
	return s
}

func opens(t testing.TB, v *vault.Vault, s vault.Sealed, org string) {
	t.Helper()
	text, err := v.Open(as(org), s)
	check(t, err)
	if text.Text() != canary {
		t.Fatal("opened to something else")
	}
}

func isErased(t testing.TB, v *vault.Vault, s vault.Sealed, org string) {
	t.Helper()
	_, err := v.Open(as(org), s)
	wantFault(t, err, fault.Gone, "erased")
}

func TestSealOpen(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		person, conv := people(t, v, "o1")
		s := seal(t, v, conv, body, "row1")
		opens(t, v, s, "o1")
		if bytes.Contains(s.Bytes(), []byte("CANARY")) {
			t.Fatal("not sealed")
		}
		// What a store does: write, scan, bind.
		stored, err := s.Value()
		check(t, err)
		var again vault.Sealed
		check(t, again.Scan(stored))
		_, err = v.Open(as("o1"), again)
		wantFault(t, err, fault.Internal, "unbound")
		opens(t, v, again.Bind("o1", body, "row1"), "o1")
		opens(t, v, vault.FromBytes(s.Bytes()).Bind("o1", body, "row1"), "o1")
		prov, err := again.Provenance()
		check(t, err)
		if prov != (vault.Provenance{Source: "visitor", Stage: "conversation", Notice: "3"}) {
			t.Fatalf("provenance %+v", prov)
		}
		// Nothing is a value too.
		check(t, again.Scan(nil))
		text, err := v.Open(bg, again)
		if err != nil || !again.Zero() || !text.Zero() || text.Text() != "" {
			t.Fatal("NULL is the zero value")
		}
		// The empty text is not nothing.
		empty, err := v.Seal(bg, person, name, "r", "", vault.Provenance{})
		check(t, err)
		text, err = v.Open(as("o1"), empty)
		if err != nil || text.Zero() || text.Text() != "" {
			t.Fatal("an empty value is a value")
		}
		// A second vault on the same store reads what the first sealed.
		v.Close()
		store.Close()
		v, _ = p.open(t)
		opens(t, v, s, "o1")
	})
}

func TestPromise_B1_UndeclaredPurposeIsRefused(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	person, conv := people(t, v, "o1")
	check(t, v.EnsureOrg(bg, "o2"))
	s := seal(t, v, conv, body, "row1")
	member := actor.Actor{Kind: actor.Member, ID: "m", Org: "o1"}
	open := func(a actor.Actor, p catalog.Purpose, s vault.Sealed) error {
		_, err := v.Open(actor.For(actor.With(bg, a), p), s)
		return err
	}
	_, err := v.Open(actor.For(bg, catalog.Support), s)
	wantFault(t, err, fault.Forbidden, "no_actor")
	_, err = v.Open(actor.With(bg, member), s)
	wantFault(t, err, fault.Forbidden, "no_purpose")
	for _, p := range []catalog.Purpose{catalog.Security, catalog.Operations, catalog.Legal, catalog.Rights, "marketing"} {
		wantFault(t, open(member, p, s), fault.Forbidden, "purpose_refused")
	}
	check(t, open(member, catalog.Support, s))
	check(t, open(member, catalog.Service, s))
	check(t, open(actor.Actor{Kind: actor.System, ID: "realtime", Org: "o1"}, catalog.Service, s))
	wantFault(t, open(actor.Actor{Kind: actor.Member, ID: "m", Org: "o2"}, catalog.Support, s), fault.Forbidden, "other_org")
	wantFault(t, open(actor.Actor{Kind: actor.Visitor, ID: "m"}, catalog.Support, s), fault.Forbidden, "other_org")

	// Members are installation-wide: every organisation's actors may read what is declared of them.
	m := vault.Key{Org: vault.Install, Kind: "member", ID: db.NewID()}
	check(t, v.Create(bg, m, vault.Key{}))
	ms := seal(t, v, m, email, "m1")
	check(t, open(member, catalog.Service, ms))
	wantFault(t, open(member, catalog.Support, ms), fault.Forbidden, "purpose_refused")

	// What the security class holds serves security alone, even where its table is declared for more (B5).
	sec := person
	sec.Class = catalog.ClassSecurity
	check(t, v.Create(bg, sec, vault.Key{}))
	ss := seal(t, v, sec, signedIn, "r")
	wantFault(t, open(member, catalog.Support, ss), fault.Forbidden, "purpose_refused")
	check(t, open(member, catalog.Security, ss))
}

func TestSealRefusesMistakes(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	person, conv := people(t, v, "o1")
	try := func(k vault.Key, f catalog.FieldID, row, source string) error {
		_, err := v.Seal(bg, k, f, row, canary, vault.Provenance{Source: source})
		return err
	}
	wantFault(t, try(person, "no.such.field", "r", ""), fault.Internal, "field_undeclared")
	wantFault(t, try(person, invoice, "r", ""), fault.Internal, "key_class")
	wantFault(t, try(person, body, "r", ""), fault.Internal, "key_kind")
	wantFault(t, try(conv, body, "", ""), fault.Internal, "row_missing")
	wantFault(t, try(conv, body, "r", strings.Repeat("x", 256)), fault.Internal, "seal")
	wantFault(t, try(vault.Key{Org: "o1", Kind: "conversation", ID: "never"}, body, "r", ""), fault.Internal, "key_unknown")
	wantFault(t, try(vault.Key{Org: "", Kind: "conversation", ID: "x"}, body, "r", ""), fault.Internal, "key_name")
	check(t, try(conv, body, "r", strings.Repeat("x", 255)))
}

// A value opens where it was sealed and nowhere else, whatever somebody with write access to the data store moves about.
func TestPromise_I7_BoundToItsPlace(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	_, conv := people(t, v, "o1")
	_, conv2 := people(t, v, "o1")
	_, foreign := people(t, v, "o2")
	s := seal(t, v, conv, body, "row1")
	raw := s.Bytes()
	bad := func(what string, s vault.Sealed, org string) {
		t.Helper()
		_, err := v.Open(as(org), s)
		if err == nil {
			t.Fatalf("%s: opened", what)
		}
		wantFault(t, err, fault.Internal, "unreadable")
	}
	bad("other row", s.Bind("o1", body, "row2"), "o1")
	bad("other field", s.Bind("o1", subject, "row1"), "o1")
	bad("other organisation", s.Bind("o2", body, "row1"), "o2")

	// The header of one value on the ciphertext of another: other conversation, other organisation, other version.
	graft := func(head, tail vault.Sealed) vault.Sealed {
		h, _, err := vault.ReencodeHeader(head.Bytes())
		check(t, err)
		th, _, err := vault.ReencodeHeader(tail.Bytes())
		check(t, err)
		return vault.FromBytes(append(bytes.Clone(h), tail.Bytes()[len(th):]...)).Bind("o1", body, "row1")
	}
	bad("other conversation's key", graft(seal(t, v, conv2, body, "row1"), s), "o1")
	bad("other organisation's key", graft(seal(t, v, foreign, body, "row1"), s), "o1")
	bad("other field's header", graft(seal(t, v, conv, subject, "row1"), s), "o1")
	other, err := v.Seal(bg, conv, body, "row1", canary, vault.Provenance{Source: "somebody else"})
	check(t, err)
	bad("other provenance", graft(other, s), "o1")
	version, err := v.Renew(bg, conv)
	if err != nil || version != 2 {
		t.Fatal(version, err)
	}
	s2 := seal(t, v, conv, body, "row1")
	opens(t, v, s, "o1")
	opens(t, v, s2, "o1")
	bad("newer version's header", graft(s2, s), "o1")
	bad("older version's header", graft(s, s2), "o1")
	patched := bytes.Clone(raw)
	patched[20]++ // the key version's last byte
	bad("version number changed", vault.FromBytes(patched).Bind("o1", body, "row1"), "o1")
}

func TestEveryByteIsAuthenticated(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	_, conv := people(t, v, "o1")
	raw := seal(t, v, conv, body, "row1").Bytes()
	for i := range raw {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(raw)
			b[i] ^= bit
			_, err := v.Open(as("o1"), vault.FromBytes(b).Bind("o1", body, "row1"))
			if err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	for n := range raw {
		if _, err := v.Open(as("o1"), vault.FromBytes(raw[:n]).Bind("o1", body, "row1")); err == nil && n > 0 {
			t.Fatalf("cut to %d bytes: opened", n)
		}
	}
}

func TestCreate(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		v, store := at(t, url).open(t)
		person, conv := people(t, v, "o1")
		other, _ := people(t, v, "o1")
		check(t, v.Create(bg, conv, person)) // again
		check(t, v.EnsureOrg(bg, "o1"))
		wantFault(t, v.Create(bg, conv, other), fault.Conflict, "key_parent")
		wantFault(t, v.Create(bg, conv, vault.Key{}), fault.Conflict, "key_parent")
		k := vault.Key{Org: "o1", Kind: "conversation", ID: db.NewID()}
		wantFault(t, v.Create(bg, k, vault.Key{Org: "o1", Kind: "person", ID: "never"}), fault.Internal, "key_unknown")
		wantFault(t, v.Create(bg, vault.Key{Org: "o9", Kind: "person", ID: "x"}, vault.Key{}), fault.Internal, "key_unknown")
		statutory := person
		statutory.Class = catalog.ClassStatutory
		wantFault(t, v.Create(bg, k, statutory), fault.Internal, "key_class")
		foreign := person
		foreign.Org = "o2"
		wantFault(t, v.Create(bg, k, foreign), fault.Internal, "key_parent")
		wantFault(t, v.Create(bg, vault.OrgKey("o3"), vault.Key{}), fault.Internal, "key_name")
		wantFault(t, v.Create(bg, vault.Key{Org: "o1", Kind: "index", ID: "x"}, vault.Key{}), fault.Internal, "key_name")
		wantFault(t, v.Create(bg, vault.Key{Org: "o1", Kind: "person", ID: "x", Class: "none"}, vault.Key{}), fault.Internal, "key_name")

		// Many at once make one key each.
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				p := vault.Key{Org: "o1", Kind: "person", ID: fmt.Sprint("same", i%4)}
				c := vault.Key{Org: "o1", Kind: "conversation", ID: fmt.Sprint("same", i%4)}
				if err := v.CreateMany(bg, []vault.New{{Key: p}, {Key: c, Parent: p}}); err != nil {
					t.Error(err)
				}
				if _, err := v.Seal(bg, c, body, "r", canary, vault.Provenance{}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := count(t, store, `SELECT COUNT(*) FROM vault_key WHERE subject LIKE 'same%'`); n != 8 {
			t.Fatalf("%d keys", n)
		}
	})
}

func count(t testing.TB, store *db.DB, query string, args ...any) (n int) {
	t.Helper()
	check(t, store.Read(bg, "test", func(tx *db.Tx) error { return tx.QueryRow(query, args...).Scan(&n) }))
	return n
}

func TestWarmAndBoundedCache(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		person, _ := people(t, v, "o1")
		var keys []vault.Key
		var news []vault.New
		var values []vault.Sealed
		for range 700 {
			k := vault.Key{Org: "o1", Kind: "conversation", ID: db.NewID()}
			keys, news = append(keys, k), append(news, vault.New{Key: k, Parent: person})
		}
		check(t, v.CreateMany(bg, news))
		for _, k := range keys {
			values = append(values, seal(t, v, k, body, "r"))
		}
		v.Close()
		store.Close()

		v, store = p.open(t)
		missing := vault.Key{Org: "o1", Kind: "conversation", ID: "never"}
		before := store.Stats()
		check(t, v.Warm(bg, append(keys, missing)))
		_ = before
		if n := v.Stats().Keys; n < 700 {
			t.Fatalf("%d keys in memory", n)
		}
		// Everything opens with the store gone: no further query is needed.
		if store.Engine() == db.SQLite {
			store.Close()
		}
		for _, s := range values {
			opens(t, v, s, "o1")
		}
		v.Close()

		p.opt.CacheKeys = 128
		v, _ = p.open(t)
		for range 2 {
			for _, s := range values {
				opens(t, v, s, "o1")
			}
		}
		if n := v.Stats().Keys; n > 128 {
			t.Fatalf("%d keys in memory, of 128 allowed", n)
		}
	})
}

func TestBlindIndex(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		people(t, v, "o1")
		people(t, v, "o2")
		index := func(org string, f catalog.FieldID, value string) string {
			t.Helper()
			b, err := v.Index(bg, org, f, value)
			check(t, err)
			if len(b) != 32 {
				t.Fatalf("%d bytes", len(b))
			}
			return string(b)
		}
		all := func(value string) (out []string) {
			t.Helper()
			list, err := v.IndexAll(bg, "o1", email, value)
			check(t, err)
			for _, b := range list {
				out = append(out, string(b))
			}
			return out
		}
		one := index("o1", email, "a@example.org")
		for what, other := range map[string]string{
			"other value": index("o1", email, "b@example.org"), "other organisation": index("o2", email, "a@example.org"),
			"other field": index("o1", name, "a@example.org"),
		} {
			if one == other {
				t.Error(what, "has the same index")
			}
		}
		version, err := v.RotateIndex(bg, "o1", email)
		if err != nil || version != 2 {
			t.Fatal(version, err)
		}
		two := index("o1", email, "a@example.org")
		if got := all("a@example.org"); two == one || len(got) != 2 || got[0] != two || got[1] != one {
			t.Fatal("both versions are looked up, the new one is written")
		}
		wantFault(t, v.DropIndex(bg, "o1", email, 2), fault.Conflict, "index_current")
		v.Close()
		store.Close()
		v, _ = p.open(t)
		if got := all("a@example.org"); len(got) != 2 || got[0] != two || got[1] != one {
			t.Fatal("not the same after a restart")
		}
		check(t, v.DropIndex(bg, "o1", email, 1))
		if got := all("a@example.org"); len(got) != 1 || got[0] != two {
			t.Fatal("the old version is gone")
		}
		_, err = v.Destroy(bg, vault.OrgKey("o1"))
		check(t, err)
		_, err = v.Index(bg, "o1", email, "a@example.org")
		wantFault(t, err, fault.Gone, "erased")
		_, err = v.Index(bg, "o1", "no.such.field", "x")
		wantFault(t, err, fault.Internal, "field_undeclared")
	})
}

func TestMasterKey(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := at(t, url)
		v, store := p.open(t)
		_, conv := people(t, v, "o1")
		s := seal(t, v, conv, body, "r")
		v.Close()
		store.Close()
		path := filepath.Join(p.dir, "master.key")
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
		good, err := os.ReadFile(path)
		check(t, err)

		other := at(t, testdb.SQLite(t))
		other.open(t)
		wrong, err := os.ReadFile(filepath.Join(other.dir, "master.key"))
		check(t, err)
		for _, text := range [][]byte{wrong, {}, []byte("parley-master-1 AAAA\n"), good[:len(good)-4]} {
			check(t, os.WriteFile(path, text, 0o600))
			p.refused(t, "master_key_wrong")
		}
		check(t, os.Remove(path))
		p.refused(t, "master_key_missing")
		if _, err := os.Stat(path); err == nil {
			t.Fatal("a new master key was made over a key store in use")
		}
		check(t, os.WriteFile(path, good, 0o600))
		v, _ = p.open(t)
		opens(t, v, s, "o1")
	})
}

func TestSchemaIsDeclared(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		_, store := at(t, url).open(t)
		live, err := store.LiveSchema(bg)
		check(t, err)
		c, err := catalog.New(vault.Data, db.Data)
		check(t, err)
		for _, line := range c.CompareSchema(live) {
			t.Error(line)
		}
	})
}
