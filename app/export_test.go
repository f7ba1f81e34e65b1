package app

import (
	"context"

	"parley/internal/db"
)

// PretendNewerSchema records a migration that this program does not know, as a newer one would have.
func (a *App) PretendNewerSchema(ctx context.Context) error {
	return a.data.Do(ctx, "test", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO schema_migration (domain, version, applied_at) VALUES ('chat', 999, 0)`)
		return err
	})
}

// SweepAged makes every first message's record and visitor's token old, sweeps, and returns how many rows of each are left.
func (a *App) SweepAged(ctx context.Context) (starts, tokens int64, err error) {
	err = a.data.Do(ctx, "test", func(tx *db.Tx) error {
		if _, err := tx.Exec(`UPDATE chat_start SET created_at = 1`); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE chat_visitor_token SET expires_at = 1`)
		return err
	})
	if err == nil {
		err = a.privacy.Sweep(ctx)
	}
	if err != nil {
		return 0, 0, err
	}
	err = a.data.Read(ctx, "test", func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM chat_start), (SELECT COUNT(*) FROM chat_visitor_token)`).Scan(&starts, &tokens)
	})
	return starts, tokens, err
}
