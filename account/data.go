package account

import (
	"embed"

	"parley/catalog"
	"parley/internal/db"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations creates the tables of accounts.
var Migrations = db.Migrations{Domain: "account", FS: schema}

// The personal fields, by the names that sealed values are bound to.
const (
	FieldEmail  catalog.FieldID = "account.member.email"
	FieldName   catalog.FieldID = "account.member.name"
	FieldSecret catalog.FieldID = "account.project.secret"
)

// Org is an organisation. Its name is that of a business or a body, shown to everybody who talks with it.
var orgTable = catalog.Table{
	Name: "account_org", Doc: "An organisation that uses this server.",
	NoPerson: "names of organisations; who works there is in account_membership",
	Erase:    catalog.Retain, Keep: catalog.WithParent("until the organisation is closed"),
	Columns: catalog.Columns{
		"id": catalog.Scope, "name": catalog.Plain.Because("the organisation's public name"), "created_at": catalog.Plain,
	},
}

// Member is somebody who works in one or more organisations. The keys are the member's own, outside any organisation.
var memberTable = catalog.Table{
	Name: "account_member", Doc: "Somebody who works in an organisation and signs in.",
	Subjects: catalog.Subjects{"id": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Security, catalog.Operations, catalog.Rights),
	Basis:    catalog.Contract, Erase: catalog.Delete,
	Keep: catalog.WithParent("as long as the member belongs to an organisation"),
	Key:  catalog.KeyRule{Kind: "member", Column: "id"},
	Columns: catalog.Columns{
		"id":            catalog.Plain,
		"email":         catalog.Sealed(catalog.Contact, FieldEmail),
		"email_index":   catalog.Index(catalog.Contact, FieldEmail),
		"name":          catalog.Sealed(catalog.Identity, FieldName),
		"password_hash": catalog.Hash,
		"locale":        catalog.Plain.Maybe().Because("a language, shared by many"),
		"created_at":    catalog.Plain,
	},
}

var membershipTable = catalog.Table{
	Name: "account_membership", Doc: "Which member works in which organisation, and what they may do there.",
	Subjects: catalog.Subjects{"member": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract, Erase: catalog.Delete,
	Keep: catalog.WithParent("as long as the member belongs to the organisation"),
	Columns: catalog.Columns{
		"org": catalog.Scope, "member": catalog.LinkTo("account_member"), "role": catalog.Plain.Because("one of three words"), "created_at": catalog.Plain,
	},
}

// Project is an organisation's API key with its secret. The secret opens the API and is sealed like a personal value.
var projectTable = catalog.Table{
	Name: "account_project", Doc: "An API key of an organisation, and its secret.",
	Subjects: catalog.Subjects{"created_by": catalog.Author},
	Purposes: catalog.For(catalog.Service, catalog.Security, catalog.Operations), Basis: catalog.Contract, Erase: catalog.Retain,
	Keep: catalog.WithParent("until the organisation deletes it"),
	Key:  catalog.KeyRule{Kind: "project", Column: "id"},
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "api_key": catalog.Plain.Because("a random public number"),
		"secret": catalog.Sealed(catalog.Credential, FieldSecret), "name": catalog.Plain.Because("names a program, not a person"),
		"created_by": catalog.LinkTo("account_member"), "created_at": catalog.Plain,
	},
}

var sessionTable = catalog.Table{
	Name: "account_session", Doc: "A member's sign-in on one browser. Only the token's hash is kept, no address and no browser name.",
	Subjects: catalog.Subjects{"member": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract, Erase: catalog.Delete,
	Keep: catalog.AtMost("created_at", SessionLife+catalog.Day),
	Columns: catalog.Columns{
		"id": catalog.Plain, "token_hash": catalog.Hash, "member": catalog.LinkTo("account_member"), "org": catalog.Link,
		"created_at": catalog.Plain, "seen_at": catalog.Plain.Because("to the minute, for the idle limit"), "expires_at": catalog.Plain,
	},
}

var setupTable = catalog.Table{
	Name: "account_setup", Doc: "A one-time invitation link or first-run code, by its hash.",
	Subjects: catalog.Subjects{"member": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract, Erase: catalog.Delete,
	Keep: catalog.AtMost("expires_at", catalog.Day),
	Columns: catalog.Columns{
		"token_hash": catalog.Hash, "member": catalog.LinkTo("account_member"), "org": catalog.Link, "expires_at": catalog.Plain,
	},
}

var installTable = catalog.Table{
	Name: "account_install", Doc: "Says that this server was set up.",
	NoPerson: "one row with a time", Erase: catalog.Retain, Keep: catalog.WithParent("the server's life"),
	Columns: catalog.Columns{"id": catalog.Plain, "done_at": catalog.Plain},
}

var attemptTable = catalog.Table{
	Name: "account_attempt", Doc: "How often sign-in was tried for an address since it last succeeded, known here or not.",
	NoPerson: "a hash of a keyed hash of what was typed, gone within a day; it links to no row",
	Erase:    catalog.Retain, Keep: catalog.AtMost("since", catalog.Day),
	Columns: catalog.Columns{"subject": catalog.Hash, "attempts": catalog.Plain, "since": catalog.Plain},
}

// Audit rows hold ids and words of the program; once the keys behind an id are gone, it leads nowhere.
var auditTable = catalog.Table{
	Name: "account_audit", Doc: "Who did what to which object, and for which purpose. Ids only.",
	Subjects: catalog.Subjects{"actor": catalog.Actor},
	Purposes: catalog.For(catalog.Security, catalog.Legal, catalog.Rights), Basis: catalog.LegitimateInterest, Erase: catalog.Retain,
	Keep: catalog.AtMost("at", AuditLife),
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "at": catalog.Plain, "actor_kind": catalog.Plain, "actor": catalog.LinkTo("account_member"),
		"action": catalog.Plain.Because("a word of the program"), "object": catalog.Link, "purpose": catalog.Plain,
	},
}

// Data declares what accounts keep.
var Data = catalog.Dataset{
	Domain: "account",
	Tables: []catalog.Table{orgTable, memberTable, membershipTable, projectTable, sessionTable, setupTable, installTable, attemptTable, auditTable},
	Browser: []catalog.Storage{
		{Name: CookieSecure, Where: "cookie", Who: "member", Doc: "Keeps a member signed in. Random; not readable by scripts; ends with the browser, after 12 idle hours or 7 days.",
			Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract, When: "signs in"},
		{Name: CookieLoopback, Where: "cookie", Who: "member", Doc: "The same on a server that is tried out on http://localhost.",
			Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract, When: "signs in"},
	},
	LogKeys: []catalog.LogKey{
		{Name: "setup_code", Doc: "one-time code for setting up a new server, shown to whoever reads its log"},
		{Name: "member", Doc: "id of a member"},
		{Name: "entries", Doc: "how many audit entries"},
	},
}
