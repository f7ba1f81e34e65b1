package chat

import (
	"context"
	"net/netip"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/fault"
)

const (
	startsPerMinute = 10
	startsBurst     = 20
	writesPerSecond = 20 // as on the socket
	writesBurst     = 40
)

// newStartLimiter limits new conversations from one address.
func newStartLimiter(perMinute int) *api.Limiter {
	if perMinute <= 0 {
		return api.NewLimiter(startsPerMinute/60., startsBurst)
	}
	return api.NewLimiter(float64(perMinute)/60, max(startsBurst, 2*perMinute))
}

// newWriteLimiter limits what a visitor writes over HTTP with one token; the socket has its own limit.
func newWriteLimiter(perSecond int) *api.Limiter {
	if perSecond <= 0 {
		return api.NewLimiter(writesPerSecond, writesBurst)
	}
	return api.NewLimiter(float64(perSecond), 2*perSecond)
}

func (s *Service) mayStart(addr netip.Addr) error {
	if wait := s.starts.Address(addr); wait > 0 {
		return fault.Retry("chat.start", "too_many_conversations", "Too many conversations were started from here. Wait a little.", wait)
	}
	return nil
}

// mayWrite is asked before a visitor's writes over HTTP; members answer for themselves.
func (s *Service) mayWrite(ctx context.Context) error {
	a := actor.From(ctx)
	if a.Kind != actor.Visitor {
		return nil
	}
	if wait := s.writes.Key(a.Session); wait > 0 {
		return fault.Retry("chat.write", "too_many_messages", "Too much was sent at once. Wait a moment.", wait)
	}
	return nil
}
