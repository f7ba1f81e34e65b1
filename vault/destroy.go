package vault

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"iter"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
)

// Receipt says what became of a destroyed key.
type Receipt struct {
	Subject   string    // keyed hash of the key's name, in hexadecimal: the ledger's entry
	LedgerSeq int64     // number of the ledger's entry
	At        time.Time // when the destruction was decided
	FinalAt   time.Time // when nothing that could restore the key exists any more: the end of the epoch, plus the life of key backups
}

// tombstone is a row of vault_destroyed.
type tombstone struct {
	at      int64
	seq     sql.NullInt64 // null until the key is gone
	finalAt sql.NullInt64
}

func (t *tombstone) read(tx *db.Tx, s subject) error {
	return tx.QueryRow(`SELECT at, ledger_seq, final_at FROM vault_destroyed WHERE hash = $1`, s[:]).Scan(&t.at, &t.seq, &t.finalAt)
}

// Destroy destroys a key and every key below it, in all versions. It returns after the ledger's entry and the deletion are on disk and every
// node has dropped the keys from memory, or lost its lease. Destroying again, or what never existed, gives a receipt too. An error
// means that it is not complete; it is completed by calling again, or at the next start. From the decision on nobody opens what was sealed under the key.
func (v *Vault) Destroy(ctx context.Context, key Key) (Receipt, error) {
	const op = "vault.Destroy"
	key = key.norm()
	if err := key.check(op); err != nil {
		return Receipt{}, err
	}
	if key == OrgKey(Install) {
		return Receipt{}, internal(op, "key_name", "the installation's own key is not destroyed")
	}
	if NoOp {
		return Receipt{At: v.opt.Now(), FinalAt: v.opt.Now()}, nil
	}
	s := v.master.subject(key)
	stone, fresh, err := v.condemn(ctx, key, s)
	if err != nil {
		return Receipt{}, err
	}
	decided := time.Now()
	if err := v.point("condemned"); err != nil {
		return Receipt{}, err
	}
	if !stone.seq.Valid {
		if stone, err = v.finish(ctx, s, stone, fresh); err != nil {
			return Receipt{}, err
		}
	}
	if err := v.settle(ctx); err != nil {
		return Receipt{}, err
	}
	if err := v.awaitNodes(ctx, decided); err != nil {
		return Receipt{}, err
	}
	return Receipt{
		Subject: hex.EncodeToString(s[:]), LedgerSeq: stone.seq.Int64,
		At: db.FromMicros(stone.at), FinalAt: db.FromMicros(stone.finalAt.Int64),
	}, nil
}

// condemn records the decision, so that nobody creates the key from now on, and then dooms it. It takes two commits: a creation that the
// second does not see yet was committed after the first, and sees its tombstone (see insert). fresh reports that nobody
// had decided before.
func (v *Vault) condemn(ctx context.Context, key Key, s subject) (stone tombstone, fresh bool, err error) {
	const op = "vault.Destroy"
	at := db.Micros(v.opt.Now())
	err = v.store.Do(ctx, op, func(tx *db.Tx) error {
		stone = tombstone{}
		n, err := tx.Exec(insertTombstone, s[:], at)
		if err != nil {
			return err
		}
		fresh = n == 1
		return stone.read(tx, s)
	})
	if err != nil || stone.seq.Valid {
		return stone, fresh, err
	}
	return stone, fresh, v.doom(ctx, key, s)
}

const insertTombstone = `INSERT INTO vault_destroyed (hash, root, at) VALUES ($1, $1, $2) ON CONFLICT (hash) DO NOTHING`

// doom marks the key's rows, so that nobody loads them any more, and calls on every node to drop them from memory.
func (v *Vault) doom(ctx context.Context, key Key, s subject) error {
	var targets []string
	err := v.store.Do(ctx, "vault.Destroy", func(tx *db.Tx) (err error) {
		targets, err = queryStrings(tx, `UPDATE vault_key SET doom = $1 WHERE org = $2 AND kind = $3 AND subject = $4 AND class = $5 RETURNING id`,
			s[:], key.Org, key.Kind, key.ID, string(key.Class))
		if err != nil || len(targets) == 0 {
			return err
		}
		return emit(tx, targets)
	})
	if err == nil {
		v.drop(targets)
	}
	return err
}

// finish carries out a decided destruction: ledger, then keys. It may be repeated at any point.
func (v *Vault) finish(ctx context.Context, s subject, stone tombstone, fresh bool) (tombstone, error) {
	const op = "vault.Destroy"
	e, err := v.ledger.append(s, db.FromMicros(stone.at), !fresh)
	if err != nil {
		return stone, err
	}
	if err := v.point("ledger"); err != nil {
		return stone, err
	}
	var below []Key
	err = v.store.Read(ctx, op, func(tx *db.Tx) (err error) {
		below, err = queryNames(tx, selectDown, s[:])
		return err
	})
	if err != nil {
		return stone, err
	}
	subjects := make([]subject, 0, len(below))
	for _, k := range below {
		if k.Kind != kindIndex {
			subjects = append(subjects, v.master.subject(k))
		}
	}
	finalAt := db.Micros(v.finalAt())
	err = v.store.Do(ctx, op, func(tx *db.Tx) error {
		if err := v.deleteKeys(tx, s, stone.at, subjects, e, finalAt); err != nil {
			return err
		}
		return stone.read(tx, s)
	})
	if err != nil {
		return stone, err
	}
	return stone, v.point("deleted")
}

// settle takes deleted bytes out of SQLite's write-ahead log too. An earlier call may have ended before it came to that.
func (v *Vault) settle(ctx context.Context) error {
	if v.store.Engine() != db.SQLite {
		return nil
	}
	return v.store.Checkpoint(ctx)
}

// deleteKeys deletes the doomed keys and what is below them, and records that in the key store.
func (v *Vault) deleteKeys(tx *db.Tx, s subject, at int64, below []subject, e entry, finalAt int64) error {
	for _, b := range below {
		_, err := tx.Exec(`INSERT INTO vault_destroyed (hash, root, at, ledger_seq, final_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (hash) DO NOTHING`, b[:], s[:], at, e.seq, finalAt)
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM vault_key WHERE doom = $1`, s[:]); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE vault_destroyed SET ledger_seq = $1, final_at = $2 WHERE hash = $3 AND ledger_seq IS NULL`, e.seq, finalAt, s[:]); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE vault_meta SET n = $1, value = $2 WHERE name = 'ledger' AND n < $1`, e.seq, e.chain[:])
	return err
}

// finalAt says when what is deleted now cannot be restored any more.
func (v *Vault) finalAt() time.Time {
	now := v.opt.Now()
	if v.store.Engine() == db.SQLite {
		return now.Add(v.opt.BackupLife)
	}
	end := v.epochs.now().from.Add(v.opt.EpochLife)
	if end.Before(now) { // the rotation is late; say nothing that may not hold
		end = now.Add(v.opt.EpochLife)
	}
	return end.Add(v.opt.BackupLife)
}

// Erased reports whether the key, or one that it was below when it was created, has been destroyed or is being destroyed. When the key
// store is away it says no: nothing may be deleted on its word then.
func (v *Vault) Erased(ctx context.Context, key Key) bool {
	if NoOp {
		return false
	}
	key = key.norm()
	subjects := []subject{v.master.subject(key), v.master.subject(OrgKey(key.Org))}
	var gone map[subject]bool
	err := v.store.Read(ctx, "vault.Erased", func(tx *db.Tx) (err error) {
		gone, err = tombstones(tx, subjects)
		return err
	})
	if err != nil {
		v.log.Warn("the key store did not say whether a key was destroyed")
	}
	return err == nil && len(gone) > 0
}

// ReplayLedger returns those of the candidates that were destroyed: by their own entry in the ledger, their organisation's, or
// as part of something destroyed. After a data store was restored its rows about them are deleted before the server answers.
func (v *Vault) ReplayLedger(ctx context.Context, candidates iter.Seq[Key]) (hits []Key, err error) {
	if NoOp {
		return nil, nil
	}
	listed := map[subject]bool{}
	err = v.ledger.locked(func() error {
		if err := v.ledger.catchUp(func(e entry) { v.ledger.seen[e.subject] = e.seq }); err != nil {
			return err
		}
		return v.ledger.each(func(e entry) { listed[e.subject] = true })
	})
	if err != nil {
		return nil, err
	}
	var open []Key
	var subjects []subject
	flush := func() error {
		var gone map[subject]bool
		err := v.store.Read(ctx, "vault.ReplayLedger", func(tx *db.Tx) (err error) {
			gone, err = tombstones(tx, subjects)
			return err
		})
		for i, s := range subjects {
			if gone[s] {
				hits = append(hits, open[i])
			}
		}
		open, subjects = open[:0], subjects[:0]
		return err
	}
	for k := range candidates {
		k = k.norm()
		s := v.master.subject(k)
		if listed[s] || listed[v.master.subject(OrgKey(k.Org))] {
			hits = append(hits, k)
			continue
		}
		open, subjects = append(open, k), append(subjects, s)
		if len(open) == maxIn {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return hits, flush()
}

// resume completes the destructions that were decided and not carried out.
func (v *Vault) resume(ctx context.Context) error {
	pending, err := v.pending(ctx)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		if err := v.doomPending(ctx, pending); err != nil {
			return err
		}
		for s, stone := range pending {
			if _, err := v.finish(ctx, s, stone, false); err != nil {
				return err
			}
		}
		v.log.Info("destructions that an earlier run began were completed", "keys", len(pending))
		if err := v.awaitNodes(ctx, time.Now()); err != nil {
			return err
		}
	}
	return v.settle(ctx)
}

func (v *Vault) pending(ctx context.Context) (map[subject]tombstone, error) {
	pending := map[subject]tombstone{}
	err := v.store.Read(ctx, "vault.Open", func(tx *db.Tx) error {
		clear(pending)
		rows, err := tx.Query(`SELECT hash, at FROM vault_destroyed WHERE ledger_seq IS NULL`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var h []byte
			var t tombstone
			if err := rows.Scan(&h, &t.at); err != nil {
				return err
			}
			if len(h) != len(subject{}) {
				return errors.New("vault: a tombstone has the wrong length")
			}
			pending[subject(h)] = t
		}
		return rows.Err()
	})
	return pending, err
}

// doomPending dooms the keys of pending destructions. A tombstone does not say whose it is, so every key is asked.
func (v *Vault) doomPending(ctx context.Context, pending map[subject]tombstone) error {
	var names []Key
	err := v.store.Read(ctx, "vault.Open", func(tx *db.Tx) (err error) {
		names, err = queryNames(tx, `SELECT DISTINCT org, kind, subject, class FROM vault_key`)
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range names {
		s := v.master.subject(k)
		if _, ok := pending[s]; !ok {
			continue
		}
		if err := v.doom(ctx, k, s); err != nil {
			return err
		}
	}
	return nil
}

func older(text string) error {
	return fault.New(fault.Unavailable, "vault.Open", "keystore_older", text)
}
