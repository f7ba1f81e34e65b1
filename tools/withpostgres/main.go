// Command withpostgres starts one private PostgreSQL cluster, runs the command that follows with its URL in
// PARLEY_TEST_POSTGRES, and stops the cluster. The tests of a whole run share it. It is for tests only: nothing
// that it stores outlives the command.
//
//	go run ./tools/withpostgres go test ./...
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"parley/internal/parleytest/testdb"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
	}
	os.Exit(code)
}

// run returns the command's exit code.
func run(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("usage: withpostgres COMMAND [ARG]…")
	}
	// An interrupt goes to the whole process group: the command ends by it, this process waits and tidies up.
	// Caught, not ignored: the command would inherit the latter.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if os.Getenv(testdb.EnvPostgres) == "" {
		cluster, err := testdb.StartPostgres()
		if err != nil {
			return 1, err
		}
		defer func() { _ = cluster.Stop() }()
		cmd.Env = append(os.Environ(), testdb.EnvPostgres+"="+cluster.URL)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	case err != nil:
		return 1, err
	}
	return 0, nil
}
