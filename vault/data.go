package vault

import (
	"embed"

	"parley/catalog"
	"parley/internal/db"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations are the key store's. Open applies them itself.
var Migrations = db.Migrations{Domain: "vault", FS: schema}

// Data declares the key store's tables. They stand in the key store's database, not in the data store.
var Data = catalog.Dataset{
	Domain: "vault",
	Tables: []catalog.Table{keyTable, destroyedTable, metaTable, epochTable, evictTable, nodeTable, indexTable},
	LogKeys: []catalog.LogKey{
		{Name: "epoch", Doc: "Number of a key epoch."},
		{Name: "ledger_seq", Doc: "Number of an entry of the deletion ledger."},
		{Name: "keys", Doc: "How many keys an operation of the vault touched."},
	},
}

// Key rows name their subject by a random id, of whatever kind, and hold nothing it said. No walk over the data store finds them: they are in a
// store of their own, and Destroy deletes them ahead of every other row.
var keyTable = catalog.Table{
	Name: "vault_key", Doc: "A wrapped key: of an organisation, a person, a member, a thing such as a conversation, or a blind index.",
	NoPerson: "random ids and wrapped random keys; erasing a subject destroys its keys first, through the vault",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("until its subject is erased"),
	Columns: catalog.Columns{
		"id": catalog.Plain, "org": catalog.Scope, "parent": catalog.Link, "kind": catalog.Plain, "subject": catalog.Link,
		"class": catalog.Plain, "version": catalog.Plain, "epoch": catalog.Plain,
		"wrapped": catalog.Plain.Because("a random key, encrypted under its parent's and the epoch's"),
		"doom":    catalog.Hash,
	},
}

var destroyedTable = catalog.Table{
	Name: "vault_destroyed", Doc: "What was destroyed, by keyed hash, so that it is never made again.",
	NoPerson: "hashes under a key outside the database: nobody can be found by them, one can only ask whether a known id is among them",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("as long as any backup could bring the erased back"),
	Columns: catalog.Columns{
		"hash": catalog.Hash, "root": catalog.Hash, "at": catalog.Plain, "ledger_seq": catalog.Plain, "final_at": catalog.Plain,
	},
}

var metaTable = catalog.Table{
	Name: "vault_meta", Doc: "The key store's own marks: check of the master key, counters, the ledger's head.",
	NoPerson: "numbers and check values only",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("the key store's life"),
	Columns:  catalog.Columns{"name": catalog.Plain, "n": catalog.Plain, "value": catalog.Plain},
}

var epochTable = catalog.Table{
	Name: "vault_epoch", Doc: "The key epochs in use.",
	NoPerson: "numbers and times only",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("until its keys are re-wrapped, daily on PostgreSQL"),
	Columns:  catalog.Columns{"n": catalog.Plain, "created_at": catalog.Plain},
}

var evictTable = catalog.Table{
	Name: "vault_evict", Doc: "Key ids that every node drops from memory.",
	NoPerson: "ids of keys that are gone or were replaced; nothing links them to anyone",
	Erase:    catalog.Retain,
	Keep:     catalog.AtMost("at", catalog.Day),
	Columns:  catalog.Columns{"seq": catalog.Plain, "target": catalog.Plain, "at": catalog.Plain},
}

var nodeTable = catalog.Table{
	Name: "vault_node", Doc: "The running nodes that may hold open keys.",
	NoPerson: "processes of the operator",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("the node's run"),
	Columns: catalog.Columns{
		"id": catalog.Plain, "name": catalog.Plain, "beat": catalog.Plain, "acked": catalog.Plain, "renewed_at": catalog.Plain,
	},
}

var indexTable = catalog.Table{
	Name: "vault_index", Doc: "Which version of a field's blind index is written.",
	NoPerson: "names of fields and version numbers",
	Erase:    catalog.Retain,
	Keep:     catalog.WithParent("the organisation's life"),
	Columns:  catalog.Columns{"org": catalog.Scope, "field": catalog.Plain, "version": catalog.Plain},
}
