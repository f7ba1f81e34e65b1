package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	program "parley/cmd/parley"
)

// parley is the path of the program under test, the real one. It is built once for all tests of this package but the
// scripts: those run the test's own binary under the program's name, so that the race detector watches it too.
var parley string

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"parley": program.Main})
}

// suite builds the program before the tests run. It does nothing when the binary runs as the program.
type suite struct{ m *testing.M }

// Run implements testscript.TestingM.
func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "parley-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	parley = filepath.Join(dir, "parley")
	build := exec.Command("go", "build", "-o", parley, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	return s.m.Run()
}
