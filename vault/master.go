package vault

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	prfsubtle "github.com/tink-crypto/tink-go/v2/prf/subtle"
	"github.com/tink-crypto/tink-go/v2/subtle"
	"github.com/tink-crypto/tink-go/v2/subtle/random"
	"github.com/tink-crypto/tink-go/v2/tink"

	"parley/internal/db"
	"parley/internal/fault"
)

const (
	masterFile = "master.key"
	masterHead = "parley-master-1 "
	keySize    = 32 // AES-256 and HMAC-SHA-256
)

// verifyText is what the key store's check value holds, encrypted under the master key.
const verifyText = "parley key store"

// master is the root of the tree: keys derived from the master key, one for each use.
type master struct {
	wrap   tink.AEAD // wraps organisations' keys
	epochs tink.AEAD // wraps the epoch files
	check  tink.AEAD // the check value
	hash   *prfsubtle.HMACPRF
}

func newMaster(key []byte) (*master, error) {
	var m master
	for _, use := range []struct {
		info string
		aead *tink.AEAD
	}{{"wrap", &m.wrap}, {"epochs", &m.epochs}, {"check", &m.check}} {
		sub, err := subtle.ComputeHKDF("SHA256", key, nil, []byte("parley vault "+use.info), keySize)
		if err != nil {
			return nil, err
		}
		if *use.aead, err = newAEAD(sub); err != nil {
			return nil, err
		}
	}
	sub, err := subtle.ComputeHKDF("SHA256", key, nil, []byte("parley vault ledger"), keySize)
	if err != nil {
		return nil, err
	}
	m.hash, err = prfsubtle.NewHMACPRF("SHA256", sub)
	return &m, err
}

// newAEAD makes AES-256-GCM from a raw key and wipes the raw key.
func newAEAD(raw []byte) (tink.AEAD, error) {
	a, err := aeadsubtle.NewAESGCM(raw)
	clear(raw)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// openMaster reads the master key, makes it on first use, and checks it against the key store. It runs under the directory's lock.
func openMaster(ctx context.Context, store *db.DB, dir string, log *slog.Logger) (*master, error) {
	const op = "vault.Open"
	var check []byte
	err := store.Read(ctx, op, func(tx *db.Tx) error {
		err := tx.QueryRow(`SELECT value FROM vault_meta WHERE name = 'check'`).Scan(&check)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, masterFile)
	raw, err := readMaster(path, log)
	switch {
	case errors.Is(err, fs.ErrNotExist) && check == nil && !exists(filepath.Join(dir, ledgerFile)):
		raw = random.GetRandomBytes(keySize)
		if err := createFile(path, []byte(masterHead+base64.StdEncoding.EncodeToString(raw)+"\n")); err != nil {
			return nil, fileFault(op, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Unavailable, op, "master_key_missing",
			"the key store is in use but the file "+path+" is not there: put the master key back from its backup; a new one could not read anything")
	case err != nil:
		return nil, err
	}
	m, err := newMaster(raw)
	clear(raw)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, err)
	}
	if check == nil {
		return m, m.writeCheck(ctx, store)
	}
	text, err := m.check.Decrypt(check, []byte(verifyText))
	if err != nil || string(text) != verifyText {
		return nil, fault.New(fault.Unavailable, op, "master_key_wrong",
			"the master key in "+path+" is not the one that this key store was made with: put the right file back, or point to the right key store")
	}
	return m, nil
}

func (m *master) writeCheck(ctx context.Context, store *db.DB) error {
	check, err := m.check.Encrypt([]byte(verifyText), []byte(verifyText))
	if err != nil {
		return fault.Wrap(fault.Internal, "vault.Open", err)
	}
	return store.Do(ctx, "vault.Open", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO vault_meta (name, n, value) VALUES ('check', 0, $1)`, check)
		return err
	})
}

func readMaster(path string, log *slog.Logger) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fileFault("vault.Open", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("the master key's file can be read by others than its owner: set its mode to 0600")
	}
	raw, err := parseMaster(text)
	clear(text)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "vault.Open", "master_key_wrong", "the file "+path+" does not hold a master key")
	}
	return raw, nil
}

var errMaster = errors.New("vault: not a master key")

func parseMaster(text []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(text, []byte(masterHead))
	if !ok {
		return nil, errMaster
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(raw, bytes.TrimSpace(text))
	if err != nil || n != keySize {
		return nil, errMaster
	}
	return raw[:n], nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// subject is the keyed hash by which ledger and key store remember a destroyed key.
type subject [32]byte

func (m *master) subject(k Key) (s subject) {
	b := make([]byte, 0, 160)
	b = appendPart(b, k.Org)
	b = appendPart(b, k.Kind)
	b = appendPart(b, k.ID)
	b = appendPart(b, string(k.Class))
	sum, _ := m.hash.ComputePRF(b, uint32(len(s))) // fails only for a length over 32
	copy(s[:], sum)
	return s
}
