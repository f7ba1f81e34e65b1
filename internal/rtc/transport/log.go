package transport

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/pion/logging"
)

// silencer stands in for the loggers of the media libraries. Their messages hold addresses and user names, so none is
// ever written: warnings and errors are counted by scope, and a count that reaches 1, 10, 100 … is said at level debug.
type silencer struct {
	log *slog.Logger

	mu     sync.Mutex
	scopes map[string]*scope
}

func newSilencer(log *slog.Logger) *silencer {
	return &silencer{log: log, scopes: map[string]*scope{}}
}

// NewLogger gives the logger of a scope: "ice", "dtls", "sctp". The libraries choose the names; there are some twenty.
func (s *silencer) NewLogger(name string) logging.LeveledLogger {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.scopes[name]; ok {
		return l
	}
	l := &scope{name: name, log: s.log}
	s.scopes[name] = l
	return l
}

func (s *silencer) counts() map[string]uint64 {
	s.mu.Lock()
	scopes := maps.Clone(s.scopes)
	s.mu.Unlock()
	counts := make(map[string]uint64, len(scopes))
	for name, l := range scopes {
		if n := l.warnings.Load(); n > 0 {
			counts[name] = n
		}
	}
	return counts
}

// scope is one library's logger.
type scope struct {
	name     string
	log      *slog.Logger
	warnings atomic.Uint64
}

func (l *scope) count() {
	n := l.warnings.Add(1)
	for m := n; ; m /= 10 {
		if m == 1 {
			break
		}
		if m%10 != 0 {
			return
		}
	}
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "a media library warned", slog.String("op", l.name), slog.Uint64("count", n))
}

func (l *scope) Trace(string)          {}
func (l *scope) Tracef(string, ...any) {}
func (l *scope) Debug(string)          {}
func (l *scope) Debugf(string, ...any) {}
func (l *scope) Info(string)           {}
func (l *scope) Infof(string, ...any)  {}
func (l *scope) Warn(string)           { l.count() }
func (l *scope) Warnf(string, ...any)  { l.count() }
func (l *scope) Error(string)          { l.count() }
func (l *scope) Errorf(string, ...any) { l.count() }
