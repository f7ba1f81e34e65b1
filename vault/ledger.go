package vault

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/subtle/random"

	"parley/internal/fault"
)

const (
	ledgerFile = "ledger"
	ledgerHead = "parley-ledger-1 "
	copyHead   = "parley-ledger-head-1 "
)

// ledger is the append-only list of what was destroyed: one line for each subject, "seq time hash chain", where hash is keyed, so that
// the file names nobody, and chain is SHA-256 over the previous chain and the line. The first line names the ledger. Its head
// is copied to a second place; a ledger that is behind that copy was restored from a backup.
type ledger struct {
	mu       sync.Mutex
	path     string
	copyPath string
	lockPath string
	log      *slog.Logger

	id    string
	off   int64 // bytes read so far; all of them whole lines
	seq   int64
	chain chain
	seen  map[subject]int64 // entries met since Open
}

type chain [sha256.Size]byte

// entry is one line.
type entry struct {
	seq     int64
	at      int64 // Unix microseconds
	subject subject
	chain   chain
}

var (
	errLedgerLine = errors.New("vault: the line does not continue the ledger")
	errTorn       = errors.New("vault: the last line was not written to its end")
)

// openLedger opens the ledger, or makes it, and checks its first line. verify reads the rest.
func openLedger(path, copyPath, lockPath string, log *slog.Logger) (*ledger, error) {
	l := &ledger{path: path, copyPath: copyPath, lockPath: lockPath, log: log, seen: map[subject]int64{}}
	if !exists(path) {
		if text, err := os.ReadFile(copyPath); err == nil && !emptyCopy(string(text)) {
			return nil, fault.New(fault.Unavailable, "vault.Open", "keystore_older",
				"the deletion ledger "+path+" is missing, but a copy of its head is at "+copyPath+": put the newest ledger back")
		}
		first := ledgerHead + hex.EncodeToString(random.GetRandomBytes(16)) + "\n"
		if err := createFile(path, []byte(first)); err != nil {
			return nil, fileFault("vault.Open", err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileFault("vault.Open", err)
	}
	defer func() { _ = f.Close() }() // only read
	first, err := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	id, ok := strings.CutPrefix(strings.TrimSuffix(first, "\n"), ledgerHead)
	if err != nil || !ok || len(id) != 32 {
		return nil, tampered("its first line is not a ledger's")
	}
	l.id, l.off, l.chain = id, int64(len(first)), sha256.Sum256([]byte(first))
	return l, nil
}

func tampered(what string) error {
	return fault.New(fault.Unavailable, "vault.Open", "ledger_tampered", "the deletion ledger was changed: "+what)
}

// parseEntry reads a line, without its line end, as the one after the entry with the number seq and the chain prev.
func parseEntry(line []byte, seq int64, prev chain) (e entry, err error) {
	body, sum, ok := bytes.Cut(line, []byte(" #"))
	if !ok || len(sum) != 2*len(e.chain) {
		return e, errLedgerLine
	}
	var n [3]string
	parts := strings.Split(string(body), " ")
	if copy(n[:], parts) != 3 || len(parts) != 3 || len(n[2]) != 2*len(e.subject) {
		return e, errLedgerLine
	}
	var errs [4]error
	e.seq, errs[0] = strconv.ParseInt(n[0], 10, 64)
	e.at, errs[1] = strconv.ParseInt(n[1], 10, 64)
	_, errs[2] = hex.Decode(e.subject[:], []byte(n[2]))
	_, errs[3] = hex.Decode(e.chain[:], sum)
	if errors.Join(errs[:]...) != nil || e.seq != seq+1 || e.chain != link(prev, body) {
		return entry{}, errLedgerLine
	}
	return e, nil
}

func link(prev chain, body []byte) chain { return sha256.Sum256(append(prev[:], body...)) }

func (e *entry) line(prev chain) []byte {
	body := fmt.Appendf(nil, "%d %d %x", e.seq, e.at, e.subject)
	e.chain = link(prev, body)
	return fmt.Appendf(body, " #%x\n", e.chain)
}

// scan reads the entries that follow the given state, in order.
func scan(r io.Reader, seq int64, prev chain, fn func(e entry, size int64)) error {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return errTorn
			}
			return nil
		}
		if err != nil {
			return err
		}
		e, perr := parseEntry(line[:len(line)-1], seq, prev)
		if perr != nil {
			if _, more := br.Peek(1); more != nil && bytes.IndexByte(line, 0) >= 0 {
				return errTorn // blocks of the last line that never reached the disk read as zeros
			}
			return perr
		}
		seq, prev = e.seq, e.chain
		fn(e, int64(len(line)))
	}
}

// catchUp reads what other nodes, or an earlier run, have written, and cuts off a torn last line. It needs both locks.
func (l *ledger) catchUp(fn func(entry)) error {
	f, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		return fileFault("vault.ledger", err)
	}
	defer func() { _ = f.Close() }() // what it changes is synced below
	if _, err := f.Seek(l.off, io.SeekStart); err != nil {
		return fileFault("vault.ledger", err)
	}
	err = scan(f, l.seq, l.chain, func(e entry, size int64) {
		l.seq, l.chain, l.off = e.seq, e.chain, l.off+size
		fn(e)
	})
	switch {
	case errors.Is(err, errTorn):
		l.log.Warn("the deletion ledger's last line was cut short by a crash and is removed", "ledger_seq", l.seq+1)
		err = errors.Join(f.Truncate(l.off), f.Sync())
	case errors.Is(err, errLedgerLine):
		return tampered(fmt.Sprintf("entry %d does not follow from the one before it", l.seq+1))
	}
	return fileFault("vault.ledger", err)
}

// locked runs fn with the ledger to itself, on this node and among all nodes.
func (l *ledger) locked(fn func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	unlock, err := lockFile(l.lockPath)
	if err != nil {
		return fileFault("vault.ledger", err)
	}
	defer unlock()
	return fn()
}

// append adds an entry for the subject, unless it has one, and returns it once it is on disk. old says that an
// earlier run may have added it.
func (l *ledger) append(s subject, at time.Time, old bool) (e entry, err error) {
	err = l.locked(func() error {
		if err := l.catchUp(func(e entry) { l.seen[e.subject] = e.seq }); err != nil {
			return err
		}
		if _, seen := l.seen[s]; seen || old {
			if have, ok, err := l.find(s); ok || err != nil {
				e = have
				return err
			}
		}
		e = entry{seq: l.seq + 1, at: at.UnixMicro(), subject: s}
		line := e.line(l.chain)
		if err := l.write(line); err != nil {
			return fileFault("vault.ledger", err)
		}
		l.seq, l.chain, l.off = e.seq, e.chain, l.off+int64(len(line))
		l.seen[s] = e.seq
		l.copyHead()
		return nil
	})
	return e, err
}

func (l *ledger) write(line []byte) error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(l.off)) // nothing was acknowledged
	}
	return errors.Join(err, f.Close())
}

// find looks the subject up in the whole file.
func (l *ledger) find(s subject) (have entry, ok bool, err error) {
	err = l.each(func(e entry) {
		if e.subject == s && !ok {
			have, ok = e, true
		}
	})
	return have, ok, err
}

// each reads all entries known so far. It needs the locks.
func (l *ledger) each(fn func(entry)) error {
	f, err := os.Open(l.path)
	if err != nil {
		return fileFault("vault.ledger", err)
	}
	defer func() { _ = f.Close() }() // only read
	r := io.LimitReader(f, l.off)
	first := make([]byte, len(ledgerHead)+33)
	if _, err := io.ReadFull(r, first); err != nil {
		return fileFault("vault.ledger", err)
	}
	if err := scan(r, 0, sha256.Sum256(first), func(e entry, _ int64) { fn(e) }); err != nil {
		return tampered("it no longer holds what it held")
	}
	return nil
}

// copyHead writes the head to the second place. The entry is safe without it, so trouble is logged and the next append, or the
// next start, tries again.
func (l *ledger) copyHead() {
	if err := replaceFile(l.copyPath, fmt.Appendf(nil, "%s%s %d %x\n", copyHead, l.id, l.seq, l.chain)); err != nil {
		l.log.Warn("the deletion ledger's head could not be copied to its second place", "ledger_seq", l.seq)
	}
}

// headCopy is what the second place holds; seq is -1 when it holds nothing.
type headCopy struct {
	seq   int64
	chain chain
}

func (l *ledger) readCopy() (headCopy, error) {
	text, err := os.ReadFile(l.copyPath)
	if errors.Is(err, fs.ErrNotExist) {
		return headCopy{seq: -1}, nil
	}
	if err != nil {
		return headCopy{}, fileFault("vault.Open", err)
	}
	id, h, err := parseCopy(string(text))
	if err != nil {
		return h, tampered("the copy of its head at " + l.copyPath + " cannot be read")
	}
	if id != l.id && h.seq == 0 {
		return headCopy{seq: -1}, nil // of a ledger in which nothing ever stood
	}
	if id != l.id {
		return h, fault.New(fault.Unavailable, "vault.Open", "ledger_other", "the copy at "+l.copyPath+" is the head of another deletion ledger")
	}
	return h, nil
}

func emptyCopy(text string) bool {
	_, h, err := parseCopy(text)
	return err == nil && h.seq == 0
}

func parseCopy(text string) (id string, h headCopy, err error) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), copyHead)
	parts := strings.Split(rest, " ")
	if !ok || len(parts) != 3 || len(parts[2]) != 2*len(h.chain) {
		return "", h, errLedgerLine
	}
	var errs [2]error
	h.seq, errs[0] = strconv.ParseInt(parts[1], 10, 64)
	_, errs[1] = hex.Decode(h.chain[:], []byte(parts[2]))
	return parts[0], h, errors.Join(errs[:]...)
}
