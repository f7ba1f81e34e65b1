package app_test

import (
	"context"
	"io"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

// Two processes on one database that cannot hear each other would lose visitors' words between them.
func TestSecondNodeWithoutRedisRefuses(t *testing.T) {
	url, keys := testdb.Postgres(t), t.TempDir()
	config := func(c *app.Config) { c.Database, c.Keys, c.LedgerHead = url, keys, keys+".head" }
	first := parleytest.Start(t, parleytest.Options{Config: config})
	second := app.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", LogLevel: "error"}
	config(&second)
	serveFails(t, second, "redis_needed", "--redis")
	first.Stop(t)
	// A node that stopped properly is gone at once.
	ctx, cancel := context.WithCancel(context.Background())
	second.OnReady = func(string) { cancel() }
	if err := app.Serve(ctx, second, io.Discard, io.Discard); err != nil {
		t.Errorf("alone again: %v", err)
	}
}
