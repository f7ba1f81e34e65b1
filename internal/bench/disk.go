package bench

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// syncs is how many writes the figure of the disk rests upon.
const syncs = 300

// probeDisk times a write of 4 KiB at the end of a file and its fdatasync: what one commit costs at least.
func probeDisk(dir string) (q Quantiles, err error) {
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	took := make([]time.Duration, 0, syncs)
	for range syncs {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return q, err
		}
		if err := syncData(f); err != nil {
			return q, err
		}
		took = append(took, time.Since(began))
	}
	return quantiles(took), nil
}
