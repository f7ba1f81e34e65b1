package chat

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley/internal/api"
	"parley/internal/fault"
)

const (
	startsPerMinute = 10
	startsBurst     = 20
	startsTracked   = 65536 // addresses remembered; beyond that all are forgotten: limits are then late, not wrong
)

// startLimiter slows down whoever opens conversations from one address. It keeps a keyed hash of the address, in memory only
// (promise E2).
type startLimiter struct {
	mu    sync.Mutex
	seed  maphash.Seed
	limit rate.Limit
	burst int
	by    map[uint64]*rate.Limiter
}

func newStartLimiter(perMinute int) *startLimiter {
	burst := startsBurst
	if perMinute <= 0 {
		perMinute = startsPerMinute
	} else {
		burst = max(burst, 2*perMinute)
	}
	return &startLimiter{seed: maphash.MakeSeed(), limit: rate.Limit(float64(perMinute) / 60), burst: burst, by: map[uint64]*rate.Limiter{}}
}

func (l *startLimiter) allow(addr netip.Addr) error {
	key := maphash.Comparable(l.seed, api.Subscriber(addr))
	l.mu.Lock()
	defer l.mu.Unlock()
	lim := l.by[key]
	if lim == nil {
		if len(l.by) >= startsTracked {
			clear(l.by) // looking for idle ones would take long, with the lock held, for every new address of a flood
		}
		lim = rate.NewLimiter(l.limit, l.burst)
		l.by[key] = lim
	}
	r := lim.Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return fault.Retry("chat.start", "too_many_conversations", "Too many conversations were started from here. Wait a little.", wait.Round(time.Second)+time.Second)
	}
	return nil
}
