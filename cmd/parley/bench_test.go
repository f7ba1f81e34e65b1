package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"parley/internal/bench"
	"parley/internal/parleytest/testdb"
)

// TestBench runs a small measurement on both engines. No figure is asserted: only that every message was delivered once
// and in order, and that the report holds what it promises.
func TestBench(t *testing.T) {
	noop := filepath.Join(t.TempDir(), "parley-noop")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "parley_noop_vault", "-o", noop, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("sqlite", func(t *testing.T) {
		r := measure(t, "--noop-binary", noop, "--rounds", "1", "--messages", "500", "--fsync-delay", "1ms")
		if r.Stored == nil || r.Stored.Messages != 500 || r.Lists == nil || r.Lists.Inbox.Count == 0 || r.Lists.First.Count == 0 {
			t.Errorf("the figures of stored messages are missing: %+v, %+v", r.Stored, r.Lists)
		}
		if r.Sealing == nil || len(r.Sealing.Sealed) != 1 || len(r.Sealing.NoOp) != 1 {
			t.Errorf("the comparison is missing: %+v", r.Sealing)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		measure(t, "--database", testdb.Postgres(t), "--redis", testdb.Redis(t))
	})
	t.Run("the no-op vault serves nobody", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), noop, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "seals nothing") {
			t.Errorf("serve: %v\n%s", err, out)
		}
	})
}

func measure(t *testing.T, more ...string) bench.Report {
	t.Helper()
	args := append([]string{"bench", "chat", "--json", "--dir", t.TempDir(), "--visitors", "12", "--agents", "3", "--seconds", "1",
		"--rate", "100", "--in-flight", "8", "--reads", "20"}, more...)
	cmd := exec.CommandContext(t.Context(), parley, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r bench.Report
	check(t, json.Unmarshal(out, &r))
	if len(r.Phases) != 2 {
		t.Fatalf("%d phases", len(r.Phases))
	}
	for _, p := range r.Phases {
		if p.Sent == 0 || p.Acked != p.Sent || p.Stored != p.Sent || p.Delivered != 2*p.Sent || p.Missing+p.Doubled+p.OutOfOrder+len(p.Refused) != 0 {
			t.Errorf("phase %s: %+v", p.Name, p)
		}
		if p.ToOther.Count == 0 || p.ToOther.P99 <= 0 || p.ServerCores <= 0 || p.Batch < 1 || p.Commit.Count == 0 {
			t.Errorf("phase %s has no figures: %+v", p.Name, p)
		}
	}
	if r.Start.FirstMS <= 0 || r.Start.IdleRSS <= 0 || r.Disk.Count == 0 || r.Machine.Cores == 0 {
		t.Errorf("the report is not complete: %+v", r)
	}
	return r
}

// TestBenchVideo runs a small measurement of calls: everybody receives what everybody else sends, and the report holds what it promises.
func TestBenchVideo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), parley, "bench", "video", "--json", "--dir", t.TempDir(), "--watchers", "3", "--rooms", "2", "--per-room", "3",
		"--joins", "2", "--seconds", "1", "--bitrate", "300000")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r bench.VideoReport
	check(t, json.Unmarshal(out, &r))
	if r.IdleRSS <= 0 || r.Joins == nil || r.Joins.Pass.Count != 2 || r.Joins.FirstKeyFrame.Count != 2 || len(r.Loads) != 2 {
		t.Fatalf("the report is not complete: %+v", r)
	}
	for i, want := range []struct{ publishers, receivers, each int }{{1, 3, 3}, {6, 6, 2}} {
		l := r.Loads[i]
		if l.Publishers != want.publishers || l.Receivers != want.receivers || l.Forwarded == 0 || l.ServerCores <= 0 || l.ServerRSS <= 0 || l.Delay.Count == 0 {
			t.Errorf("load %s has no figures: %+v", l.Name, l)
		}
		if l.Missing == nil || *l.Missing != 0 || l.Lost != 0 || l.Doubled != 0 || l.Forwarded != l.Published*uint64(want.each) {
			t.Errorf("load %s: %d packets published, %d forwarded, %d lost, %d doubled", l.Name, l.Published, l.Forwarded, l.Lost, l.Doubled)
		}
	}
}
