package bus

import (
	"embed"

	"parley/catalog"
	"parley/internal/db"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations are the bus's schema files.
var Migrations = db.Migrations{Domain: "bus", FS: schema}

// Data declares the bus's table and the keys of its log lines.
var Data = catalog.Dataset{
	Domain: "bus",
	Tables: []catalog.Table{{
		Name:     "bus_job",
		Doc:      "Durable jobs that wait, run, or are to be tried again.",
		NoPerson: "arguments are ids of things, and errors are stable codes",
		Erase:    catalog.Retain,
		Keep:     catalog.WithParent("until the job has succeeded; one that keeps failing stays in sight"),
		Columns: catalog.Columns{
			"id": catalog.Plain, "kind": catalog.Plain,
			"unique_key": catalog.Plain.Because("made of ids"), "args": catalog.Plain.Because("ids only"),
			"every_us": catalog.Plain, "run_at": catalog.Plain, "lease_until": catalog.Plain, "lease_by": catalog.Plain,
			"attempt": catalog.Plain, "again": catalog.Plain,
			"last_error": catalog.Plain.Because("a stable code, never a message"), "created_at": catalog.Plain,
		},
	}},
	LogKeys: []catalog.LogKey{
		{Name: "job", Doc: "id of a durable job"},
		{Name: "kind", Doc: "kind of a durable job"},
		{Name: "attempt", Doc: "how often a job has been tried"},
		{Name: "code", Doc: "stable code of an error"},
		{Name: "op", Doc: "operation that failed"},
		{Name: "count", Doc: "how many"},
		{Name: "stack", Doc: "where a panic happened: functions and lines, no values"},
	},
}
