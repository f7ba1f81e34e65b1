package person

import (
	"database/sql"
	"errors"

	"parley/internal/db"
	"parley/vault"
)

func get(tx *db.Tx, org, id string) (Person, bool, error) {
	p := Person{Org: org, ID: id}
	var created int64
	err := tx.QueryRow(`SELECT created_at, source, locale, name, email FROM person WHERE org = $1 AND id = $2`, org, id).
		Scan(&created, &p.Source, &p.Locale, &p.Name, &p.Email)
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, false, nil
	}
	if err != nil {
		return Person{}, false, err
	}
	p.CreatedAt = db.FromMicros(created)
	p.Name, p.Email = p.Name.Bind(org, FieldName, id), p.Email.Bind(org, FieldEmail, id)
	return p, true, nil
}

// after returns up to limit persons' keys in the order of organisation and id, after the ones given.
func after(tx *db.Tx, org, id string, limit int) ([]vault.Key, error) {
	rows, err := tx.Query(`SELECT org, id FROM person WHERE (org, id) > ($1, $2) ORDER BY org, id LIMIT $3`, org, id, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []vault.Key
	for rows.Next() {
		if err := rows.Scan(&org, &id); err != nil {
			return nil, err
		}
		out = append(out, Key(org, id))
	}
	return out, rows.Err()
}
