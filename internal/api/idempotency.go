package api

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
)

const maxOnce = 128

// OnceFor is how long the answer to an Idempotency-Key is remembered.
const OnceFor = 24 * time.Hour

//go:embed schema/*.sql
var schema embed.FS

// Migrations creates the table of idempotency keys.
var Migrations = db.Migrations{Domain: "api", FS: schema}

// Once makes a thing at most once for the Idempotency-Key of the request in ctx. It claims id for the key and runs make
// in the same transaction; when the key was used before on that route by the same actor it runs nothing and returns the
// id of what was made then, and again = true. Without a key it always runs make.
func Once(ctx context.Context, tx *db.Tx, route, id string, create func() error) (made string, again bool, err error) {
	key := infoOf(ctx).once
	if key == "" {
		return id, false, create()
	}
	const op = "api.Once"
	act := actor.From(ctx)
	sum := sha256.Sum256([]byte(key))
	hash, now := hex.EncodeToString(sum[:]), tx.Now()
	if _, err := tx.Exec(`DELETE FROM api_idempotency WHERE org = $1 AND actor = $2 AND key_hash = $3 AND route = $4 AND created_at < $5`,
		act.Org, act.ID, hash, route, db.Micros(now.Add(-OnceFor))); err != nil {
		return "", false, fault.Wrap(fault.Internal, op, err)
	}
	n, err := tx.Exec(`INSERT INTO api_idempotency (org, actor, key_hash, route, result_id, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org, actor, key_hash, route) DO NOTHING`,
		act.Org, act.ID, hash, route, id, db.Micros(now))
	if err != nil {
		return "", false, fault.Wrap(fault.Internal, op, err)
	}
	if n == 1 {
		return id, false, create()
	}
	err = tx.QueryRow(`SELECT result_id FROM api_idempotency WHERE org = $1 AND actor = $2 AND key_hash = $3 AND route = $4`,
		act.Org, act.ID, hash, route).Scan(&made)
	return made, true, fault.Wrap(fault.Internal, op, err)
}

// WithOnce returns a context that carries an idempotency key, for callers that did not come through HTTP.
func WithOnce(ctx context.Context, key string) context.Context {
	i := *infoOf(ctx)
	i.once = key
	return context.WithValue(ctx, infoKey{}, &i)
}

// SweepOnce forgets idempotency keys older than OnceFor and returns how many they were.
func SweepOnce(ctx context.Context, d *db.DB) (n int64, err error) {
	err = d.Do(ctx, "api.SweepOnce", func(tx *db.Tx) error {
		n, err = tx.Exec(`DELETE FROM api_idempotency WHERE created_at < $1`, db.Micros(tx.Now().Add(-OnceFor)))
		return err
	})
	return n, fault.Wrap(fault.Internal, "api.SweepOnce", err)
}

// Data declares what the edge keeps, and the keys of its log.
var Data = catalog.Dataset{
	Domain: "api",
	Tables: []catalog.Table{{
		Name: "api_idempotency", Doc: "Which creating request of a member was already carried out, so that a repeated one makes nothing twice.",
		Subjects: catalog.Subjects{"actor": catalog.Actor}, Purposes: catalog.For(catalog.Operations), Basis: catalog.Contract,
		Erase: catalog.Delete, Keep: catalog.AtMost("created_at", 2*catalog.Day),
		Columns: catalog.Columns{
			"org": catalog.Scope, "actor": catalog.LinkTo("account_member"), "key_hash": catalog.Hash,
			"route":      catalog.Plain.Because("name of an operation"),
			"result_id":  catalog.Link,
			"created_at": catalog.Plain,
		},
	}},
	LogKeys: []catalog.LogKey{
		{Name: "request", Doc: "random id of a request"},
		{Name: "method", Doc: "HTTP method"},
		{Name: "route", Doc: "pattern of the route, never the path"},
		{Name: "status", Doc: "HTTP status"},
		{Name: "ms", Doc: "duration in milliseconds"},
		{Name: "op", Doc: "operation of the program that failed"},
		{Name: "kind", Doc: "kind of error"},
		{Name: "code", Doc: "stable error code"},
		{Name: "cause", Doc: "types and database codes of an error's causes, never their messages"},
		{Name: "stack", Doc: "functions and lines of a panic, without arguments"},
	},
}
