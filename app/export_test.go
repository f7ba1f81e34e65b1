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
