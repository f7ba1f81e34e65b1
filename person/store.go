package person

import (
	"database/sql"
	"errors"

	"parley/internal/db"
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
