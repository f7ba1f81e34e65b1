package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"parley/internal/fault"
)

// lockDir makes sure that one process has the data directory. The lock goes with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "app.lock", "data_dir", fmt.Sprintf("The data directory cannot be written: %v", err))
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close() // the error below says it all
		return nil, fault.New(fault.Conflict, "app.lock", "data_in_use", fmt.Sprintf("Another Parley is using %s.", dir))
	}
	if err != nil {
		_ = f.Close()
		return nil, fault.Wrap(fault.Unavailable, "app.lock", err)
	}
	return f, nil
}
