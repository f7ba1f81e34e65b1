package db

import "parley/catalog"

// Data declares the one table that this package owns.
var Data = catalog.Dataset{
	Domain: "db",
	Tables: []catalog.Table{{
		Name:     "schema_migration",
		Doc:      "Which schema files have been applied.",
		NoPerson: "version numbers only",
		Erase:    catalog.Retain,
		Keep:     catalog.WithParent("as long as the schema itself"),
		Columns: catalog.Columns{
			"domain": catalog.Plain, "version": catalog.Plain, "applied_at": catalog.Plain,
		},
	}},
}
