package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"time"

	prfsubtle "github.com/tink-crypto/tink-go/v2/prf/subtle"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
)

// indexName names a field's blind index in an organisation.
type indexName struct {
	org   string
	field catalog.FieldID
}

// indexSet holds the live versions of a blind index's key.
type indexSet struct {
	current uint32
	keys    []*openKey // the written version first, then the others, newest first
}

func (s *indexSet) hit(gone map[keyID]bool) bool {
	for _, k := range s.keys {
		if k.hit(gone) {
			return true
		}
	}
	return false
}

// Index returns the blind index of a value: 32 bytes that are equal for equal values of the field in the organisation, and say
// nothing about the value to who lacks the key. The caller normalises the value. The written version of the key is used; to look
// something up take IndexAll.
func (v *Vault) Index(ctx context.Context, org string, field catalog.FieldID, normalised string) ([]byte, error) {
	all, err := v.indexAll(ctx, "vault.Index", org, field, normalised, true)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// IndexAll returns the blind index of a value under every live version of the key, the written one first. Until RotateIndex
// was called there is one.
func (v *Vault) IndexAll(ctx context.Context, org string, field catalog.FieldID, normalised string) ([][]byte, error) {
	return v.indexAll(ctx, "vault.IndexAll", org, field, normalised, false)
}

func (v *Vault) indexAll(ctx context.Context, op, org string, field catalog.FieldID, normalised string, first bool) ([][]byte, error) {
	if _, ok := v.catalog.Field(field); !ok {
		return nil, internal(op, "field_undeclared", "the catalogue declares no such field")
	}
	data := appendPart(make([]byte, 0, 64+len(normalised)), "parley index")
	data = appendPart(data, org)
	data = appendPart(data, string(field))
	data = appendPart(data, normalised)
	if NoOp {
		sum := sha256.Sum256(data)
		return [][]byte{sum[:]}, nil
	}
	set, err := v.indexSet(ctx, op, indexName{org, field})
	if err != nil {
		return nil, err
	}
	keys := set.keys
	if first {
		keys = keys[:1]
	}
	out := make([][]byte, len(keys))
	for i, k := range keys {
		if out[i], err = k.mac(data); err != nil {
			return nil, internal(op, "index", "the index key cannot be used")
		}
	}
	return out, nil
}

func (k *openKey) mac(data []byte) ([]byte, error) {
	h, err := prfsubtle.NewHMACPRF("SHA256", k.raw)
	if err != nil {
		return nil, err
	}
	return h.ComputePRF(data, 32)
}

// indexSet returns a blind index's keys, making the first on first use.
func (v *Vault) indexSet(ctx context.Context, op string, name indexName) (*indexSet, error) {
	if err := v.leased(op); err != nil {
		return nil, err
	}
	if s, ok := v.indexes.get(name); ok {
		return s, nil
	}
	for range tries {
		gen := v.gen.Load()
		s, err := v.loadIndex(ctx, op, name)
		if errors.Is(err, errNoEpoch) { // re-wrapped meanwhile
			err = v.epochs.refresh(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if s == nil {
			if err := v.addIndexKey(ctx, op, name, 1); err != nil && !errors.Is(err, errAgain) {
				return nil, err
			}
			continue
		}
		if v.indexes.put(name, s, &v.gen, gen) {
			return s, nil
		}
	}
	return nil, fault.New(fault.Unavailable, op, "busy", "the index key is being changed")
}

func (n indexName) key() Key {
	return Key{Org: n.org, Kind: kindIndex, ID: string(n.field), Class: catalog.ClassService}
}

// loadIndex returns nil when the index has no key yet.
func (v *Vault) loadIndex(ctx context.Context, op string, name indexName) (*indexSet, error) {
	want := name.key()
	s := &indexSet{}
	var rows []keyRow
	err := v.store.Read(ctx, op, func(tx *db.Tx) (err error) {
		err = tx.QueryRow(`SELECT version FROM vault_index WHERE org = $1 AND field = $2`, name.org, string(name.field)).Scan(&s.current)
		if err != nil {
			return err
		}
		rows, err = queryKeys(tx, selectUp(`org = $1 AND kind = $2 AND subject = $3 AND class = $4`), want.Org, want.Kind, want.ID, string(want.Class))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys, err := v.unwrapAll(rows)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.name == want {
			s.keys = append(s.keys, k)
		}
	}
	slices.SortFunc(s.keys, func(a, b *openKey) int {
		if (a.version == s.current) != (b.version == s.current) {
			if a.version == s.current {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.version, a.version)
	})
	if len(s.keys) == 0 || s.keys[0].version != s.current {
		return nil, erased(op)
	}
	return s, nil
}

func (v *Vault) addIndexKey(ctx context.Context, op string, name indexName, version int64) error {
	org, err := v.keyByName(ctx, op, OrgKey(name.org))
	if err != nil {
		return err
	}
	ep := v.epochs.now()
	_, r, err := v.newKey(name.key(), version, org, ep)
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	return v.insert(ctx, op, []*keyRow{r}, ep, func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO vault_index (org, field, version) VALUES ($1, $2, $3) ON CONFLICT (org, field) DO NOTHING`,
			name.org, string(name.field), version)
		return err
	})
}

// RotateIndex gives a blind index a new key and returns its version. When it returns every node looks up under both versions and
// writes the new one; the caller then writes the index of its rows again and calls DropIndex for the old version.
func (v *Vault) RotateIndex(ctx context.Context, org string, field catalog.FieldID) (version int, err error) {
	const op = "vault.RotateIndex"
	if NoOp {
		return 1, nil
	}
	name := indexName{org, field}
	set, err := v.indexSet(ctx, op, name)
	if err != nil {
		return 0, err
	}
	next := int64(0)
	for _, k := range set.keys {
		next = max(next, int64(k.version)+1)
	}
	if err := v.addIndexKey(ctx, op, name, next); err != nil {
		if errors.Is(err, errAgain) {
			return 0, fault.New(fault.Conflict, op, "index_rotating", "the index is being rotated elsewhere")
		}
		return 0, err
	}
	// First every node learns to look up under the new version, then they write it: else one would miss what another wrote.
	if err := v.spreadIndex(ctx, op, set, nil); err != nil {
		return 0, err
	}
	err = v.spreadIndex(ctx, op, set, func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE vault_index SET version = $1 WHERE org = $2 AND field = $3`, next, org, string(field))
		return err
	})
	return int(next), err
}

// DropIndex destroys a version of a blind index's key that is no longer written.
func (v *Vault) DropIndex(ctx context.Context, org string, field catalog.FieldID, version int) error {
	const op = "vault.DropIndex"
	if NoOp {
		return nil
	}
	set, err := v.indexSet(ctx, op, indexName{org, field})
	if err != nil {
		return err
	}
	if version == int(set.current) {
		return fault.New(fault.Conflict, op, "index_current", "this version of the index is the one that is written")
	}
	k := indexName{org, field}.key()
	err = v.spreadIndex(ctx, op, set, func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM vault_key WHERE org = $1 AND kind = $2 AND subject = $3 AND class = $4 AND version = $5`,
			k.Org, k.Kind, k.ID, string(k.Class), int64(version))
		return err
	})
	if err != nil {
		return err
	}
	return v.settle(ctx)
}

// spreadIndex makes a change and returns when every node has dropped the set from memory.
func (v *Vault) spreadIndex(ctx context.Context, op string, set *indexSet, change func(*db.Tx) error) error {
	targets := make([]string, len(set.keys))
	for i, k := range set.keys {
		targets[i] = k.id.String()
	}
	err := v.store.Do(ctx, op, func(tx *db.Tx) error {
		if change != nil {
			if err := change(tx); err != nil {
				return err
			}
		}
		return emit(tx, targets)
	})
	if err != nil {
		return err
	}
	decided := time.Now()
	v.drop(targets)
	return v.awaitNodes(ctx, decided)
}
