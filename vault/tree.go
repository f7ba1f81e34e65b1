package vault

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	"github.com/tink-crypto/tink-go/v2/subtle/random"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
)

var (
	errAgain   = errors.New("vault: the key store changed meanwhile")
	errErased  = errors.New("vault: a key was destroyed")
	errNoEpoch = errors.New("vault: the epoch's key is gone")
)

// tries bounds how often an operation starts again because the key store changed under it.
const tries = 8

// wrapData is the additional data of a wrapped key: all that its row says.
func wrapData(r *keyRow) []byte {
	b := appendPart(make([]byte, 0, 256), "parley key")
	for _, s := range [...]string{r.id, r.org, r.parent.String, r.kind, r.subject, r.class} {
		b = appendPart(b, s)
	}
	return binary.BigEndian.AppendUint64(b, uint64(r.version))
}

// newKey makes a key below a parent (nil: the master key) and its row, which names the current epoch.
func (v *Vault) newKey(name Key, version int64, parent *openKey, ep epoch) (*openKey, *keyRow, error) {
	r := &keyRow{id: db.NewID(), org: name.Org, kind: name.Kind, subject: name.ID, class: string(name.Class), version: version, epoch: ep.n}
	k := &openKey{name: name, version: uint32(version)}
	k.id, _ = parseKeyID(r.id)
	outer := v.master.wrap
	if parent != nil {
		r.parent = sql.NullString{String: parent.id.String(), Valid: true}
		k.above, outer = parent.chain(), parent.aead
	}
	raw := random.GetRandomBytes(keySize)
	inner, err := outer.Encrypt(raw, wrapData(r))
	if err != nil {
		return nil, nil, err
	}
	if r.wrapped, err = ep.aead.Encrypt(inner, epochData(r.id, ep.n)); err != nil {
		return nil, nil, err
	}
	return k, r, k.fill(raw)
}

func (k *openKey) fill(raw []byte) (err error) {
	if k.name.Kind == kindIndex {
		k.raw = raw
		return nil
	}
	k.aead, err = newAEAD(raw)
	return err
}

// unwrap opens a key row. parent is nil for an organisation's key.
func (v *Vault) unwrap(r *keyRow, parent *openKey) (*openKey, error) {
	ep, err := v.epochs.get(r.epoch)
	if err != nil {
		return nil, err
	}
	inner, err := ep.aead.Decrypt(r.wrapped, epochData(r.id, r.epoch))
	if err != nil {
		return nil, internal("vault.unwrap", "key_damaged", "a row of the key store was changed")
	}
	k := &openKey{name: r.name(), version: uint32(r.version)}
	outer := v.master.wrap
	if parent != nil {
		k.above, outer = parent.chain(), parent.aead
	}
	var ok bool
	k.id, ok = parseKeyID(r.id)
	raw, err := outer.Decrypt(inner, wrapData(r))
	if err != nil || !ok || (parent == nil) != (r.kind == kindOrg) {
		return nil, internal("vault.unwrap", "key_damaged", "a row of the key store was changed")
	}
	return k, k.fill(raw)
}

func (r *keyRow) name() Key {
	return Key{Org: r.org, Kind: r.kind, ID: r.subject, Class: catalog.Class(r.class)}
}

// find reads keys with their ancestors, opens and keeps them. The result has the keys that query selects and those above;
// keys that are destroyed, or about to be, are not in it.
func (v *Vault) find(ctx context.Context, op string, query func(tx *db.Tx) ([]keyRow, error)) ([]*openKey, error) {
	var failed error
	for range tries {
		gen := v.gen.Load()
		var rows []keyRow
		err := v.store.Read(ctx, op, func(tx *db.Tx) (err error) {
			rows, err = query(tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		keys, err := v.unwrapAll(rows)
		if failed = err; errors.Is(err, errNoEpoch) { // re-wrapped between the query and now
			if err := v.epochs.refresh(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if v.keep(keys, gen) {
			return keys, nil
		}
	}
	if failed != nil {
		return nil, fault.New(fault.Unavailable, op, "epoch_missing", "a key was wrapped in an epoch whose key file is gone")
	}
	return nil, fault.New(fault.Unavailable, op, "busy", "keys are being destroyed")
}

// unwrapAll opens rows that include every ancestor of each.
func (v *Vault) unwrapAll(rows []keyRow) ([]*openKey, error) {
	byID := make(map[string]*keyRow, len(rows))
	for i := range rows {
		byID[rows[i].id] = &rows[i]
	}
	open := make(map[string]*openKey, len(rows))
	var visit func(r *keyRow, depth int) (*openKey, error)
	visit = func(r *keyRow, depth int) (*openKey, error) {
		if k, done := open[r.id]; done {
			return k, nil
		}
		if r.doom != nil || depth > maxDepth {
			return nil, errErased
		}
		var parent *openKey
		if r.parent.Valid {
			pr := byID[r.parent.String]
			if pr == nil {
				return nil, errErased // deleted between two statements
			}
			var err error
			if parent, err = visit(pr, depth+1); err != nil {
				return nil, err
			}
		}
		k, err := v.unwrap(r, parent)
		if err == nil {
			open[r.id] = k
		}
		return k, err
	}
	out := make([]*openKey, 0, len(rows))
	for i := range rows {
		k, err := visit(&rows[i], 0)
		if errors.Is(err, errErased) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// maxDepth bounds the tree.
const maxDepth = 8

// keep puts opened keys into the caches. It reports false when something was evicted since gen.
func (v *Vault) keep(keys []*openKey, gen uint64) bool {
	newest := map[Key]*openKey{}
	for _, k := range keys {
		if !v.byID.put(k.id, k, &v.gen, gen) {
			return false
		}
		if have := newest[k.name]; k.name.Kind != kindIndex && (have == nil || have.version < k.version) {
			newest[k.name] = k
		}
	}
	for name, k := range newest {
		if have, ok := v.byName.get(name); ok && have.version > k.version {
			continue
		}
		if !v.byName.put(name, k, &v.gen, gen) {
			return false
		}
	}
	return true
}

// keyByID returns the key of a sealed value.
func (v *Vault) keyByID(ctx context.Context, op string, id keyID) (*openKey, error) {
	if err := v.leased(op); err != nil {
		return nil, err
	}
	if k, ok := v.byID.get(id); ok {
		return k, nil
	}
	keys, err := v.find(ctx, op, func(tx *db.Tx) ([]keyRow, error) {
		return queryKeys(tx, selectUp(`id = $1`), id.String())
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.id == id {
			return k, nil
		}
	}
	return nil, erased(op)
}

// keyByName returns the newest version of a key. name is normalised.
func (v *Vault) keyByName(ctx context.Context, op string, name Key) (*openKey, error) {
	if err := v.leased(op); err != nil {
		return nil, err
	}
	if k, ok := v.byName.get(name); ok {
		return k, nil
	}
	if err := name.check(op); err != nil {
		return nil, err
	}
	found, err := v.findNames(ctx, op, []Key{name})
	if err != nil {
		return nil, err
	}
	if k := found[name]; k != nil {
		return k, nil
	}
	if v.Erased(ctx, name) {
		return nil, erased(op)
	}
	return nil, internal(op, "key_unknown", "the key was never created")
}

// findNames returns the newest versions of those keys that exist, with few queries. The names are normalised.
func (v *Vault) findNames(ctx context.Context, op string, names []Key) (map[Key]*openKey, error) {
	found := make(map[Key]*openKey, len(names))
	type group struct{ org, kind, class string }
	missing := map[group][]any{}
	for _, n := range names {
		if k, ok := v.byName.get(n); ok {
			found[n] = k
			continue
		}
		g := group{n.Org, n.Kind, string(n.Class)}
		missing[g] = append(missing[g], n.ID)
	}
	for g, ids := range missing {
		for len(ids) > 0 {
			n := min(maxIn, len(ids))
			list, args := in(3, ids[:n])
			args = append([]any{g.org, g.kind, g.class}, args...)
			keys, err := v.find(ctx, op, func(tx *db.Tx) ([]keyRow, error) {
				return queryKeys(tx, selectUp(`org = $1 AND kind = $2 AND class = $3 AND subject IN `+list), args...)
			})
			if err != nil {
				return nil, err
			}
			for _, k := range keys {
				if have := found[k.name]; have == nil || have.version < k.version {
					found[k.name] = k
				}
			}
			ids = ids[n:]
		}
	}
	return found, nil
}

// Warm loads keys into memory with few queries, for a list that is about to be opened. Keys that do not exist are passed over.
func (v *Vault) Warm(ctx context.Context, keys []Key) error {
	if NoOp {
		return nil
	}
	if err := v.leased("vault.Warm"); err != nil {
		return err
	}
	names := make([]Key, len(keys))
	for i, k := range keys {
		names[i] = k.norm()
	}
	_, err := v.findNames(ctx, "vault.Warm", names)
	return err
}
