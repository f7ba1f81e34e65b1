package realtime_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/internal/bus/realtime"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

// clientPackage is the npm package as the console uses it.
const clientPackage = "../../../web/node_modules/centrifuge"

// The unmodified client of npm works against the hub, alone and with Redis.
func TestCentrifugeClient(t *testing.T) {
	module := clientModule(t)
	t.Run("one node", func(t *testing.T) { t.Parallel(); runClient(t, module, "") })
	t.Run("redis", func(t *testing.T) { t.Parallel(); runClient(t, module, testdb.Redis(t)) })
}

func clientModule(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(clientPackage, "package.json"))
	if err != nil {
		t.Fatalf("the centrifuge client is not installed, run `make web` first: %v", err)
	}
	var about struct{ Version, Module string }
	if err := json.Unmarshal(b, &about); err != nil || about.Version != "5.8.0" {
		t.Fatalf("want centrifuge 5.8.0, have %q (%v); run `make web`", about.Version, err)
	}
	module, err := filepath.Abs(filepath.Join(clientPackage, about.Module))
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func runClient(t *testing.T, module, redisURL string) {
	s := newServer(t, func(o *realtime.Options) {
		o.Limits.Ping, o.Limits.Pong = time.Second, time.Second
		o.Handlers.Refresh = func(_ context.Context, _ realtime.Conn, token string) (time.Time, error) {
			if !strings.HasPrefix(token, "visitor:") {
				return time.Time{}, fault.New(fault.Unauthenticated, "test", "token_unknown", "")
			}
			return time.Now().Add(time.Second), nil
		}
		if redisURL != "" {
			o.Redis = redisClient(t, redisURL)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := []string{"testdata/client.mjs", module, s.url}
	if kind, err := exec.CommandContext(ctx, "node", "-p", "typeof WebSocket").Output(); err != nil {
		t.Fatalf("node is needed to run the client: %v", err)
	} else if strings.TrimSpace(string(kind)) == "undefined" {
		args = append([]string{"--experimental-websocket", "--no-warnings"}, args...) // Node 20
	}
	out, err := exec.CommandContext(ctx, "node", args...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
