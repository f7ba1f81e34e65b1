package account

import (
	"context"

	"parley/internal/db"
	"parley/vault"
)

// ReplayErased repeats the erasures of members on a data store that was restored from a backup (promise F8), and returns how
// many they were. The server calls it before it answers.
func (s *Service) ReplayErased(ctx context.Context) (int, error) {
	const op = "account.ReplayErased"
	var ids []string
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		ids, err = memberIDs(tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	hits, err := s.vault.ReplayLedger(ctx, func(yield func(vault.Key) bool) {
		for _, id := range ids {
			if !yield(memberKey(id)) {
				return
			}
		}
	})
	if err != nil || len(hits) == 0 {
		return 0, err
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		for _, key := range hits {
			if _, err := tx.Exec(`DELETE FROM account_membership WHERE member = $1`, key.ID); err != nil {
				return err
			}
			if err := retireMember(tx, key.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(hits), s.eraseRetired(ctx)
}

func memberIDs(tx *db.Tx) ([]string, error) {
	rows, err := tx.Query(`SELECT id FROM account_member ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
