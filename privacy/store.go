package privacy

import (
	"database/sql"

	"parley/internal/db"
)

// insertAcknowledgement stores that somebody was told; the first time stands.
func insertAcknowledgement(tx *db.Tx, id string, who addressee, n Notice, surface string) error {
	_, err := tx.Exec(`INSERT INTO privacy_acknowledgement (org, id, person, member, notice, version, text_hash, lang, surface, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		who.org, id, orNull(who.person), orNull(who.member), n.ID, n.Version, n.Hash(), n.Lang, surface, db.Micros(tx.Now()))
	return err
}

func acknowledged(tx *db.Tx, who addressee, notice, version string) (bool, error) {
	column, id := "person", who.person
	if who.member != "" {
		column, id = "member", who.member
	}
	var n int64
	err := tx.QueryRow(`SELECT COUNT(*) FROM privacy_acknowledgement WHERE org = $1 AND `+column+` = $2 AND notice = $3 AND version = $4`,
		who.org, id, notice, version).Scan(&n)
	return n > 0, err
}

func orNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
