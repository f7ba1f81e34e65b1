package api

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limitsTracked is how many callers a Limiter remembers; beyond that all are forgotten: limits are then late, not wrong.
const limitsTracked = 65536

// Limiter slows down whoever does something too often. It keeps keyed hashes of who, in memory only (promise E2).
type Limiter struct {
	limit rate.Limit
	burst int
	seed  maphash.Seed

	mu sync.Mutex
	by map[uint64]*rate.Limiter
}

// NewLimiter lets each caller do limit things a second, and burst at once.
func NewLimiter(limit float64, burst int) *Limiter {
	return &Limiter{limit: rate.Limit(limit), burst: burst, seed: maphash.MakeSeed(), by: map[uint64]*rate.Limiter{}}
}

// Address returns how long a client at the address has to wait, in whole seconds; zero lets it pass. A network of IPv6
// counts as one client.
func (l *Limiter) Address(addr netip.Addr) time.Duration {
	return l.wait(maphash.Comparable(l.seed, Subscriber(addr)))
}

// Key is Address for callers that are known by something else.
func (l *Limiter) Key(key string) time.Duration { return l.wait(maphash.String(l.seed, key)) }

func (l *Limiter) wait(key uint64) time.Duration {
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
