package prove

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
)

// The schemas on PostgreSQL: the key store's own, and that of the backup which the proof makes.
const (
	keysSchema   = "parley_keys"
	backupSchema = "parley_proof_backup"
)

func (r *run) sqlite() bool { return r.opt.Database == "" }

// dataStore runs fn on the data store, or on a copy of it in dir. Nobody else may write meanwhile on SQLite.
func (r *run) dataStore(ctx context.Context, dir string, fn func(*db.DB) error) error {
	return r.store(ctx, db.Config{URL: "sqlite://" + filepath.Join(dir, "parley.db")}, fn)
}

// keyStore runs fn on the key store, or on a copy of it in dir.
func (r *run) keyStore(ctx context.Context, dir string, fn func(*db.DB) error) error {
	return r.store(ctx, db.Config{URL: "sqlite://" + filepath.Join(dir, "keys.db"), Schema: keysSchema, SecureDelete: true}, fn)
}

func (r *run) store(ctx context.Context, cfg db.Config, fn func(*db.DB) error) error {
	if !r.sqlite() {
		cfg.URL = r.opt.Database
	}
	cfg.Dial, cfg.MaxReaders = r.gate.Dialer("postgres"), 2
	d, err := db.Open(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(fn(d), d.Close())
}

// table is a table as it stands in a store.
type table struct{ schema, name string }

func (t table) sql() string {
	if t.schema == "" {
		return quoted(t.name)
	}
	return quoted(t.schema) + "." + quoted(t.name)
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tables lists every table of a store: on PostgreSQL those of every schema but the engine's own.
func tables(ctx context.Context, d *db.DB) (out []table, err error) {
	query := `SELECT '', name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name`
	if d.Engine() == db.Postgres {
		query = `SELECT table_schema::text, table_name::text FROM information_schema.tables
			WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE' ORDER BY 1, 2`
	}
	err = d.Read(ctx, "prove.tables", func(tx *db.Tx) error {
		out = nil
		return each(tx, query, nil, func(_ []string, row []any) error {
			out = append(out, table{fmt.Sprint(row[0]), fmt.Sprint(row[1])})
			return nil
		})
	})
	return out, err
}

// each runs a query and hands over its rows, with the names of their columns.
func each(tx *db.Tx, query string, args []any, fn func(columns []string, row []any) error) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := fn(columns, row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// record is a row by its columns.
type record map[string]any

// records reads the rows of a query.
func records(ctx context.Context, d *db.DB, query string, args ...any) (out []record, err error) {
	err = d.Read(ctx, "prove.records", func(tx *db.Tx) error {
		out = nil
		return each(tx, query, args, func(columns []string, row []any) error {
			rec := record{}
			for i, c := range columns {
				rec[c] = row[i]
			}
			out = append(out, rec)
			return nil
		})
	})
	return out, err
}

// text returns a column as text, "" when it is null.
func (r record) text(column string) string {
	switch v := r[column].(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// bytes returns a column's bytes, nil when it is null.
func (r record) bytes(column string) []byte {
	switch v := r[column].(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

// rows looks through every value of every table of a store, and names table, column and field of what it finds.
func (s *search) rows(ctx context.Context, d *db.DB, what string) (marked bool, err error) {
	list, err := tables(ctx, d)
	if err != nil {
		return false, err
	}
	for _, t := range list {
		recs, err := records(ctx, d, `SELECT * FROM `+t.sql())
		if err != nil {
			return false, err
		}
		hits := map[string]map[hit]bool{} // by column
		for _, rec := range recs {
			for column, value := range rec {
				if value == nil {
					continue
				}
				for h := range s.finder.in([]byte(rec.text(column))) {
					if hits[column] == nil {
						hits[column] = map[hit]bool{}
					}
					hits[column][h] = true
				}
			}
		}
		for _, column := range slices.Sorted(maps.Keys(hits)) {
			marked = s.leaks("table "+t.name+", column "+column, hits[column]) || marked
		}
	}
	s.found.again("I7", s.when, "no canary in any value of any table of "+what)
	return marked, nil
}

// tableValues looks through the rows of both stores, and on PostgreSQL through what the server tells of itself.
func (s *search) tableValues(ctx context.Context) error {
	if s.sqlite() {
		err := s.dataStore(ctx, s.data, func(d *db.DB) error { return s.markedRows(ctx, d, "the data store") })
		return errors.Join(err, s.keyStore(ctx, s.keysDir(), func(d *db.DB) error {
			_, err := s.rows(ctx, d, "the key store")
			return err
		}))
	}
	return s.dataStore(ctx, "", func(d *db.DB) error {
		return errors.Join(s.markedRows(ctx, d, "all schemas"), s.postgresTells(ctx, d))
	})
}

func (s *search) markedRows(ctx context.Context, d *db.DB, what string) error {
	marked, err := s.rows(ctx, d, what)
	if err == nil {
		s.sees("I7", marked, "a public word is found in the rows of "+what+", as it must be")
	}
	return err
}

// postgresTells looks through what PostgreSQL keeps beside the tables: samples for its planner, statements under way, and its
// files when they are on this machine and may be read.
func (s *search) postgresTells(ctx context.Context, d *db.DB) error {
	for _, query := range []string{`SELECT s::text FROM pg_stats s`, `SELECT a::text FROM pg_stat_activity a`} {
		recs, err := records(ctx, d, query)
		if err != nil {
			return err
		}
		var all []string
		for _, rec := range recs {
			for column := range rec {
				all = append(all, rec.text(column))
			}
		}
		if err := s.reads("PostgreSQL's statistics", strings.NewReader(strings.Join(all, "\n"))); err != nil {
			return err
		}
	}
	recs, err := records(ctx, d, `SELECT setting FROM pg_settings WHERE name = 'data_directory'`)
	if err != nil || len(recs) == 0 || recs[0].text("setting") == "" {
		s.found.again("I7", s.when, "PostgreSQL does not show this role where its files are; its rows, statistics and statements were read instead")
		return err
	}
	switch marked, err := s.files(recs[0].text("setting"), "PostgreSQL's directory"); {
	case err != nil: // another machine's, or another user's
		s.found.again("I7", s.when, "PostgreSQL's files cannot be read from here; its rows, statistics and statements were read instead")
	default:
		s.sees("I7", len(marked) > 0, "a public word is found in PostgreSQL's files, as it must be")
	}
	return nil
}

// refuseUsed refuses a PostgreSQL database that holds anything: the proof makes and drops tables, and destroys keys.
func (r *run) refuseUsed(ctx context.Context) error {
	if r.sqlite() {
		return nil
	}
	return r.store(ctx, db.Config{}, func(d *db.DB) error {
		list, err := tables(ctx, d)
		if err != nil || len(list) == 0 {
			return err
		}
		return fault.Bad("prove", "--database", "database_used", fmt.Sprintf(
			"this database holds tables (%s). The proof destroys keys and drops tables, so it wants an empty database of its own.", list[0].name))
	})
}

// dropAll leaves the database as empty as it was.
func (r *run) dropAll(ctx context.Context) error {
	if r.sqlite() {
		return nil
	}
	return r.store(ctx, db.Config{}, func(d *db.DB) error {
		list, err := tables(ctx, d)
		if err != nil {
			return err
		}
		return d.Do(ctx, "prove.drop", func(tx *db.Tx) error {
			for _, t := range list {
				if _, err := tx.Exec(`DROP TABLE IF EXISTS ` + t.sql() + ` CASCADE`); err != nil {
					return err
				}
			}
			for _, schema := range []string{keysSchema, backupSchema} {
				if _, err := tx.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// org returns the organisation that a row of the table belongs to; "" for the installation's own.
func org(t *catalog.Table, rec record) string {
	for name, col := range t.Columns {
		if col.Kind == catalog.KindScope {
			return rec.text(name)
		}
	}
	return ""
}
