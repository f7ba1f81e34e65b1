package vault

import (
	"context"

	"parley/internal/db"
)

// OtherNodes returns the names of the nodes that share this key store and renewed their lease within its life. A row under this
// node's own name is what a killed process left behind: a name belongs to one data directory, which one process has to itself.
func (v *Vault) OtherNodes(ctx context.Context) (names []string, err error) {
	if v.lease == nil {
		return nil, nil
	}
	err = v.store.Read(ctx, "vault.OtherNodes", func(tx *db.Tx) error {
		names, err = queryStrings(tx, `SELECT name FROM vault_node WHERE id <> $1 AND name <> $2 AND renewed_at > $3 ORDER BY name`,
			v.lease.id, v.opt.Node, db.Micros(tx.Now().Add(-v.opt.Lease)))
		return err
	})
	return names, err
}
