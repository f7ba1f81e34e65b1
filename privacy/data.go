package privacy

import (
	"embed"

	"parley/catalog"
	"parley/internal/db"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations is this domain's schema.
var Migrations = db.Migrations{Domain: "privacy", FS: schema}

// Texts are this domain's error messages, by language.
//
//go:embed texts/*.json
var Texts embed.FS

// AcknowledgementLife is how long it is kept that somebody was told: as long as a claim about it could be raised.
const AcknowledgementLife = 3 * catalog.Year

// Data declares what this domain keeps.
var Data = catalog.Dataset{Domain: "privacy", Tables: []catalog.Table{{
	Name: "privacy_acknowledgement", Doc: "Who was shown which version of a notice, in which language and where, and said so: evidence that they were told.",
	Subjects: catalog.Subjects{"person": catalog.Owner, "member": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Legal, catalog.Rights), Basis: catalog.LegalObligation,
	Erase: catalog.Delete, Keep: catalog.AtMost("at", AcknowledgementLife),
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain,
		"person":    catalog.LinkTo("person"),
		"member":    catalog.LinkTo("account_member"),
		"notice":    catalog.Plain.Because("a word of the program"),
		"version":   catalog.Plain.Because("a date and a number, the same for everybody"),
		"text_hash": catalog.Plain.Because("SHA-256 of a public text, the same for everybody"),
		"lang":      catalog.Plain.Because("one of the languages that the notice was written in"),
		"surface":   catalog.Plain.Because("one word of a closed list: widget, console, preflight"),
		"at":        catalog.Plain,
	},
}}}
