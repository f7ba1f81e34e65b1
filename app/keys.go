package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"parley/internal/db"
	"parley/internal/fault"
)

// keysBelong refuses to make new keys for old data: a keys directory that was not mounted would leave every stored word
// unreadable, and new ones sealed under keys that nobody looks for.
func (a *App) keysBelong(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(a.cfg.Keys, "master.key")); err == nil || !errors.Is(err, os.ErrNotExist) {
		return nil // the vault checks that it is the right one
	}
	live, err := a.data.LiveSchema(ctx)
	if err != nil || len(live["account_org"]) == 0 {
		return err
	}
	var orgs int64
	err = a.data.Read(ctx, "app.keysBelong", func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM account_org`).Scan(&orgs)
	})
	if err != nil || orgs == 0 {
		return err
	}
	return fault.New(fault.Unavailable, "app.keysBelong", "keys_missing", "The database holds organisations, but "+a.cfg.Keys+
		" has no master key. Put the keys directory back, or point --keys at it: without it nothing that is stored can be read.")
}
