package catalog_test

import (
	"strings"
	"testing"

	"parley/catalog"
)

func note() catalog.Table {
	return catalog.Table{
		Name: "note", Doc: "What somebody noted.", Subjects: catalog.Subjects{"person": catalog.Owner},
		Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, Erase: catalog.Delete,
		Keep: catalog.AtMost("made_at", catalog.Year), Key: catalog.KeyRule{Kind: "person", Column: "person"},
		Columns: catalog.Columns{"org": catalog.Scope, "id": catalog.Plain, "person": catalog.LinkTo("person"), "made_at": catalog.Plain,
			"body": catalog.Sealed(catalog.Content, "note.body")},
	}
}

var person = catalog.Table{
	Name: "person", Doc: "Somebody.", Subjects: catalog.Subjects{"id": catalog.Owner}, Purposes: catalog.For(catalog.Service),
	Basis: catalog.Contract, Erase: catalog.Delete, Keep: catalog.WithParent("as long as their notes"),
	Columns: catalog.Columns{"org": catalog.Scope, "id": catalog.Plain},
}

// What nobody decided is refused, and the refusal names it.
func TestUndecidedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*catalog.Table)
		says  string
	}{
		"doc":             {func(t *catalog.Table) { t.Doc = "" }, "Doc is missing"},
		"erasure":         {func(t *catalog.Table) { t.Erase = 0 }, "Erase is undecided"},
		"retention":       {func(t *catalog.Table) { t.Keep = catalog.Retention{} }, "Keep is undecided"},
		"trigger":         {func(t *catalog.Table) { t.Keep = catalog.AtMost("nowhere", catalog.Day) }, `trigger "nowhere"`},
		"two limits":      {func(t *catalog.Table) { t.Keep.Forever = "why not" }, "both limited and unlimited"},
		"basis":           {func(t *catalog.Table) { t.Basis = "" }, "Basis is undecided"},
		"purposes":        {func(t *catalog.Table) { t.Purposes = nil }, "Purposes is empty"},
		"unknown purpose": {func(t *catalog.Table) { t.Purposes = catalog.For("resale") }, `purpose "resale"`},
		"subjects":        {func(t *catalog.Table) { t.Subjects = nil }, "Subjects is empty"},
		"subject's link":  {func(t *catalog.Table) { t.Columns["person"] = catalog.Link }, "LinkTo(table)"},
		"lost subject":    {func(t *catalog.Table) { delete(t.Columns, "person") }, `subject "person" is not a column`},
		"column":          {func(t *catalog.Table) { t.Columns["mood"] = catalog.Column{} }, `column "mood" is undecided`},
		"category":        {func(t *catalog.Table) { t.Columns["body"] = catalog.Sealed("", "note.body") }, "no known category"},
		"field id":        {func(t *catalog.Table) { t.Columns["body"] = catalog.Sealed(catalog.Content, "Body") }, "field id"},
		"key class":       {func(t *catalog.Table) { t.Columns["body"] = t.Columns["body"].In("secret") }, "no known key class"},
		"key":             {func(t *catalog.Table) { t.Key = catalog.KeyRule{} }, "Key must name"},
		"no person":       {func(t *catalog.Table) { t.NoPerson = "nobody here" }, "NoPerson contradicts"},
		"link":            {func(t *catalog.Table) { t.Columns["site"] = catalog.LinkTo("site") }, `unknown table "site"`},
		"index":           {func(t *catalog.Table) { t.Columns["x"] = catalog.Index(catalog.Contact, "note.mail") }, `unknown field "note.mail"`},
		"SQL name":        {func(t *catalog.Table) { t.Columns["Body"] = catalog.Plain }, "not lower-case SQL"},
	} {
		t.Run(name, func(t *testing.T) {
			n := note()
			c.spoil(&n)
			_, err := catalog.New(catalog.Dataset{Domain: "note", Tables: []catalog.Table{person, n}})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the catalogue says %v, want %q", err, c.says)
			}
		})
	}
	if _, err := catalog.New(catalog.Dataset{Domain: "note", Tables: []catalog.Table{person, note(), note()}}); err == nil {
		t.Error("a table may be declared twice")
	}
	for name, set := range map[string]catalog.Dataset{
		"log key":   {LogKeys: []catalog.LogKey{{Name: "x"}}},
		"storage":   {Browser: []catalog.Storage{{Name: "x", Where: "cookie"}}},
		"recipient": {Recipients: []catalog.Recipient{{ID: "x"}}},
	} {
		if _, err := catalog.New(set); err == nil {
			t.Errorf("a half-declared %s passes", name)
		}
	}
}

// A planted column that nobody declared, and a declaration that lost its column, both show.
func TestSchemaIsComparedBothWays(t *testing.T) {
	c, err := catalog.New(catalog.Dataset{Domain: "note", Tables: []catalog.Table{person, note()}})
	if err != nil {
		t.Fatal(err)
	}
	whole := map[string][]string{"person": {"org", "id"}, "note": {"org", "id", "person", "made_at", "body"}}
	if got := c.CompareSchema(whole); len(got) != 0 {
		t.Errorf("the same schema differs: %v", got)
	}
	got := c.CompareSchema(map[string][]string{"note": {"org", "id", "person", "made_at", "mood"}, "stray": {"id"}})
	want := []string{"column note.body is declared and does not exist", "column note.mood exists and is not declared",
		"table person is declared and does not exist", "table stray exists and is not declared"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the differences are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLookUps(t *testing.T) {
	c, err := catalog.New(catalog.Dataset{Domain: "note", Tables: []catalog.Table{person, note()},
		LogKeys: []catalog.LogKey{{Name: "took", Doc: "A duration"}},
		Browser: []catalog.Storage{
			{Name: "c", Where: "cookie", Who: "member", Doc: "A cookie", Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "signs in"},
			{Name: "s", Where: "localStorage", Who: "member", Doc: "No cookie", Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "signs in"}}})
	if err != nil {
		t.Fatal(err)
	}
	f, ok := c.Field("note.body")
	if !ok || !f.Allows(catalog.Service) || f.Allows(catalog.Security) || f.Table.Name != "note" || f.Column != "body" {
		t.Errorf("note.body is %+v", f)
	}
	if _, ok := c.Cookie("c"); !ok {
		t.Error("a declared cookie is unknown")
	}
	if _, ok := c.Cookie("s"); ok {
		t.Error("what is not a cookie counts as one")
	}
	if !c.LogKey("took") || c.LogKey("email") {
		t.Error("log keys: want took and nothing else")
	}
}
