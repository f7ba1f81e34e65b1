package app

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"

	"parley/internal/fault"
)

// certStore keeps certificates in a directory that one process has to itself (the data directory is locked), so that its locks
// need no files. Nothing outside the directory can be reached, whatever a name holds. It is certmagic's Storage.
type certStore struct {
	root *os.Root

	mu    sync.Mutex
	locks map[string]chan struct{} // closed when the lock is free again
}

func openCertStore(dir string) (*certStore, error) {
	if err := makeDirs(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "app.certs", err)
	}
	return &certStore{root: root, locks: map[string]chan struct{}{}}, nil
}

// Close gives the directory back.
func (s *certStore) Close() error { return s.root.Close() }

// Lock waits until nobody has the lock.
func (s *certStore) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		held := s.locks[name]
		if held == nil {
			s.locks[name] = make(chan struct{})
		}
		s.mu.Unlock()
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock gives the lock back.
func (s *certStore) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.locks[name]; held != nil {
		close(held)
		delete(s.locks, name)
	}
	return nil
}

// Store writes a file whole or not at all, and returns when the disk has it.
func (s *certStore) Store(_ context.Context, key string, value []byte) error {
	if err := s.root.MkdirAll(path.Dir(key), 0o700); err != nil {
		return err
	}
	temp := key + "." + rand.Text() + ".tmp"
	f, err := s.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.root.Rename(temp, key)
	}
	if err == nil { // the name is as durable as the content
		err = s.syncDir(path.Dir(key))
	}
	if err != nil {
		_ = s.root.Remove(temp) // what could not be written is not missed
	}
	return err
}

func (s *certStore) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load reads a file.
func (s *certStore) Load(_ context.Context, key string) ([]byte, error) { return s.root.ReadFile(key) }

// Delete removes a file, or a directory with all in it.
func (s *certStore) Delete(_ context.Context, key string) error { return s.root.RemoveAll(key) }

// Exists reports whether there is such a file or directory.
func (s *certStore) Exists(_ context.Context, key string) bool {
	_, err := s.root.Stat(key)
	return err == nil
}

// List returns what is in a directory, or with recursive all below it.
func (s *certStore) List(_ context.Context, dir string, recursive bool) (keys []string, err error) {
	err = fs.WalkDir(s.root.FS(), path.Clean(dir), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == path.Clean(dir) || strings.HasSuffix(name, ".tmp") {
			return nil
		}
		keys = append(keys, name)
		if d.IsDir() && !recursive {
			return fs.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat describes a file or directory.
func (s *certStore) Stat(_ context.Context, key string) (info certmagic.KeyInfo, err error) {
	st, err := s.root.Stat(key)
	if err != nil {
		return info, err
	}
	return certmagic.KeyInfo{Key: key, Modified: st.ModTime(), Size: st.Size(), IsTerminal: !st.IsDir()}, nil
}
