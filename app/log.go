package app

import (
	"context"
	"io"
	"log"
	"log/slog"

	"parley/catalog"
	"parley/internal/api"
)

func newLogger(w io.Writer, cfg Config, c *catalog.Catalog) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	return slog.New(api.AllowKeys(h, c.LogKey))
}

// libraryLog takes what a library would print. Its lines hold addresses and whatever else it saw, so only the fact that it
// complained is kept (promises E2, E3).
func libraryLog(to *slog.Logger, part string) *log.Logger { return log.New(discreet{to, part}, "", 0) }

type discreet struct {
	to   *slog.Logger
	part string
}

func (d discreet) Write(p []byte) (int, error) {
	d.to.Debug("a library complained", "kind", d.part)
	return len(p), nil
}

// redisLog is libraryLog in the shape that the Redis client wants.
type redisLog struct{ to *slog.Logger }

// Printf notes that the client complained.
func (r redisLog) Printf(ctx context.Context, _ string, _ ...any) {
	r.to.DebugContext(ctx, "a library complained", "kind", "redis")
}
