//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"parley/internal/db"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

func FuzzHeader(f *testing.F) {
	v, _ := at(f, testdb.SQLite(f)).open(f)
	_, conv := people(f, v, "o1")
	f.Add(seal(f, v, conv, body, "r").Bytes())
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add(append([]byte{1}, make([]byte, 64)...))
	f.Add(append(append([]byte{1}, make([]byte, 20)...), 255, 'x'))
	f.Fuzz(func(t *testing.T, b []byte) {
		took, wrote, err := vault.ReencodeHeader(b)
		if err == nil && !bytes.Equal(took, wrote) {
			t.Fatal("two spellings of one header")
		}
		s := vault.FromBytes(b).Bind("o1", body, "other row")
		if _, err := v.Open(as("o1"), s); err == nil && len(b) > 0 {
			t.Fatal("opened")
		}
		_, _ = s.Provenance()
	})
}

func FuzzLedgerLine(f *testing.F) {
	f.Add(vault.FirstLine())
	f.Add([]byte("1 2 3 #4"))
	f.Add([]byte("  #"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if errors.Is(vault.CheckLine(line), vault.ErrNotCanonical) {
			t.Fatal("two spellings of one line")
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add("parley-master-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("parley-ledger-head-1 00 7 0000000000000000000000000000000000000000000000000000000000000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = vault.ParseCopy(text)
		if raw, err := vault.ParseMaster([]byte(text)); err == nil && len(raw) != 32 {
			t.Fatal("a key of another length")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	v, _ := at(b, testdb.SQLite(b)).open(b)
	_, conv := people(b, v, "o1")
	plain := strings.Repeat("x", 200)
	p := vault.Provenance{Source: "visitor", Stage: "conversation", Notice: "3"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Seal(bg, conv, body, "0198c0de-0000-7000-8000-000000000001", plain, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	v, _ := at(b, testdb.SQLite(b)).open(b)
	_, conv := people(b, v, "o1")
	s, err := v.Seal(bg, conv, body, "0198c0de-0000-7000-8000-000000000001", strings.Repeat("x", 200), vault.Provenance{Source: "visitor"})
	check(b, err)
	ctx := as("o1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(ctx, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealParallel(b *testing.B) {
	v, _ := at(b, testdb.SQLite(b)).open(b)
	_, conv := people(b, v, "o1")
	plain := strings.Repeat("x", 200)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Seal(bg, conv, body, "0198c0de-0000-7000-8000-000000000001", plain, vault.Provenance{}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	v, _ := at(b, testdb.SQLite(b)).open(b)
	people(b, v, "o1")
	for b.Loop() {
		if _, err := v.Index(bg, "o1", email, "somebody@example.org"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreatePersonAndConversation(b *testing.B) {
	v, _ := at(b, testdb.SQLite(b)).open(b)
	check(b, v.EnsureOrg(bg, "o1"))
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p := vault.Key{Org: "o1", Kind: "person", ID: db.NewID()}
			c := vault.Key{Org: "o1", Kind: "conversation", ID: db.NewID()}
			if err := v.CreateMany(bg, []vault.New{{Key: p}, {Key: c, Parent: p}}); err != nil {
				b.Error(err)
			}
		}
	})
}
