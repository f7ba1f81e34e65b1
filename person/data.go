package person

import "parley/catalog"

// The personal fields, by their stable ids.
const (
	FieldName  catalog.FieldID = "person.name"
	FieldEmail catalog.FieldID = "person.email"
)

// Data declares what this domain keeps.
var Data = catalog.Dataset{Domain: "person", Tables: []catalog.Table{{
	Name: "person", Doc: "Somebody an organisation talks with: a visitor of a site for now. Name and e-mail are given freely or not at all.",
	Subjects: catalog.Subjects{"id": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Rights), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("created_at", 3*catalog.Year),
	Key: catalog.KeyRule{Kind: KeyKind, Column: "id"},
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "created_at": catalog.Plain,
		"source":      catalog.Plain.Because("where the person came from, one word of a closed list: widget"),
		"locale":      catalog.Plain.Because("language only, two letters"),
		"name":        catalog.Sealed(catalog.Identity, FieldName).Maybe(),
		"email":       catalog.Sealed(catalog.Contact, FieldEmail).Maybe(),
		"email_index": catalog.Index(catalog.Contact, FieldEmail).Maybe(),
	},
}}}
