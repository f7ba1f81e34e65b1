package db_test

import (
	"context"
	"net"
	"testing"
	"testing/fstest"

	"parley/internal/db"
)

// open opens a database that is closed with the test.
func open(t testing.TB, cfg db.Config) *db.DB {
	t.Helper()
	cfg.Dial = (&net.Dialer{}).DialContext
	d, err := db.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// migrations makes a domain's schema files out of texts.
func migrations(domain string, texts ...string) db.Migrations {
	files := fstest.MapFS{}
	for i, text := range texts {
		files["schema/00"+string(rune('1'+i))+".sql"] = &fstest.MapFile{Data: []byte(text)}
	}
	return db.Migrations{Domain: domain, FS: files}
}

const thingSchema = `
-- Things are what the tests are about; this comment has a ; in it.
CREATE TABLE thing (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	size BIGINT NOT NULL DEFAULT 0,
	open BOOLEAN NOT NULL DEFAULT TRUE,
	body BLOB
);
CREATE TABLE part (
	thing TEXT NOT NULL REFERENCES thing (id),
	seq BIGINT NOT NULL,
	note TEXT, -- may be absent
	PRIMARY KEY (thing, seq)
) WITHOUT ROWID; -- clustered where that exists
CREATE INDEX part_note ON part (note) WHERE note IS NOT NULL;
`

// things opens a database with thingSchema.
func things(t testing.TB, url string) *db.DB {
	t.Helper()
	d := open(t, db.Config{URL: url})
	if err := d.Migrate(context.Background(), migrations("thing", thingSchema)); err != nil {
		t.Fatal(err)
	}
	return d
}

func insert(tx *db.Tx, id, name string) error {
	_, err := tx.Exec("INSERT INTO thing (id, name) VALUES ($1, $2)", id, name)
	return err
}

func add(t testing.TB, d *db.DB, id, name string) {
	t.Helper()
	if err := d.Do(context.Background(), "test.add", func(tx *db.Tx) error { return insert(tx, id, name) }); err != nil {
		t.Fatal(err)
	}
}

// names returns the names of all things, sorted by the database.
func names(t testing.TB, d *db.DB) []string {
	t.Helper()
	var out []string
	if err := d.Read(context.Background(), "test.names", func(tx *db.Tx) error {
		out = nil
		rows, err := tx.Query("SELECT name FROM thing ORDER BY name")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			out = append(out, name)
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// gate holds SQLite's writer inside a use case until release is called, so that what is queued meanwhile shares the next
// transaction. On PostgreSQL it merely occupies one connection.
func gate(t testing.TB, d *db.DB) (release func()) {
	t.Helper()
	in, out, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		done <- d.Do(context.Background(), "test.gate", func(*db.Tx) error {
			if first {
				first = false
				close(in)
				<-out
			}
			return nil
		})
	}()
	<-in
	return func() {
		close(out)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
