package account

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"parley/internal/fault"
)

// spillSize is the space taken for entries that wait, in bytes: more than 15,000 of them.
const spillSize = 4 << 20

// spillBatch is how many entries are replayed in one transaction.
const spillBatch = 500

// spill keeps audit entries while the database cannot. The file's blocks are written when it is made, so that adding to it
// needs no new ones. Records stand one after the other - length, checksum, JSON - and end at the first length of zero. An
// entry that was torn by a crash fails its checksum and ends the list, as it was never acknowledged.
type spill struct {
	mu      sync.Mutex
	file    *os.File
	end     int64 // where the next record goes
	entries int
}

const spillHead = 8 // bytes before each record's JSON

func openSpill(dir string) (*spill, error) {
	path := filepath.Join(dir, "audit.spill")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit spill file: %w", err)
	}
	s := &spill{file: f}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit spill file: %w", err), f.Close())
	}
	return s, nil
}

// prepare takes the space, if that has not happened, and finds the end of what waits.
func (s *spill) prepare() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if have := info.Size(); have < spillSize {
		if _, err := s.file.WriteAt(make([]byte, spillSize-have), have); err != nil {
			return err
		}
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	entries, end, err := s.read()
	s.entries, s.end = len(entries), end
	return err
}

// read returns what waits, and where it ends.
func (s *spill) read() (out []Entry, end int64, err error) {
	b := make([]byte, spillSize)
	if _, err := s.file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	out, n := parseSpill(b)
	return out, int64(n), nil
}

// parseSpill reads records up to the first that is not one.
func parseSpill(b []byte) (out []Entry, end int) {
	for {
		rest := b[end:]
		if len(rest) < spillHead {
			return out, end
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if n == 0 || n > len(rest)-spillHead {
			return out, end
		}
		body := rest[spillHead : spillHead+n]
		var e Entry
		if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(rest[4:]) || json.Unmarshal(body, &e) != nil {
			return out, end
		}
		out = append(out, e)
		end += spillHead + n
	}
}

// add is durable when it returns.
func (s *spill) add(e Entry) error {
	const op = "account.spill"
	body, err := json.Marshal(e)
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	rec := make([]byte, spillHead, spillHead+len(body)+spillHead)
	binary.LittleEndian.PutUint32(rec, uint32(len(body)))
	binary.LittleEndian.PutUint32(rec[4:], crc32.ChecksumIEEE(body))
	rec = append(rec, body...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end+int64(len(rec))+spillHead > spillSize {
		return fault.New(fault.Full, op, "full", "The disk is full, and so is the space kept for the audit log.")
	}
	// The zeros behind it end the list even where an older, longer one stood.
	if _, err := s.file.WriteAt(append(rec, make([]byte, spillHead)...), s.end); err != nil {
		return fault.Wrap(fault.Full, op, err)
	}
	if err := s.file.Sync(); err != nil {
		return fault.Wrap(fault.Full, op, err)
	}
	s.end += int64(len(rec))
	s.entries++
	return nil
}

func (s *spill) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries > 0
}

// drain hands over what waits, in batches, and forgets it once all was taken. Taking an entry twice must do no harm: a crash
// before the end makes it wait again.
func (s *spill) drain(take func([]Entry) error) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == 0 {
		return 0, nil
	}
	entries, end, err := s.read()
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, "account.spill", err)
	}
	for rest := entries; len(rest) > 0; {
		n := min(len(rest), spillBatch)
		if err := take(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	if _, err := s.file.WriteAt(make([]byte, end), 0); err != nil {
		return 0, fault.Wrap(fault.Unavailable, "account.spill", err)
	}
	if err := s.file.Sync(); err != nil {
		return 0, fault.Wrap(fault.Unavailable, "account.spill", err)
	}
	s.end, s.entries = 0, 0
	return len(entries), nil
}

func (s *spill) close() error { return s.file.Close() }
