package vault

import (
	"context"
	"errors"

	"parley/internal/db"
	"parley/internal/fault"
)

// reconcile compares ledger, the copy of its head and key store, and refuses to go on when one of them was restored from a
// time before the others. It runs under the directory's lock.
func (v *Vault) reconcile(ctx context.Context) error {
	known, err := v.knownHead(ctx)
	if err != nil {
		return err
	}
	copied, err := v.ledger.readCopy()
	if err != nil {
		return err
	}
	var beyond []entry // entries that the key store may not know
	chains := map[int64]chain{0: v.ledger.chain}
	err = v.ledger.locked(func() error {
		return v.ledger.catchUp(func(e entry) {
			if e.seq == known.seq || e.seq == copied.seq {
				chains[e.seq] = e.chain
			}
			if e.seq > known.seq {
				beyond = append(beyond, e)
			}
		})
	})
	if err != nil {
		return err
	}
	if err := v.compareHeads(known, copied, chains); err != nil {
		return err
	}
	if copied.seq < v.ledger.seq {
		if copied.seq < 0 && v.ledger.seq > 0 {
			v.log.Warn("the copy of the deletion ledger's head is missing and is written again")
		}
		v.ledger.copyHead()
	}
	return v.compareStore(ctx, beyond)
}

func (v *Vault) knownHead(ctx context.Context) (known headCopy, err error) {
	err = v.store.Do(ctx, "vault.Open", func(tx *db.Tx) error {
		for _, name := range [...]string{"evict", "ledger"} {
			if _, err := tx.Exec(`INSERT INTO vault_meta (name, n, value) VALUES ($1, 0, $2) ON CONFLICT (name) DO NOTHING`, name, []byte{}); err != nil {
				return err
			}
		}
		var sum []byte
		if err := tx.QueryRow(`SELECT n, value FROM vault_meta WHERE name = 'ledger'`).Scan(&known.seq, &sum); err != nil {
			return err
		}
		if known.seq > 0 && len(sum) != len(known.chain) {
			return errors.New("vault: the key store's copy of the ledger's head is damaged")
		}
		copy(known.chain[:], sum)
		return nil
	})
	return known, err
}

func (v *Vault) compareHeads(known, copied headCopy, chains map[int64]chain) error {
	switch {
	case copied.seq > v.ledger.seq:
		return older("the deletion ledger in " + v.opt.Dir + " ends before the copy of its head at " + v.opt.LedgerCopy +
			": the key store was restored from a backup that is older than the last erasure; put the newest ledger and key store back")
	case known.seq > v.ledger.seq:
		return fault.New(fault.Unavailable, "vault.Open", "ledger_older",
			"the deletion ledger in "+v.opt.Dir+" ends before what the key store has destroyed: put the newest ledger back")
	case copied.seq >= 0 && chains[copied.seq] != copied.chain:
		return tampered("it differs from the copy of its head at " + v.opt.LedgerCopy)
	case known.seq > 0 && chains[known.seq] != known.chain:
		return tampered("it differs from what the key store recorded")
	}
	return nil
}

// compareStore checks that the key store knows every destruction in the ledger: a decision is recorded there first.
func (v *Vault) compareStore(ctx context.Context, beyond []entry) error {
	subjects := make([]subject, len(beyond))
	for i, e := range beyond {
		subjects[i] = e.subject
	}
	var gone map[subject]bool
	err := v.store.Read(ctx, "vault.Open", func(tx *db.Tx) (err error) {
		gone, err = tombstones(tx, subjects)
		return err
	})
	if err != nil {
		return err
	}
	missing := map[subject]entry{}
	for _, e := range beyond {
		if !gone[e.subject] {
			missing[e.subject] = e
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if !v.opt.Replay {
		return older("the key store is older than the deletion ledger: it was restored from a backup and may hold keys that were destroyed since; " +
			"put the newest key store back")
	}
	return v.replayMissing(ctx, missing)
}

// replayMissing gives an older key store the decisions that it lacks. resume then carries them out.
func (v *Vault) replayMissing(ctx context.Context, missing map[subject]entry) error {
	v.log.Warn("the key store is older than the deletion ledger: what was destroyed since is destroyed again", "keys", len(missing))
	return v.store.Do(ctx, "vault.Open", func(tx *db.Tx) error {
		for s, e := range missing {
			if _, err := tx.Exec(insertTombstone, s[:], e.at); err != nil {
				return err
			}
		}
		return nil
	})
}
