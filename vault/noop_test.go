//go:build parley_noop_vault

package vault_test

import (
	"context"
	"testing"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/fault"
	"parley/vault"
)

// A build for measuring stores plain text; it still refuses undeclared purposes.
func TestNoOp(t *testing.T) {
	if !vault.NoOp {
		t.Fatal("the build does not say what it is")
	}
	ctx := context.Background()
	c, err := catalog.New(catalog.Dataset{Domain: "test", Tables: []catalog.Table{{
		Name: "t_person", Doc: "For tests.", Subjects: catalog.Subjects{"id": catalog.Owner}, Purposes: catalog.For(catalog.Service),
		Basis: catalog.Contract, Erase: catalog.Delete, Keep: catalog.WithParent("tests"),
		Key:     catalog.KeyRule{Kind: "person", Column: "id"},
		Columns: catalog.Columns{"id": catalog.Plain, "name": catalog.Sealed(catalog.Identity, "person.profile.name")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(ctx, vault.Options{Catalog: c, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	k := vault.Key{Org: "o", Kind: "person", ID: "p"}
	if err := v.Create(ctx, k, vault.Key{}); err != nil {
		t.Fatal(err)
	}
	s, err := v.Seal(ctx, k, "person.profile.name", "p", "plain", vault.Provenance{Source: "x"})
	if err != nil {
		t.Fatal(err)
	}
	in := actor.AsSystem(ctx, "test", "o", catalog.Service)
	if text, err := v.Open(in, s); err != nil || text.Text() != "plain" {
		t.Fatal(err)
	}
	if _, err := v.Open(actor.For(in, catalog.Support), s); !fault.Is(err, fault.Forbidden) {
		t.Fatal(err)
	}
	a, err := v.Index(ctx, "o", "person.profile.name", "x")
	if err != nil || len(a) != 32 {
		t.Fatal(err)
	}
	if _, err := v.Destroy(ctx, k); err != nil {
		t.Fatal(err)
	}
}
