package db_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

func TestMigrateInSteps(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		add(t, d, "1", "before")
		second := migrations("thing", thingSchema, "ALTER TABLE thing ADD COLUMN remark TEXT; UPDATE thing SET remark = 'old;' || CAST(size AS TEXT);")
		other := migrations("other", "CREATE TABLE other (id TEXT PRIMARY KEY)")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := d.Migrate(ctx, second, other); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var remark string
		var versions int
		if err := d.Read(ctx, "test.remark", func(tx *db.Tx) error {
			if err := tx.QueryRow("SELECT COUNT(*) FROM schema_migration WHERE applied_at > 0").Scan(&versions); err != nil {
				return err
			}
			return tx.QueryRow("SELECT remark FROM thing").Scan(&remark)
		}); err != nil || remark != "old;0" || versions != 3 {
			t.Errorf("remark %q, %d versions, %v", remark, versions, err)
		}

		err := d.Migrate(ctx, migrations("thing", thingSchema))
		if !fault.Is(err, fault.Unavailable) || fault.Of(err).Code != "schema_newer" {
			t.Errorf("an older release on a newer schema: %v", err)
		}
	})
}

func TestMigrateIsAllOrNothing(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, db.Config{URL: url})
		err := d.Migrate(ctx, migrations("thing", thingSchema), migrations("bad", "CREATE TABLE bad (id TEXT);\n\nCREATE TABLE bad (id TEXT)"))
		if err == nil || !strings.Contains(err.Error(), "bad schema 001, statement 2") {
			t.Errorf("Migrate: %v", err)
		}
		live, err := d.LiveSchema(ctx)
		if err != nil || len(live) != 0 {
			t.Errorf("half a migration: %v, %v", live, err)
		}
		for name, set := range map[string]db.Migrations{
			"gap":      {Domain: "x", FS: fstest.MapFS{"schema/002.sql": {Data: []byte("SELECT 1")}}},
			"name":     {Domain: "x", FS: fstest.MapFS{"schema/first.sql": {Data: []byte("SELECT 1")}}},
			"none":     {Domain: "x", FS: fstest.MapFS{}},
			"deferred": migrations("x", "CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)"),
		} {
			if err := d.Migrate(ctx, set); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
	})
}

func TestLiveSchemaMatchesTheCatalogue(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := open(t, db.Config{URL: url})
		if err := d.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		live, err := d.LiveSchema(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c, err := catalog.New(db.Data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := c.CompareSchema(live); len(diff) > 0 {
			t.Error(strings.Join(diff, "\n"))
		}
	})
}

// One text, the same order and the same strictness on both engines.
func TestDialects(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := things(t, url)
		for i, name := range []string{"b", "a", "B", "é", "e", "Z", "_", "1"} {
			add(t, d, string(rune('0'+i)), name)
		}
		if got := names(t, d); !slices.Equal(got, []string{"1", "B", "Z", "_", "a", "b", "e", "é"}) {
			t.Errorf("sorted %v", got)
		}
		live, err := d.LiveSchema(ctx)
		if err != nil || !slices.Equal(live["thing"], []string{"id", "name", "size", "open", "body"}) {
			t.Errorf("columns %v, %v", live["thing"], err)
		}
		err = d.Do(ctx, "test.strict", func(tx *db.Tx) error {
			_, err := tx.Exec("UPDATE thing SET size = $1", "many")
			return err
		})
		if err == nil {
			t.Error("text was stored as a number")
		}
	})
}
