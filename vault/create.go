package vault

import (
	"context"
	"errors"
	"slices"

	"parley/internal/db"
	"parley/internal/fault"
)

// EnsureOrg creates an organisation's key unless it exists. It is durable when it returns. Gone (code "erased") when the
// organisation was destroyed.
func (v *Vault) EnsureOrg(ctx context.Context, org string) error {
	return v.createMany(ctx, "vault.EnsureOrg", []New{{Key: OrgKey(org)}})
}

// Create creates a key below parent; a zero parent means the organisation. The key is durable when Create returns, so the rows that
// use it may follow. Creating it again does nothing. Gone (code "erased") when the key or one above it was destroyed;
// Conflict (code "key_parent") when it exists below another parent.
func (v *Vault) Create(ctx context.Context, key, parent Key) error {
	return v.CreateMany(ctx, []New{{key, parent}})
}

// CreateMany is Create for several keys in one commit; a key may be the parent of a later one.
func (v *Vault) CreateMany(ctx context.Context, keys []New) error {
	const op = "vault.Create"
	todo := slices.Clone(keys)
	for i, n := range todo {
		if n.Key.Kind == kindOrg {
			return internal(op, "key_name", "an organisation's key is made by EnsureOrg")
		}
		if n.Parent == (Key{}) {
			todo[i].Parent = OrgKey(n.Key.Org)
		}
	}
	return v.createMany(ctx, op, todo)
}

func (v *Vault) createMany(ctx context.Context, op string, keys []New) error {
	if NoOp {
		return nil
	}
	if err := v.leased(op); err != nil {
		return err
	}
	names := make([]Key, 0, 2*len(keys))
	todo := make([]New, len(keys))
	for i, n := range keys {
		todo[i].Key = n.Key.norm()
		if err := todo[i].Key.check(op); err != nil {
			return err
		}
		names = append(names, todo[i].Key)
		if n.Parent != (Key{}) {
			todo[i].Parent = n.Parent.norm()
			if err := todo[i].checkParent(op); err != nil {
				return err
			}
			names = append(names, todo[i].Parent)
		}
	}
	for range tries {
		err := v.createOnce(ctx, op, todo, names)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
	return fault.New(fault.Unavailable, op, "busy", "the same keys are being created elsewhere")
}

func (n New) checkParent(op string) error {
	if err := n.Parent.check(op); err != nil {
		return err
	}
	if n.Parent.Org != n.Key.Org {
		return internal(op, "key_parent", "a key and its parent belong to one organisation")
	}
	if n.Parent.Kind != kindOrg && n.Parent.Class != n.Key.Class {
		return internal(op, "key_class", "a key has its parent's class")
	}
	return nil
}

// createOnce creates what does not exist. errAgain: another caller or node was faster, or the epoch ended.
func (v *Vault) createOnce(ctx context.Context, op string, todo []New, names []Key) error {
	gen := v.gen.Load()
	known, err := v.findNames(ctx, op, names)
	if err != nil {
		return err
	}
	ep := v.epochs.now()
	var rows []*keyRow
	var made []*openKey
	for _, n := range todo {
		var parent *openKey
		if n.Parent != (Key{}) {
			if parent = known[n.Parent]; parent == nil {
				return v.missing(ctx, op, n.Parent)
			}
		}
		if have := known[n.Key]; have != nil {
			if err := v.checkBelow(ctx, op, have, n.Parent); err != nil {
				return err
			}
			continue
		}
		k, r, err := v.newKey(n.Key, 1, parent, ep)
		if err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		known[n.Key] = k
		made, rows = append(made, k), append(rows, r)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := v.insert(ctx, op, rows, ep, nil); err != nil {
		return err
	}
	v.keep(made, gen) // if something was destroyed meanwhile, the next use loads them
	return nil
}

// checkBelow refuses a key that exists below another parent than the one of the given name.
func (v *Vault) checkBelow(ctx context.Context, op string, k *openKey, parent Key) error {
	if len(k.above) == 0 {
		return nil // an organisation's
	}
	p, err := v.keyByID(ctx, op, k.above[0])
	if err == nil && p.name != parent {
		err = fault.New(fault.Conflict, op, "key_parent", "the key exists below another parent")
	}
	return err
}

func (v *Vault) missing(ctx context.Context, op string, name Key) error {
	if v.Erased(ctx, name) {
		return erased(op)
	}
	return internal(op, "key_unknown", "the parent key was never created")
}

// insert writes new key rows, and whatever more belongs in their commit. Nothing is written if one of them was destroyed before
// or exists (errAgain).
func (v *Vault) insert(ctx context.Context, op string, rows []*keyRow, ep epoch, more func(*db.Tx) error) error {
	subjects := make([]subject, len(rows))
	for i, r := range rows {
		subjects[i] = v.master.subject(r.name())
	}
	refused := func(tx *db.Tx) error {
		gone, err := tombstones(tx, subjects)
		if err == nil && len(gone) > 0 {
			err = errErased
		}
		return err
	}
	err := v.store.Do(ctx, op, func(tx *db.Tx) error {
		if err := refused(tx); err != nil {
			return err
		}
		for _, r := range rows {
			n, err := tx.Exec(insertKey, r.id, r.org, r.parent, r.kind, r.subject, r.class, r.version, r.epoch, r.wrapped)
			if err != nil {
				return err
			}
			if n == 0 {
				return errAgain
			}
		}
		if more != nil {
			return more(tx)
		}
		return nil
	})
	if err == nil && v.store.Engine() == db.Postgres {
		// A destruction that was decided while this transaction ran did not see its rows, but its tombstone shows now.
		err = v.store.Read(ctx, op, refused)
		if errors.Is(err, errErased) {
			err = errors.Join(v.uninsert(ctx, op, rows), err)
		}
	}
	switch {
	case err == nil || errors.Is(err, errAgain):
		return err
	case errors.Is(err, errErased):
		return erased(op)
	}
	// The epoch may have ended, or the parent gone, between reading and writing.
	if rerr := v.epochs.refresh(ctx); rerr == nil && v.epochs.now().n != ep.n {
		return errAgain
	}
	if gone, gerr := v.parentGone(ctx, op, rows); gerr == nil && gone {
		return erased(op)
	}
	return err
}

func (v *Vault) uninsert(ctx context.Context, op string, rows []*keyRow) error {
	return v.store.Do(ctx, op, func(tx *db.Tx) error {
		for _, r := range rows {
			if _, err := tx.Exec(`DELETE FROM vault_key WHERE id = $1`, r.id); err != nil {
				return err
			}
		}
		return nil
	})
}

// parentGone reports whether a parent of the rows, other than one among them, no longer exists.
func (v *Vault) parentGone(ctx context.Context, op string, rows []*keyRow) (gone bool, err error) {
	own := map[string]bool{}
	for _, r := range rows {
		own[r.id] = true
	}
	err = v.store.Read(ctx, op, func(tx *db.Tx) error {
		gone = false
		for _, r := range rows {
			if !r.parent.Valid || own[r.parent.String] {
				continue
			}
			var n int64
			if err := tx.QueryRow(`SELECT COUNT(*) FROM vault_key WHERE id = $1 AND doom IS NULL`, r.parent.String).Scan(&n); err != nil {
				return err
			}
			gone = gone || n == 0
		}
		return nil
	})
	return gone, err
}

// Renew makes a new version of a key: values are sealed under it from now on, those sealed before stay readable. It returns
// the new version.
func (v *Vault) Renew(ctx context.Context, key Key) (int, error) {
	const op = "vault.Renew"
	if NoOp {
		return 1, nil
	}
	key = key.norm()
	if key.Kind == kindOrg || key.Kind == kindIndex {
		return 0, internal(op, "key_name", "only keys that were created can be renewed")
	}
	for range tries {
		gen := v.gen.Load()
		have, err := v.keyByName(ctx, op, key)
		if err != nil {
			return 0, err
		}
		parent, err := v.keyByID(ctx, op, have.above[0])
		if err != nil {
			return 0, err
		}
		ep := v.epochs.now()
		k, r, err := v.newKey(key, int64(have.version)+1, parent, ep)
		if err != nil {
			return 0, fault.Wrap(fault.Internal, op, err)
		}
		err = v.insert(ctx, op, []*keyRow{r}, ep, nil)
		if errors.Is(err, errAgain) {
			v.drop([]string{have.id.String()}) // a newer version may exist
			continue
		}
		if err != nil {
			return 0, err
		}
		v.keep([]*openKey{k}, gen)
		return int(k.version), nil
	}
	return 0, fault.New(fault.Unavailable, op, "busy", "the key is being renewed elsewhere")
}
