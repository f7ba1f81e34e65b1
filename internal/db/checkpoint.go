package db

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// moveAt is the length of the log, in pages, from which on it is moved into the database file. The longer, the more
	// often a hot page is written to the log only; but the longer, too, the disk is busy with one move; at 4 KiB this is 12 MiB.
	moveAt = 3000
	// finishAt is how much of the log may be left for the writer to move by itself, between two batches. Only when
	// nothing is left can the log begin anew.
	finishAt = 300
	// moveLimit is the length at which writing waits until the log has begun anew.
	moveLimit = 40000
	// lookPause is how long the log's length is taken for known.
	lookPause = 20 * time.Millisecond
)

// checkpointer moves the log into the database file beside the writer, on a connection of its own. Done by the writer, as
// SQLite does by default, every move would hold up all callers until the database file is synced.
type checkpointer struct {
	conn   *sqliteConn
	writer *writer
	mu     sync.Mutex // one move at a time
	done   chan struct{}
}

// loop runs until closing.
func (k *checkpointer) loop(closing <-chan struct{}) {
	defer close(k.done)
	for {
		select {
		case <-k.writer.committed:
		case <-closing:
			return
		}
		k.move(closing)
		t := time.NewTimer(lookPause)
		select {
		case <-t.C:
		case <-closing:
			t.Stop()
			return
		}
	}
}

// move empties the log if it is long. Errors are left to the next round: a log that cannot be moved (the disk is full) grows until
// writes fail, and those say so.
func (k *checkpointer) move(closing <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	length, left, err := k.conn.checkpoint("NOOP")
	if err != nil || left < moveAt {
		return
	}
	for left > finishAt {
		before := left
		if length, left, err = k.conn.checkpoint("PASSIVE"); err != nil {
			return
		}
		if left >= before/2 { // a reader holds an old snapshot, or the writer is as fast
			break
		}
		select {
		case <-closing:
			return
		default:
		}
	}
	if left > finishAt && length < moveLimit {
		return
	}
	mode := "PASSIVE"
	if length >= moveLimit {
		mode = "RESTART" // waits for readers
	}
	k.writer.exclusive(context.Background(), "db.move", func(c *sqliteConn) error { //nolint:errcheck // see above
		if _, err := c.exec(context.Background(), "PRAGMA busy_timeout = 200", nil); err != nil {
			return err
		}
		_, _, err := c.checkpoint(mode)
		if _, rerr := c.exec(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()), nil); err == nil {
			err = rerr
		}
		return err
	})
}

// checkpoint moves the log in one of SQLite's modes and returns its length and what was not moved, in pages.
func (c *sqliteConn) checkpoint(mode string) (length, left int, err error) {
	var busy, moved int
	err = c.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &length, &moved)
	if err == nil && busy != 0 {
		err = unavailable("busy", "a reader holds the write-ahead log", nil)
	}
	return length, length - moved, classify(err)
}
