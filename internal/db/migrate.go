package db

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"regexp"
	"strconv"

	"parley/internal/fault"
)

// Migrations are one domain's schema files: schema/001.sql, schema/002.sql, … in FS, without gaps. Applied ones never change.
//
// One text serves both engines. Types are written in upper case, everything else that could be mistaken for
// one in lower case: TEXT, BIGINT, BOOLEAN, BLOB, REAL (64 bits). Text sorts by its bytes on both engines. Tables are STRICT on SQLite; a table may end in
// WITHOUT ROWID, which means something to SQLite only. Deferred constraints are refused: in a group
// commit they would fail at somebody else's expense.
type Migrations struct {
	Domain string
	FS     fs.FS
}

const createLedger = `CREATE TABLE IF NOT EXISTS schema_migration (
	domain TEXT NOT NULL,
	version BIGINT NOT NULL,
	applied_at BIGINT NOT NULL,
	PRIMARY KEY (domain, version)
) WITHOUT ROWID`

// opMigrate names the one use case that may take as long as it needs.
const opMigrate = "db.Migrate"

// step is one file to apply.
type step struct {
	domain     string
	version    int64
	statements []string
}

// Migrate applies the files that have not been applied, all of them in one transaction. Several servers may call it at once.
// A database that has seen a newer version of a domain than its files know is refused: Unavailable, code "schema_newer".
func (d *DB) Migrate(ctx context.Context, sets ...Migrations) error {
	const op = opMigrate
	var steps []step
	for _, set := range sets {
		s, err := readSteps(set, d.be.dialect())
		if err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		steps = append(steps, s...)
	}
	return d.Do(ctx, op, func(tx *Tx) error {
		if err := d.lockSchema(tx); err != nil {
			return err
		}
		ledger, err := translate(createLedger, d.be.dialect())
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ledger[0]); err != nil {
			return err
		}
		seen, err := applied(tx)
		if err != nil {
			return err
		}
		if err := refuseNewer(op, seen, steps); err != nil {
			return err
		}
		for _, s := range steps {
			if s.version <= seen[s.domain] {
				continue
			}
			if err := s.apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockSchema keeps other servers from migrating until the transaction ends. SQLite's transaction is such a lock already.
func (d *DB) lockSchema(tx *Tx) error {
	if d.engine != Postgres {
		return nil
	}
	var schema string
	if err := tx.QueryRow("SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	h := fnv.New64a()
	h.Write([]byte("parley schema " + schema))
	var none any
	return tx.QueryRow("SELECT pg_advisory_xact_lock($1)", int64(h.Sum64())).Scan(&none)
}

func applied(tx *Tx) (map[string]int64, error) {
	rows, err := tx.Query("SELECT domain, MAX(version) FROM schema_migration GROUP BY domain")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := map[string]int64{}
	for rows.Next() {
		var domain string
		var version int64
		if err := rows.Scan(&domain, &version); err != nil {
			return nil, err
		}
		seen[domain] = version
	}
	return seen, rows.Err()
}

func refuseNewer(op string, seen map[string]int64, steps []step) error {
	known := map[string]int64{}
	for _, s := range steps {
		known[s.domain] = max(known[s.domain], s.version)
	}
	for domain, version := range known {
		if seen[domain] > version {
			return fault.New(fault.Unavailable, op, "schema_newer",
				fmt.Sprintf("the database was written by a newer release: %s has schema version %d, this release knows %d", domain, seen[domain], version))
		}
	}
	return nil
}

func (s step) apply(tx *Tx) error {
	for i, stmt := range s.statements {
		if _, err := tx.Exec(stmt); err != nil {
			return fmt.Errorf("%s schema %03d, statement %d: %w", s.domain, s.version, i+1, err)
		}
	}
	_, err := tx.Exec("INSERT INTO schema_migration (domain, version, applied_at) VALUES ($1, $2, $3)", s.domain, s.version, Micros(tx.Now()))
	return err
}

var fileName = regexp.MustCompile(`^([0-9]{3})\.sql$`)

// readSteps reads a domain's files. fs.ReadDir sorts by name, and names have a fixed width.
func readSteps(set Migrations, to dialect) ([]step, error) {
	entries, err := fs.ReadDir(set.FS, "schema")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", set.Domain, err)
	}
	var steps []step
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("%s: schema/%s is not of the form 001.sql", set.Domain, e.Name())
		}
		version, _ := strconv.ParseInt(m[1], 10, 64)
		if want := int64(len(steps) + 1); version != want {
			return nil, fmt.Errorf("%s: schema/%s stands where %03d.sql should", set.Domain, e.Name(), want)
		}
		text, err := fs.ReadFile(set.FS, path.Join("schema", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Domain, err)
		}
		statements, err := translate(string(text), to)
		if err != nil {
			return nil, fmt.Errorf("%s: schema/%s: %w", set.Domain, e.Name(), err)
		}
		steps = append(steps, step{set.Domain, version, statements})
	}
	return steps, nil
}

// LiveSchema returns the columns of every table that exists, in the database or in the configured PostgreSQL schema. The engines' own
// tables are left out.
func (d *DB) LiveSchema(ctx context.Context) (map[string][]string, error) {
	query := `SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY t.name, c.cid`
	if d.engine == Postgres {
		query = `SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c
			JOIN information_schema.tables t USING (table_schema, table_name)
			WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' ORDER BY 1, c.ordinal_position`
	}
	live := map[string][]string{}
	err := d.Read(ctx, "db.LiveSchema", func(tx *Tx) error {
		clear(live)
		rows, err := tx.Query(query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var table, column string
			if err := rows.Scan(&table, &column); err != nil {
				return err
			}
			live[table] = append(live[table], column)
		}
		return rows.Err()
	})
	return live, err
}
