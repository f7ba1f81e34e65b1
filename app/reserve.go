package app

import (
	"context"
	"os"
	"path/filepath"

	"parley/internal/db"
	"parley/internal/fault"
)

// Space that is kept for the day on which the disk is full: to open at all, SQLite needs a file of shared memory for each
// database, 32 KiB and more with a long write-ahead log. A server that cannot start could not even let people read.
const (
	reserveSize = 1 << 20
	reserveStep = 128 << 10 // given away at a time: a full disk may see more than one start
)

func (c *Config) reservePath() string { return filepath.Join(c.Data, "reserve") }

// openStore opens a database, if need be in the space that was kept.
func (a *App) openStore(ctx context.Context, cfg db.Config) (*db.DB, error) {
	for {
		d, err := db.Open(ctx, cfg)
		if err == nil || fault.Of(err).Kind != fault.Full || !a.cfg.lendReserve() {
			return d, err
		}
		a.log.Warn("the disk is full: the database is opened in the space that was kept for that")
	}
}

// lendReserve frees a step of the space, and reports whether there was one.
func (c *Config) lendReserve() bool {
	info, err := os.Stat(c.reservePath())
	return err == nil && info.Size() >= reserveStep && os.Truncate(c.reservePath(), info.Size()-reserveStep) == nil
}

// keepReserve takes the space, or what is missing of it. On a full disk there is none to take: the next start tries again.
func (c *Config) keepReserve() error {
	f, err := os.OpenFile(c.reservePath(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "app.keepReserve", err)
	}
	defer f.Close() //nolint:errcheck // nothing in it is of use
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(fault.Unavailable, "app.keepReserve", err)
	}
	for at := info.Size(); at < reserveSize; at += reserveStep {
		if _, err := f.WriteAt(make([]byte, min(reserveStep, reserveSize-at)), at); err != nil {
			return f.Truncate(at)
		}
	}
	return nil
}
