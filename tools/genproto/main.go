// Command genproto makes the Go code of the .proto files named, beside them. It runs the system's protoc with the plugin of the
// protobuf module that go.mod requires, and leaves protoc's own version out of the result, so that machines with
// different ones make the same file.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const plugin = "google.golang.org/protobuf/cmd/protoc-gen-go"

// protocVersion is the line of the generated header that differs between machines.
var protocVersion = regexp.MustCompile(`(?m)^//\s+protoc +\S+\n`)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "genproto:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	if len(files) == 0 {
		return fmt.Errorf("name the .proto files")
	}
	if _, err := exec.LookPath("protoc"); err != nil {
		return fmt.Errorf("protoc is not installed: on Debian it is in the package protobuf-compiler (make setup installs it)")
	}
	dir, err := os.MkdirTemp("", "genproto")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin := filepath.Join(dir, "protoc-gen-go")
	if err := command("go", "build", "-o", bin, plugin); err != nil {
		return err
	}
	args := append([]string{"--plugin=protoc-gen-go=" + bin, "--go_out=.", "--go_opt=paths=source_relative"}, files...)
	if err := command("protoc", args...); err != nil {
		return err
	}
	for _, f := range files {
		if err := strip(strings.TrimSuffix(f, ".proto") + ".pb.go"); err != nil {
			return err
		}
	}
	return nil
}

func command(name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func strip(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, bytes.Replace(text, protocVersion.Find(text), nil, 1), 0o644)
}
