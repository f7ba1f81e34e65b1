package app

import (
	"parley/account"
	"parley/catalog"
	"parley/chat"
	"parley/egress"
	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/bus/realtime"
	"parley/internal/db"
	"parley/person"
	"parley/privacy"
	"parley/vault"
	"parley/video"
)

//go:generate go run ../tools/gendata -o ../docs/data.md

// Datasets is everything that Parley declares: what the database, the key store, browsers, logs and recipients get to hold.
func Datasets() []catalog.Dataset {
	return append(DataDatasets(), KeyDatasets()...)
}

// DataDatasets is what the database holds, and what is not in a database at all.
func DataDatasets() []catalog.Dataset {
	return []catalog.Dataset{db.Data, bus.Data, realtime.Data, api.Data, egress.Data, account.Data, person.Data, chat.Data, video.Data, privacy.Data,
		console, logs}
}

// KeyDatasets is what the key store holds.
func KeyDatasets() []catalog.Dataset { return []catalog.Dataset{vault.Data} }

// Catalog is the validated whole.
func Catalog() (*catalog.Catalog, error) { return catalog.New(Datasets()...) }

// migrations are in the order of the walls: a domain's tables may refer to those above it.
func migrations() []db.Migrations {
	return []db.Migrations{bus.Migrations, api.Migrations, account.Migrations, person.Migrations, chat.Migrations, video.Migrations,
		privacy.Migrations}
}

var console = catalog.Dataset{Domain: "console", Browser: []catalog.Storage{{
	Name: "parley.theme", Where: "localStorage", Who: "member", Doc: "Light, dark, or as the system says.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "chooses a theme",
}, {
	Name: "parley.locale", Where: "localStorage", Who: "member", Doc: "The language of the console.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "chooses a language",
}, {
	Name: "parley.density", Where: "localStorage", Who: "member", Doc: "Whether lists are set closer.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "chooses closer lists",
}, {
	Name: "parley.shortcuts", Where: "localStorage", Who: "member", Doc: "That keyboard shortcuts are off.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "turns shortcuts off",
}}}

// logs are the keys that the server's own log records may carry (promise E3). None of them can hold what a person wrote.
var logs = catalog.Dataset{Domain: "log", LogKeys: []catalog.LogKey{
	{Name: "version", Doc: "Parley's version"},
	{Name: "listen", Doc: "The server's own address"},
	{Name: "url", Doc: "The server's own public address, or a page of its own"},
	{Name: "engine", Doc: "sqlite or postgres"},
	{Name: "data", Doc: "The data directory"},
	{Name: "took", Doc: "A duration"},
	{Name: "count", Doc: "A number of things"},
	{Name: "err", Doc: "Operation and kind of an error, never its input"},
	{Name: "op", Doc: "Operation that failed"},
	{Name: "kind", Doc: "Kind of an error or job"},
	{Name: "code", Doc: "Stable code of an error"},
	{Name: "org", Doc: "An organisation's id"},
	{Name: "channel", Doc: "A realtime channel: a kind and an id"},
	{Name: "type", Doc: "Type of an event"},
	{Name: "member", Doc: "A member's id"},
	{Name: "job", Doc: "A job's id"},
	{Name: "until", Doc: "When the server's certificate ends"},
	{Name: "signal", Doc: "What asked the server to stop"},
}}
