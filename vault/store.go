package vault

import (
	"database/sql"
	"strconv"
	"strings"

	"parley/internal/db"
)

// keyRow is a row of vault_key.
type keyRow struct {
	id      string
	org     string
	parent  sql.NullString
	kind    string
	subject string
	class   string
	version int64
	epoch   int64
	wrapped []byte
	doom    []byte
}

const keyColumns = `id, org, parent, kind, subject, class, version, epoch, wrapped, doom`

func (r *keyRow) scan(rows *sql.Rows) error {
	return rows.Scan(&r.id, &r.org, &r.parent, &r.kind, &r.subject, &r.class, &r.version, &r.epoch, &r.wrapped, &r.doom)
}

// selectUp reads the keys that where selects, and all of their ancestors.
func selectUp(where string) string {
	return `WITH RECURSIVE up (` + keyColumns + `) AS (
		SELECT ` + keyColumns + ` FROM vault_key WHERE ` + where + `
		UNION
		SELECT k.id, k.org, k.parent, k.kind, k.subject, k.class, k.version, k.epoch, k.wrapped, k.doom
		FROM vault_key k JOIN up ON k.org = up.org AND k.id = up.parent
	) SELECT ` + keyColumns + ` FROM up`
}

// selectDown reads the names of the keys below those that are doomed by the hash $1, themselves included.
const selectDown = `WITH RECURSIVE down (id, org, kind, subject, class) AS (
		SELECT id, org, kind, subject, class FROM vault_key WHERE doom = $1
		UNION
		SELECT k.id, k.org, k.kind, k.subject, k.class FROM vault_key k JOIN down ON k.org = down.org AND k.parent = down.id
	) SELECT org, kind, subject, class FROM down`

const insertKey = `INSERT INTO vault_key (` + keyColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)
	ON CONFLICT (org, kind, subject, class, version) DO NOTHING`

func queryKeys(tx *db.Tx, query string, args ...any) ([]keyRow, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []keyRow
	for rows.Next() {
		var r keyRow
		if err := r.scan(rows); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func queryNames(tx *db.Tx, query string, args ...any) ([]Key, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Key
	for rows.Next() {
		var k Key
		if err := rows.Scan(&k.Org, &k.Kind, &k.ID, &k.Class); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

func queryStrings(tx *db.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// inSizes are the lengths of the IN lists that queries have, so that few statements are prepared.
var inSizes = [...]int{1, 4, 16, 64, 256}

const maxIn = 256

// in returns a list of parameters after the first `after` ones, and the values padded to its length. There are 1 to maxIn values.
func in(after int, values []any) (list string, padded []any) {
	size := maxIn
	for _, s := range inSizes {
		if len(values) <= s {
			size = s
			break
		}
	}
	var b strings.Builder
	b.WriteByte('(')
	for i := range size {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(after + i + 1))
	}
	b.WriteByte(')')
	padded = append(make([]any, 0, size), values...)
	for len(padded) < size {
		padded = append(padded, values[len(values)-1])
	}
	return b.String(), padded
}

// tombstones returns which of the subjects have been destroyed.
func tombstones(tx *db.Tx, subjects []subject) (map[subject]bool, error) {
	gone := map[subject]bool{}
	for len(subjects) > 0 {
		n := min(maxIn, len(subjects))
		args := make([]any, n)
		for i := range n {
			args[i] = subjects[i][:]
		}
		if err := addTombstones(tx, args, gone); err != nil {
			return nil, err
		}
		subjects = subjects[n:]
	}
	return gone, nil
}

func addTombstones(tx *db.Tx, hashes []any, gone map[subject]bool) error {
	list, args := in(0, hashes)
	rows, err := tx.Query(`SELECT hash FROM vault_destroyed WHERE hash IN `+list, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h []byte
		if err := rows.Scan(&h); err != nil {
			return err
		}
		gone[subject(h)] = true
	}
	return rows.Err()
}

// emit adds entries to the eviction log (an empty target only wants to be acknowledged). The counter's row makes commits follow
// the numbers, so that a reader never misses one.
func emit(tx *db.Tx, targets []string) error {
	var seq int64
	err := tx.QueryRow(`UPDATE vault_meta SET n = n + $1 WHERE name = 'evict' RETURNING n`, int64(len(targets))).Scan(&seq)
	if err != nil {
		return err
	}
	at := db.Micros(tx.Now())
	for i, t := range targets {
		_, err := tx.Exec(`INSERT INTO vault_evict (seq, target, at) VALUES ($1, $2, $3)`, seq-int64(len(targets)-1-i), t, at)
		if err != nil {
			return err
		}
	}
	_, err = tx.Exec(`DELETE FROM vault_evict WHERE at < $1`, at-evictKept.Microseconds())
	return err
}
