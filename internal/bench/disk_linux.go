package bench

import (
	"os"
	"syscall"
)

// syncData is what SQLite and PostgreSQL call for a commit.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
