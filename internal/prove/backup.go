package prove

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"parley/internal/db"
)

func (r *run) keysDir() string { return filepath.Join(r.data, "keys") }

// isKeys reports whether a path of the data directory belongs to the keys, which are in no data backup: the key store's
// directory and the second place of the ledger's head.
func isKeys(name string) bool {
	return name == "keys" || strings.HasPrefix(name, "keys"+string(filepath.Separator)) || name == "ledger.head"
}

// backUp copies the data, not the keys, while the server is stopped: the data directory, and on PostgreSQL the tables. The
// key store's files are copied apart, to know which bytes stood there.
func (r *run) backUp(ctx context.Context) error {
	err := copyTree(r.data, r.backup, func(name string) bool { return !isKeys(name) })
	if err != nil {
		return err
	}
	if err := copyTree(r.keysDir(), r.keysBefore, func(string) bool { return true }); err != nil {
		return err
	}
	if r.sqlite() {
		return nil
	}
	return r.dataStore(ctx, "", func(d *db.DB) error {
		live, err := d.LiveSchema(ctx)
		if err != nil {
			return err
		}
		return d.Do(ctx, "prove.backup", func(tx *db.Tx) error {
			if _, err := tx.Exec(`CREATE SCHEMA ` + backupSchema); err != nil {
				return err
			}
			for name := range live {
				if _, err := tx.Exec(`CREATE TABLE ` + table{backupSchema, name}.sql() + ` AS TABLE ` + quoted(name)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// restore puts the backup over the data while the server is stopped. Keys and ledger stay as they are.
func (r *run) restore(ctx context.Context) error {
	entries, err := os.ReadDir(r.data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isKeys(e.Name()) {
			if err := os.RemoveAll(filepath.Join(r.data, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := copyTree(r.backup, r.data, func(string) bool { return true }); err != nil {
		return err
	}
	if r.sqlite() {
		return nil
	}
	return r.dataStore(ctx, "", func(d *db.DB) error { return restoreTables(ctx, d) })
}

// restoreTables empties the tables and fills them from the backup, those first that others refer to.
func restoreTables(ctx context.Context, d *db.DB) error {
	live, err := d.LiveSchema(ctx)
	if err != nil {
		return err
	}
	err = d.Do(ctx, "prove.empty", func(tx *db.Tx) error {
		for name := range live {
			if _, err := tx.Exec(`TRUNCATE ` + quoted(name) + ` CASCADE`); err != nil {
				return err
			}
		}
		return nil
	})
	for err == nil && len(live) > 0 {
		var failed error
		before := len(live)
		for name := range live {
			fill := d.Do(ctx, "prove.fill", func(tx *db.Tx) error {
				_, err := tx.Exec(`INSERT INTO ` + quoted(name) + ` SELECT * FROM ` + table{backupSchema, name}.sql())
				return err
			})
			if fill != nil {
				failed = fill // it refers to a table that is still empty
				continue
			}
			delete(live, name)
		}
		if len(live) == before {
			err = failed
		}
	}
	return err
}

// copyTree copies the files below from that keep wants, by their names within.
func copyTree(from, to string, keep func(name string) bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case name != "." && !keep(name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !d.Type().IsRegular():
			return nil // sockets are made again
		}
		return copyFile(path, filepath.Join(to, name))
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
