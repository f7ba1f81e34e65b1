package main_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The command line, as people type it. Each file of testdata/script is a script with its own working directory and an
// environment without any PARLEY_ variable.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "shape": shape, "save": save, "serve": serveCmd, "signal": signalCmd, "fetch": fetch,
			"occupy": occupy, "newerschema": newerSchema, "mode": mode,
		},
		Setup: func(e *testscript.Env) error {
			e.Values["server"] = &scripted{}
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits runs a program and checks its exit code: exits 2 parley frobnicate.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [args...]")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func lastJSON(ts *testscript.TestScript) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	if err := dec.Decode(&m); err != nil {
		ts.Fatalf("stdout is no JSON object: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("there is more than one JSON value on stdout")
	}
	return m
}

// shape checks that the last output is one JSON object with exactly these members: shape id:string api_key:number.
func shape(ts *testscript.TestScript, neg bool, args []string) {
	m := lastJSON(ts)
	var got []string
	for k, v := range m {
		kind := "other"
		switch v[0] {
		case '"':
			kind = "string"
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			kind = "number"
		}
		got = append(got, k+":"+kind)
	}
	slices.Sort(got)
	slices.Sort(args)
	if neg || !slices.Equal(got, args) {
		ts.Fatalf("the object has %v, want %v", got, args)
	}
}

// save puts a member of the last JSON output into the environment: save ORG id.
func save(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: save VARIABLE member")
	}
	raw, ok := lastJSON(ts)[args[1]]
	if !ok {
		ts.Fatalf("no member %q", args[1])
	}
	text := string(raw)
	if raw[0] == '"' {
		ts.Check(json.Unmarshal(raw, &text))
	}
	ts.Setenv(args[0], text)
}

// scripted is the server of a script.
type scripted struct {
	cmd   *exec.Cmd
	ended chan error
}

// serveCmd runs "parley serve" with the arguments until signal or the script's end, and waits until it says that it is
// ready. $URL is its address; what it writes is in server.out and server.log.
func serveCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("server").(*scripted)
	if neg || s.cmd != nil {
		ts.Fatalf("one server at a time")
	}
	out, err := os.Create(ts.MkAbs("server.out"))
	ts.Check(err)
	logged, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	cmd := exec.Command("parley", append([]string{"serve"}, args...)...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), logged
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PARLEY_DATA", "PARLEY_LISTEN", "PARLEY_BASE_URL", "PARLEY_CONFIG"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	pipe, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s.cmd, s.ended = cmd, make(chan error, 1)
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			fmt.Fprintln(out, lines.Text())
			if _, url, ok := strings.Cut(lines.Text(), "ready: "); ok {
				ready <- strings.TrimSuffix(url, "/app/")
			}
		}
		err := cmd.Wait()
		_, _ = out.Close(), logged.Close()
		s.ended <- err
	}()
	ts.Defer(func() {
		if s.cmd == cmd {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the script failed, or left it running
			<-s.ended
		}
	})
	select {
	case url := <-ready:
		ts.Setenv("URL", url)
	case err := <-s.ended:
		s.cmd = nil
		ts.Fatalf("the server did not start: %v\n%s", err, ts.ReadFile("server.log"))
	case <-time.After(within):
		ts.Fatalf("the server was not ready in time")
	}
}

// signalCmd sends the script's server a signal and checks its exit code: signal TERM 0.
func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("server").(*scripted)
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[0]] == 0 || s.cmd == nil {
		ts.Fatalf("usage, with a server: signal TERM|INT|KILL CODE")
	}
	ts.Check(s.cmd.Process.Signal(signals[args[0]]))
	select {
	case <-s.ended:
	case <-time.After(within):
		ts.Fatalf("the server did not stop in time")
	}
	code := s.cmd.ProcessState.ExitCode() // -1 after a signal that it did not handle
	s.cmd = nil
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("the server's exit code is %d, want %s\n%s", code, args[1], ts.ReadFile("server.log"))
	}
}

// fetch asks the script's server and prints the body: fetch 200 GET /healthz.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fetch STATUS METHOD path")
	}
	url := args[2]
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("URL") + url
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, args[1], url, nil)
	ts.Check(err)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
	if strconv.Itoa(res.StatusCode) != args[0] {
		ts.Fatalf("status %d, want %s: %s", res.StatusCode, args[0], body)
	}
}

// occupy listens on a port for the rest of the script: occupy VARIABLE.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// newerSchema records a migration in the data directory that a later release would have made.
func newerSchema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newerschema DIR")
	}
	d, err := sql.Open("sqlite", filepath.Join(ts.MkAbs(args[0]), "parley.db"))
	ts.Check(err)
	_, err = d.Exec(`INSERT INTO schema_migration (domain, version, applied_at) VALUES ('chat', 999, 0)`)
	ts.Check(errors.Join(err, d.Close()))
}

// mode checks a file's permission bits: mode 600 data/control.sock.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode BITS file")
	}
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
