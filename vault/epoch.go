package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/subtle/random"
	"github.com/tink-crypto/tink-go/v2/tink"

	"parley/internal/db"
	"parley/internal/fault"
)

const (
	epochDir    = "epochs"
	epochSuffix = ".key"
	epochHead   = "parley-epoch-1 "
)

// epoch is a period whose key wraps every row of the key store once more. The key is a file, itself wrapped by the master key; when the epoch
// ends the file is destroyed, and with it whatever the database still has of rows that were deleted or re-wrapped.
type epoch struct {
	n    int64
	from time.Time
	aead tink.AEAD
}

// epochs are those whose keys are in memory.
type epochs struct {
	store *db.DB
	m     *master
	dir   string

	current atomic.Pointer[epoch]
	mu      sync.RWMutex
	open    map[int64]epoch
}

// epochData is the additional data of a row's outer wrapping.
func epochData(rowID string, n int64) []byte {
	b := appendPart(make([]byte, 0, 80), "parley epoch wrap")
	b = appendPart(b, rowID)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

func epochFileData(n int64) []byte {
	return binary.BigEndian.AppendUint64(appendPart(nil, "parley epoch"), uint64(n))
}

// openEpochs reads the epochs, begins the first, and destroys key files that no epoch claims: what an interrupted
// rotation left. It runs under the directory's lock.
func (v *Vault) openEpochs(ctx context.Context) (*epochs, error) {
	e := &epochs{store: v.store, m: v.master, dir: v.file(epochDir), open: map[int64]epoch{}}
	listed, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	if len(listed) == 0 {
		if err := e.begin(ctx, 1, v.opt.Now()); err != nil {
			return nil, err
		}
		if listed, err = e.list(ctx); err != nil {
			return nil, err
		}
	}
	if err := e.removeOrphans(listed); err != nil {
		return nil, fileFault("vault.Open", err)
	}
	return e, e.refresh(ctx)
}

// now returns the epoch that new keys are wrapped under.
func (e *epochs) now() epoch { return *e.current.Load() }

// get returns an epoch's key, from its file when it is not in memory. errNoEpoch: the file is gone.
func (e *epochs) get(n int64) (epoch, error) {
	e.mu.RLock()
	ep, ok := e.open[n]
	e.mu.RUnlock()
	if ok {
		return ep, nil
	}
	ep, err := e.read(n)
	if err != nil {
		return epoch{}, err
	}
	e.mu.Lock()
	e.open[n] = ep
	e.mu.Unlock()
	return ep, nil
}

func (e *epochs) path(n int64) string {
	return filepath.Join(e.dir, strconv.FormatInt(n, 10)+epochSuffix)
}

func (e *epochs) read(n int64) (epoch, error) {
	text, err := os.ReadFile(e.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return epoch{}, errNoEpoch
	}
	if err != nil {
		return epoch{}, fileFault("vault.epoch", err)
	}
	damaged := fault.New(fault.Unavailable, "vault.epoch", "epoch_damaged", "the epoch key in "+e.path(n)+" cannot be read with this master key")
	text, ok := bytes.CutPrefix(bytes.TrimSpace(text), []byte(epochHead))
	if !ok {
		return epoch{}, damaged
	}
	wrapped, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return epoch{}, damaged
	}
	raw, err := e.m.epochs.Decrypt(wrapped, epochFileData(n))
	if err != nil || len(raw) != keySize {
		return epoch{}, damaged
	}
	aead, err := newAEAD(raw)
	return epoch{n: n, aead: aead}, err
}

// list returns when each epoch of the key store began.
func (e *epochs) list(ctx context.Context) (map[int64]time.Time, error) {
	listed := map[int64]time.Time{}
	err := e.store.Read(ctx, "vault.epoch", func(tx *db.Tx) error {
		rows, err := tx.Query(`SELECT n, created_at FROM vault_epoch`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n, at int64
			if err := rows.Scan(&n, &at); err != nil {
				return err
			}
			listed[n] = db.FromMicros(at)
		}
		return rows.Err()
	})
	return listed, err
}

// refresh learns which epoch is current, and forgets those that ended.
func (e *epochs) refresh(ctx context.Context) error {
	listed, err := e.list(ctx)
	if err != nil {
		return err
	}
	var newest int64
	for n := range listed {
		newest = max(newest, n)
	}
	ep, err := e.get(newest)
	if errors.Is(err, errNoEpoch) {
		return fault.New(fault.Unavailable, "vault.epoch", "epoch_missing",
			"the epoch key "+e.path(newest)+" is missing: all nodes share one vault directory, and a backup of the key store needs the epoch key of its day")
	}
	if err != nil {
		return err
	}
	ep.from = listed[newest]
	if have := e.current.Load(); have == nil || have.n <= ep.n {
		e.current.Store(&ep)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := range e.open {
		if _, ok := listed[n]; !ok {
			delete(e.open, n)
		}
	}
	return nil
}

// begin makes an epoch's key file, then the epoch.
func (e *epochs) begin(ctx context.Context, n int64, at time.Time) error {
	if err := shred(e.path(n)); err != nil { // of a rotation that was interrupted before the epoch began
		return fileFault("vault.epoch", err)
	}
	wrapped, err := e.m.epochs.Encrypt(random.GetRandomBytes(keySize), epochFileData(n))
	if err != nil {
		return fault.Wrap(fault.Internal, "vault.epoch", err)
	}
	if err := createFile(e.path(n), []byte(epochHead+base64.StdEncoding.EncodeToString(wrapped)+"\n")); err != nil {
		return fileFault("vault.epoch", err)
	}
	return e.store.Do(ctx, "vault.epoch", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO vault_epoch (n, created_at) VALUES ($1, $2)`, n, db.Micros(at))
		return err
	})
}

func (e *epochs) removeOrphans(listed map[int64]time.Time) error {
	files, err := os.ReadDir(e.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		n, err := strconv.ParseInt(strings.TrimSuffix(f.Name(), epochSuffix), 10, 64)
		if _, ok := listed[n]; err == nil && !ok {
			if err := shred(filepath.Join(e.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// RotateEpoch begins a new epoch, wraps every key again under it and destroys the keys of earlier epochs. On PostgreSQL a daily job
// calls it: only then are the dead rows of destroyed keys unreadable. An interrupted rotation is completed by the next.
func (v *Vault) RotateEpoch(ctx context.Context) error {
	const op = "vault.RotateEpoch"
	if NoOp {
		return nil
	}
	unlock, err := lockFile(v.file("lock"))
	if err != nil {
		return fileFault(op, err)
	}
	defer unlock()
	if err := v.epochs.refresh(ctx); err != nil {
		return err
	}
	next := v.epochs.now().n + 1
	if err := v.epochs.begin(ctx, next, v.opt.Now()); err != nil {
		return err
	}
	if err := v.epochs.refresh(ctx); err != nil {
		return err
	}
	if err := v.announceEpoch(ctx); err != nil {
		return err
	}
	listed, err := v.epochs.list(ctx)
	if err != nil {
		return err
	}
	keys := 0
	for n := range listed {
		if n >= next {
			continue
		}
		moved, err := v.endEpoch(ctx, n)
		if err != nil {
			return err
		}
		keys += moved
	}
	v.log.Info("the keys were wrapped again", "epoch", next, "keys", keys)
	return v.epochs.refresh(ctx)
}

// announceEpoch returns when every node wraps new keys in the new epoch: a node looks which is current each time it carries out the
// eviction log.
func (v *Vault) announceEpoch(ctx context.Context) error {
	err := v.store.Do(ctx, "vault.RotateEpoch", func(tx *db.Tx) error {
		return emit(tx, []string{""})
	})
	if err != nil {
		return err
	}
	return v.awaitNodes(ctx, time.Now())
}

// endEpoch re-wraps what is left of an epoch, then destroys its key.
func (v *Vault) endEpoch(ctx context.Context, n int64) (moved int, err error) {
	const op = "vault.RotateEpoch"
	var failed error
	for range tries {
		m, err := v.rewrap(ctx, n)
		moved += m
		if err != nil {
			return moved, err
		}
		// A key that is being inserted under the old epoch holds its row: this waits for it, and then fails for the key.
		err = v.store.Do(ctx, op, func(tx *db.Tx) error {
			var left int64
			if err := tx.QueryRow(`SELECT COUNT(*) FROM (SELECT id FROM vault_key WHERE epoch = $1 LIMIT 1) k`, n).Scan(&left); err != nil {
				return err
			}
			if left > 0 {
				return errAgain
			}
			_, err := tx.Exec(`DELETE FROM vault_epoch WHERE n = $1`, n)
			return err
		})
		if err == nil {
			if err := v.settle(ctx); err != nil {
				return moved, err
			}
			return moved, fileFault(op, shred(v.epochs.path(n)))
		}
		if ctx.Err() != nil || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Full) {
			return moved, err
		}
		failed = err
	}
	return moved, &fault.Error{Kind: fault.Unavailable, Op: op, Code: "busy", Text: "keys kept being created in the old epoch", Cause: failed}
}

// rewrapBatch is how many rows one commit moves.
const rewrapBatch = 256

func (v *Vault) rewrap(ctx context.Context, n int64) (moved int, err error) {
	const op = "vault.RotateEpoch"
	from, err := v.epochs.get(n)
	if errors.Is(err, errNoEpoch) {
		return 0, fault.New(fault.Unavailable, op, "epoch_missing", "the epoch key "+v.epochs.path(n)+" is missing")
	}
	if err != nil {
		return 0, err
	}
	to := v.epochs.now()
	after := ""
	for {
		var rows []keyRow
		err := v.store.Read(ctx, op, func(tx *db.Tx) (err error) {
			rows, err = queryKeys(tx, `SELECT `+keyColumns+` FROM vault_key WHERE epoch = $1 AND id > $2 ORDER BY id LIMIT $3`, n, after, rewrapBatch)
			return err
		})
		if err != nil || len(rows) == 0 {
			return moved, err
		}
		wrapped := make([][]byte, len(rows))
		for i, r := range rows {
			inner, err := from.aead.Decrypt(r.wrapped, epochData(r.id, n))
			if err != nil {
				return moved, internal(op, "key_damaged", "a row of the key store was changed")
			}
			if wrapped[i], err = to.aead.Encrypt(inner, epochData(r.id, to.n)); err != nil {
				return moved, fault.Wrap(fault.Internal, op, err)
			}
		}
		err = v.store.Do(ctx, op, func(tx *db.Tx) error {
			for i, r := range rows {
				if _, err := tx.Exec(`UPDATE vault_key SET epoch = $1, wrapped = $2 WHERE id = $3 AND epoch = $4`, to.n, wrapped[i], r.id, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return moved, err
		}
		moved += len(rows)
		after = rows[len(rows)-1].id
	}
}
