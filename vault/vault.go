// Package vault seals personal values and destroys the keys that they are sealed under. What it gives is the promise that a value
// is read only by somebody, for a declared purpose, in its own organisation - and that destroying a person's key makes every copy
// of what was sealed under it unreadable, in backups too.
//
// Keys form a tree: master → organisation → (person, class) → thing. Each key is stored wrapped by its parent and then by the
// key of the running epoch. The master key, the epochs' keys and the deletion ledger are files of Options.Dir, outside the
// database; several nodes on one PostgreSQL share that directory. A value is bound to its organisation, field, row and key version.
//
// The cryptography is tink's: AES-256-GCM, HMAC-SHA-256, HKDF. The vault decides nothing about who may act or what may be kept, knows no
// rows but its own, and keeps no plain value.
package vault

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"parley/catalog"
	"parley/internal/db"
	"parley/internal/fault"
)

// Options says where a vault keeps its things. Store, Dir and Catalog are required.
type Options struct {
	Store *db.DB // the key store: not the data store's database on SQLite, and opened there with SecureDelete
	// Dir holds master.key, epochs/ and ledger; it is created with mode 0700. Back it up apart from the data. With several
	// nodes it is one shared directory whose file system supports flock.
	Dir string
	// LedgerCopy is the file with the copy of the ledger's head. It belongs on another disk or host, and never into the same
	// backup as Dir. Default: the file <Dir>.ledger-head beside Dir.
	LedgerCopy string
	Catalog    *catalog.Catalog
	Node       string // this process's name, for operators
	Logger     *slog.Logger
	Now        func() time.Time // default time.Now

	Lease      time.Duration // how long a node may open without asking the store again (PostgreSQL); default 5 s
	EpochLife  time.Duration // how often the operator's job calls RotateEpoch, for receipts; default 24 h
	BackupLife time.Duration // how long backups of the key store live: a destruction is final after that; default 0, none
	CacheKeys  int           // open keys kept in memory; default 65,536
	// Replay lets a key store that is older than the ledger open: every key of the ledger that it still holds is destroyed first. For the
	// restore command only; serve leaves it off.
	Replay bool
}

// Vault seals, opens and destroys. Its methods may be called concurrently.
type Vault struct {
	opt     Options
	store   *db.DB
	catalog *catalog.Catalog
	log     *slog.Logger
	master  *master
	ledger  *ledger
	epochs  *epochs
	lease   *lease // nil on SQLite, which one process has to itself

	gen     atomic.Uint64 // counts evictions: a key that was loaded across one is loaded again
	byID    *cache[keyID, *openKey]
	byName  *cache[Key, *openKey]
	indexes *cache[indexName, *indexSet]

	closing sync.Once
	crash   func(point string) error // tests end a destruction in the middle
}

// Open opens the vault, creating what does not exist yet, and returns once every destruction that an earlier run began is complete.
//
// It refuses, with kind Unavailable and a sentence saying what to do: a wrong or missing master key (codes
// "master_key_wrong", "master_key_missing", "epoch_missing"), a SQLite key store opened without SecureDelete ("secure_delete_off"), a key store or ledger that is older than the ledger's head ("keystore_older"), a
// ledger that is behind the key store ("ledger_older"), belongs to another ("ledger_other") or was changed ("ledger_tampered").
func Open(ctx context.Context, o Options) (*Vault, error) {
	if o.Catalog == nil || o.Dir == "" || o.Store == nil && !NoOp {
		return nil, internal("vault.Open", "options", "a vault needs a key store, a directory and a catalogue")
	}
	v := newVault(o)
	if NoOp {
		return v, nil
	}
	if err := os.MkdirAll(filepath.Join(v.opt.Dir, epochDir), 0o700); err != nil {
		return nil, fileFault("vault.Open", err)
	}
	if err := v.checkStore(ctx); err != nil {
		return nil, err
	}
	if err := v.store.Migrate(ctx, Migrations); err != nil {
		return nil, err
	}
	if err := v.openFiles(ctx); err != nil {
		return nil, err
	}
	if err := v.resume(ctx); err != nil {
		return nil, err
	}
	if v.store.Engine() == db.Postgres {
		l, err := v.startLease(ctx)
		if err != nil {
			return nil, err
		}
		v.lease = l
	}
	if err := v.EnsureOrg(ctx, Install); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

func newVault(o Options) *Vault {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lease <= 0 {
		o.Lease = 5 * time.Second
	}
	if o.EpochLife <= 0 {
		o.EpochLife = 24 * time.Hour
	}
	if o.CacheKeys <= 0 {
		o.CacheKeys = 1 << 16
	}
	o.Dir = filepath.Clean(o.Dir)
	if o.LedgerCopy == "" {
		o.LedgerCopy = o.Dir + ".ledger-head"
	}
	return &Vault{
		opt: o, store: o.Store, catalog: o.Catalog, log: o.Logger,
		byID: newCache[keyID, *openKey](o.CacheKeys), byName: newCache[Key, *openKey](o.CacheKeys),
		indexes: newCache[indexName, *indexSet](o.CacheKeys / 16),
	}
}

// checkStore refuses a SQLite store that leaves deleted bytes in its file.
func (v *Vault) checkStore(ctx context.Context) error {
	if v.store.Engine() != db.SQLite {
		return nil
	}
	var on int
	err := v.store.Do(ctx, "vault.Open", func(tx *db.Tx) error { return tx.QueryRow(`PRAGMA secure_delete`).Scan(&on) })
	if err == nil && on != 1 {
		err = fault.New(fault.Unavailable, "vault.Open", "secure_delete_off", "the key store's database must overwrite what it deletes: open it with SecureDelete")
	}
	return err
}

// openFiles opens what lies in the directory, one node at a time.
func (v *Vault) openFiles(ctx context.Context) (err error) {
	unlock, err := lockFile(v.file("lock"))
	if err != nil {
		return fileFault("vault.Open", err)
	}
	defer unlock()
	if v.master, err = openMaster(ctx, v.store, v.opt.Dir, v.log); err != nil {
		return err
	}
	if v.epochs, err = v.openEpochs(ctx); err != nil {
		return err
	}
	v.ledger, err = openLedger(v.file(ledgerFile), v.opt.LedgerCopy, v.file("ledger.lock"), v.log)
	if err != nil {
		return err
	}
	return v.reconcile(ctx)
}

func (v *Vault) file(name string) string { return filepath.Join(v.opt.Dir, name) }

func (v *Vault) point(name string) error {
	if v.crash == nil {
		return nil
	}
	return v.crash(name)
}

// drop forgets the open keys that the destroyed ones concern. Keys that are being loaded meanwhile are loaded again.
func (v *Vault) drop(targets []string) {
	gone := make(map[keyID]bool, len(targets))
	for _, t := range targets {
		if id, ok := parseKeyID(t); ok {
			gone[id] = true
		}
	}
	if len(gone) == 0 {
		return
	}
	v.gen.Add(1)
	v.byID.evict(gone)
	v.byName.evict(gone)
	v.indexes.evict(gone)
}

// dropAll forgets every open key.
func (v *Vault) dropAll() {
	v.gen.Add(1)
	v.byID.clear()
	v.byName.clear()
	v.indexes.clear()
}

// Stats are figures for /metrics.
type Stats struct {
	Keys      int   // open keys in memory
	LedgerSeq int64 // entries of the deletion ledger known to this node
	Epoch     int64 // the epoch that new keys are wrapped under
	Leased    bool  // whether this node may open now
}

// Stats returns the vault's figures.
func (v *Vault) Stats() Stats {
	if NoOp {
		return Stats{Leased: true}
	}
	v.ledger.mu.Lock()
	seq := v.ledger.seq
	v.ledger.mu.Unlock()
	return Stats{Keys: v.byID.len(), LedgerSeq: seq, Epoch: v.epochs.now().n, Leased: v.leased("vault.Stats") == nil}
}

// Close ends the node's lease and forgets all keys. It does not close the store.
func (v *Vault) Close() error {
	v.closing.Do(func() {
		if v.lease != nil {
			v.lease.end()
		}
		v.dropAll()
	})
	return nil
}

func internal(op, code, text string) error { return fault.New(fault.Internal, op, code, text) }

func erased(op string) error {
	return fault.New(fault.Gone, op, "erased", "this was erased, and cannot be read any more")
}
