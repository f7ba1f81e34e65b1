package chat

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/fault"
)

const (
	startsPerMinute = 10
	startsBurst     = 20
	writesPerSecond = 20 // as on the socket
	writesBurst     = 40
	limitsTracked   = 65536 // addresses or sessions remembered; beyond that all are forgotten: limits are then late, not wrong
)

// limiter slows down whoever does something too often. It keeps keyed hashes of who, in memory only (promise E2).
type limiter struct {
	mu    sync.Mutex
	seed  maphash.Seed
	limit rate.Limit
	burst int
	by    map[uint64]*rate.Limiter
}

func newLimiter(limit rate.Limit, burst int) *limiter {
	return &limiter{seed: maphash.MakeSeed(), limit: limit, burst: burst, by: map[uint64]*rate.Limiter{}}
}

// newStartLimiter limits new conversations from one address.
func newStartLimiter(perMinute int) *limiter {
	if perMinute <= 0 {
		return newLimiter(startsPerMinute/60., startsBurst)
	}
	return newLimiter(rate.Limit(float64(perMinute)/60), max(startsBurst, 2*perMinute))
}

// newWriteLimiter limits what a visitor writes over HTTP with one token; the socket has its own limit.
func newWriteLimiter(perSecond int) *limiter {
	if perSecond <= 0 {
		return newLimiter(writesPerSecond, writesBurst)
	}
	return newLimiter(rate.Limit(perSecond), 2*perSecond)
}

// wait returns how long the one with the key has to wait; zero lets them pass.
func (l *limiter) wait(key uint64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim := l.by[key]
	if lim == nil {
		if len(l.by) >= limitsTracked {
			clear(l.by) // looking for idle ones would take long, with the lock held, for every new address of a flood
		}
		lim = rate.NewLimiter(l.limit, l.burst)
		l.by[key] = lim
	}
	r := lim.Reserve()
	wait := r.Delay()
	if wait > 0 {
		r.Cancel()
		wait = wait.Round(time.Second) + time.Second
	}
	return wait
}

func (s *Service) mayStart(addr netip.Addr) error {
	if wait := s.starts.wait(maphash.Comparable(s.starts.seed, api.Subscriber(addr))); wait > 0 {
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
	if wait := s.writes.wait(maphash.String(s.writes.seed, a.Session)); wait > 0 {
		return fault.Retry("chat.write", "too_many_messages", "Too much was sent at once. Wait a moment.", wait)
	}
	return nil
}
