package api

import (
	"context"
	"log/slog"
)

// AllowKeys returns a slog handler that passes on only the attributes whose keys allow knows (promise E3); the catalogue
// knows them. Groups are flattened to their members. Unknown keys are dropped without a trace of their value.
func AllowKeys(next slog.Handler, allow func(key string) bool) slog.Handler {
	return &allowKeys{next: next, allow: allow}
}

type allowKeys struct {
	next  slog.Handler
	allow func(string) bool
}

// Enabled asks the next handler.
func (h *allowKeys) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle passes the record on without unknown keys.
func (h *allowKeys) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, 0)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.keep(a)...)
		return true
	})
	return h.next.Handle(ctx, out)
}

// WithAttrs keeps the known ones.
func (h *allowKeys) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		kept = append(kept, h.keep(a)...)
	}
	return &allowKeys{next: h.next.WithAttrs(kept), allow: h.allow}
}

// WithGroup ignores the group: its name could be anything.
func (h *allowKeys) WithGroup(string) slog.Handler { return h }

func (h *allowKeys) keep(a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		var out []slog.Attr
		for _, m := range v.Group() {
			out = append(out, h.keep(m)...)
		}
		return out
	case slog.KindAny:
		if err, ok := v.Any().(error); ok { // a library's message may hold values
			v = slog.StringValue(Cause(err))
		}
	}
	if !h.allow(a.Key) {
		return nil
	}
	return []slog.Attr{{Key: a.Key, Value: v}}
}
