package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a server may take to become ready, and to stop when it is asked to.
const (
	readyWithin = 2 * time.Minute
	stopWithin  = 40 * time.Second
)

// Command says how to start a server in a process of its own.
type Command struct {
	Binary string
	Args   []string  // "bench serve …": that command announces itself on its standard output
	Wrap   []string  // a program and its arguments that run the server, such as strace; nil: none
	Stderr io.Writer // the server's log; nil: discarded
}

// Announcement is the line in JSON by which a server started for measuring says that it is ready.
type Announcement struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
}

// Server is a server in a process of its own.
type Server struct {
	Announcement
	StartedIn time.Duration // from the start of the process to its announcement

	cmd   *exec.Cmd
	hold  io.Closer     // the server's standard input: it stops when nobody holds the other end any more
	ended chan struct{} // closed when the process has ended and err is set
	err   error
}

// Start starts a server and waits until it is ready.
func Start(ctx context.Context, c Command) (*Server, error) {
	line := append(append([]string{}, c.Wrap...), append([]string{c.Binary}, c.Args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process, which stops the other
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, hold: in, ended: make(chan struct{})}
	announced := make(chan error, 1)
	go s.read(out, announced)
	select {
	case err = <-announced:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(readyWithin):
		err = errors.New("the server was not ready in time")
	}
	if err != nil {
		_ = s.Kill()
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s.StartedIn = time.Since(began)
	return s, nil
}

// read waits for the announcement and then for the end of the process.
func (s *Server) read(out io.Reader, announced chan<- error) {
	lines := bufio.NewScanner(out)
	found := false
	for lines.Scan() {
		if !found && json.Unmarshal(lines.Bytes(), &s.Announcement) == nil && s.PID > 0 {
			found = true
			announced <- nil
		}
	}
	s.err = s.cmd.Wait()
	close(s.ended)
	if !found {
		announced <- fmt.Errorf("it ended before it was ready: %w", s.err)
	}
}

// Signal sends a signal to the server itself, not to what wraps it.
func (s *Server) Signal(sig syscall.Signal) error { return syscall.Kill(s.PID, sig) }

// Stop asks the server to stop, waits for it, and reports how it ended.
func (s *Server) Stop() error {
	select {
	case <-s.ended:
		return errors.Join(errors.New("the server had ended by itself"), s.err)
	default:
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, s.Kill())
	}
	select {
	case <-s.ended:
		return s.err
	case <-time.After(stopWithin):
		return errors.Join(errors.New("the server did not stop in time"), s.Kill())
	}
}

// Kill ends the server without a warning and waits until it is gone.
func (s *Server) Kill() error {
	err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Ended is closed when the process has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// RSS returns the server's resident memory in bytes.
func (s *Server) RSS() (int64, error) {
	status, err := os.ReadFile(s.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

func (s *Server) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(s.PID), name)
}

// clockTicks is the unit of /proc/PID/stat per second: USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

// CPU returns the processor time that the server has used.
func (s *Server) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(s.proc("stat"))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold spaces; utime and stime are the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is shorter than known")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// strace returns the program that adds a delay to every fsync of what it runs. Only those system calls stop in it: the
// kernel's filter lets the others through at full speed.
func strace(delay time.Duration) []string {
	us := strconv.FormatInt(delay.Microseconds(), 10)
	return []string{"strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
		"-e", "inject=fdatasync,fsync:delay_enter=" + us}
}

// HaveStrace says whether strace is installed, or what to do.
func HaveStrace() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is not installed, so nothing can be added to an fsync: apt-get install strace")
	}
	return nil
}
