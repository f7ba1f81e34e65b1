// Package testdb gives a test the real engines that Parley runs on: a fresh SQLite file, a fresh database on
// a real PostgreSQL, a private Redis. It imports nothing of Parley, so that any package's tests can use it. It
// never skips: what is missing fails the test with the name of the package to install ("make test" installs it).
//
// PostgreSQL: one cluster serves every test of a run when PARLEY_TEST_POSTGRES holds its URL (tools/withpostgres,
// which the Makefile uses, sets it); otherwise each test process starts one of its own with the system's binaries.
// Its fsync stays on, as an operator's does, unless PARLEY_TEST_PG_FAST=1 says that speed matters more.
package testdb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// EnvPostgres names the environment variable with the URL of a cluster that tests share. Its role must be
// allowed to create databases.
const EnvPostgres = "PARLEY_TEST_POSTGRES"

// waitLimit bounds how long a test waits for a server to start, or for a database to be made or dropped.
const waitLimit = 60 * time.Second

// Each runs fn as two subtests, "sqlite" and "postgres", each with the URL of a fresh database.
func Each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// SQLite returns the URL of a database file that does not exist yet, in a directory that goes with the test.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "parley.db")
}

// Postgres returns the URL of an empty database, dropped when the test ends. Its default collation is a
// linguistic one, so that SQL which forgets COLLATE "C" shows.
func Postgres(t testing.TB) string {
	t.Helper()
	admin, err := shared()
	if err != nil {
		t.Fatalf("testdb: PostgreSQL: %v", err)
	}
	name := "t_" + token()
	if err := run(admin, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("testdb: create database: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(admin, name); err != nil {
			t.Errorf("testdb: drop database: %v", err)
		}
	})
	return withDatabase(admin, name)
}

// Redis returns the URL of a redis-server that nobody else uses; it persists nothing and ends with the test.
func Redis(t testing.TB) string {
	t.Helper()
	r, err := StartRedis()
	if err != nil {
		t.Fatalf("testdb: Redis: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Errorf("testdb: stop redis-server: %v", err)
		}
	})
	return r.URL
}

// shared returns the URL of the cluster's maintenance database, and starts a cluster when nobody gave one. That
// cluster lives as long as the process: see keeper.
var shared = sync.OnceValues(func() (string, error) {
	if given := os.Getenv(EnvPostgres); given != "" {
		return given, nil
	}
	c, err := StartPostgres()
	if err != nil {
		return "", err
	}
	return c.URL, nil
})

// drop drops a database, and ends whoever is connected to it. PostgreSQL refuses that (42501) to a role that is no
// superuser for as long as an autovacuum worker is in the database, because that worker belongs to no role: it is
// asked again until the worker is done.
func drop(admin, name string) error {
	for end := time.Now().Add(waitLimit); ; time.Sleep(100 * time.Millisecond) {
		err := run(admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		var refused *pgconn.PgError
		if err == nil || !errors.As(err, &refused) || refused.Code != "42501" || time.Now().After(end) {
			return err
		}
	}
}

// run executes one statement outside any transaction.
func run(target, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func withDatabase(target, name string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	u.Path = "/" + name
	return u.String()
}

// token returns twelve random hexadecimal digits.
func token() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}
