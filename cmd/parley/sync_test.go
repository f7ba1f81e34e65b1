package main_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"parley/internal/bench"
)

// TestSyncBeforeAcknowledgement looks at the server's system calls: before a message's client id is written to any
// connection, a sync of the write-ahead log has succeeded that began after the message was written to that log.
func TestSyncBeforeAcknowledgement(t *testing.T) {
	data := t.TempDir()
	traced := trace(t, data, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn", "--limit-starts", "1000", "--limit-commands", "1000")
	if len(traced.early) > 0 {
		t.Errorf("%d of %d messages were answered before they were on disk: %v", len(traced.early), tracedMessages, traced.early[:min(len(traced.early), 10)])
	}
}

// TestSyncOffIsNoticed is the test of the test above: with synchronous=OFF its check finds every message.
func TestSyncOffIsNoticed(t *testing.T) {
	data := t.TempDir()
	traced := trace(t, data, "bench", "serve", "--data", data, "--sync-off")
	if len(traced.early) != tracedMessages {
		t.Errorf("%d of %d messages were noticed that nobody had put on disk", len(traced.early), tracedMessages)
	}
}

const (
	tracedTalks    = 4  // conversations, each with a writer over HTTP and one over a socket
	tracedEach     = 25 // messages of each writer
	tracedMessages = tracedTalks * 2 * tracedEach
)

// trace runs a server under strace while people write, and returns what its system calls say.
func trace(t *testing.T, data string, args ...string) *syscalls {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is not installed: apt-get install strace")
	}
	r, w, err := os.Pipe()
	check(t, err)
	calls := &syscalls{written: map[string]int{}, synced: map[string]bool{}, told: map[string]bool{}, pending: map[string]pending{}}
	read := make(chan error, 1)
	go func() { read <- calls.read(r) }()
	// -D keeps the server our own child; the trace comes through the pipe that it inherits as descriptor 3, and ends when both are gone.
	server := startWith(t, []*os.File{w}, []string{"strace", "-D", "-f", "-yy", "-qq", "-s", "65536", "--seccomp-bpf", "-o", "/dev/fd/3",
		"-e", "signal=none", "-e", "trace=write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync"}, args...)
	check(t, w.Close())

	people := settle(t, server.url, data, tracedTalks)
	var group sync.WaitGroup
	for i, talk := range people.talks {
		socket, err := bench.Connect(t.Context(), bench.SocketOptions{Client: people.client, URL: server.url, Token: talk.token})
		check(t, err)
		t.Cleanup(socket.Close)
		for kind, send := range []func(int) error{
			func(n int) error {
				return viaSocket(socket)(t.Context(), &sent{talk: talk, clientID: marker(n), body: "Over the socket"})
			},
			func(n int) error {
				return people.viaHTTP(server.url, "/widget", who{token: talk.token})(t.Context(), &sent{talk: talk, clientID: marker(n), body: "Over HTTP"})
			},
		} {
			first := (i*2 + kind) * tracedEach
			group.Go(func() {
				for n := range tracedEach {
					if err := send(first + n); err != nil {
						t.Errorf("message %d: %v", first+n, err)
					}
				}
			})
		}
	}
	group.Wait()
	if err := server.stop(t); err != nil {
		t.Errorf("the server stopped with: %v", err)
	}
	check(t, <-read)
	if len(calls.written) != tracedMessages || len(calls.told) != tracedMessages {
		t.Fatalf("of %d messages %d were seen on their way to the log and %d to a client: the trace is not what this test understands",
			tracedMessages, len(calls.written), len(calls.told))
	}
	return calls
}

// marker is a client id that can be found in whatever bytes it stands among.
func marker(n int) string { return fmt.Sprintf("mark-%06d", n) }

var markers = regexp.MustCompile(`mark-\d{6}`)

// syscalls follows a trace. Its lines are in the order in which strace let the server go on, so a line that stands
// after another one happened after it; a call that took long has a line for its begin and one for its end.
type syscalls struct {
	line    int
	written map[string]int     // marker → line at which its write to the log had ended
	synced  map[string]bool    // marker → a sync that began later has succeeded
	told    map[string]bool    // marker → it was written to a connection
	early   []string           // those that were told before they were synced
	pending map[string]pending // thread → the call that has begun in it
}

type pending struct {
	call string
	line int
}

func (s *syscalls) read(r io.ReadCloser) error {
	defer r.Close()
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.line++
		thread, call, _ := strings.Cut(strings.TrimSpace(text), " ")
		s.take(thread, strings.TrimSpace(call))
	}
}

func (s *syscalls) take(thread, call string) {
	if strings.HasSuffix(call, "<unfinished ...>") {
		s.pending[thread] = pending{call, s.line}
		s.begins(call)
		return
	}
	if strings.HasPrefix(call, "<... ") {
		begun := s.pending[thread]
		delete(s.pending, thread)
		s.ends(begun.call, call, begun.line)
		return
	}
	s.begins(call)
	s.ends(call, call, s.line)
}

// begins looks at what leaves for a client: from here on it may be there.
func (s *syscalls) begins(call string) {
	name, _, _ := strings.Cut(call, "(")
	if name == "pwrite64" || name == "pwritev" || !strings.Contains(call[:min(len(call), 200)], "<TCP") {
		return
	}
	for _, m := range markers.FindAllString(call, -1) {
		if !s.synced[m] && !s.told[m] {
			s.early = append(s.early, m)
		}
		s.told[m] = true
	}
}

// ends looks at what reached the log, and at syncs that succeeded. call is as it began, result as it ended.
func (s *syscalls) ends(call, result string, began int) {
	name, rest, _ := strings.Cut(call, "(")
	target, _, _ := strings.Cut(rest, ">")
	if !strings.HasSuffix(target, "parley.db-wal") {
		return
	}
	switch name {
	case "pwrite64", "pwritev", "write":
		for _, m := range markers.FindAllString(call, -1) {
			if _, before := s.written[m]; !before {
				s.written[m] = s.line
			}
		}
	case "fsync", "fdatasync":
		if !strings.HasSuffix(result, "= 0") {
			return
		}
		for m, at := range s.written {
			if at < began {
				s.synced[m] = true
			}
		}
	}
}
