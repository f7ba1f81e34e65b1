package rtc

import (
	"net/netip"
	"sync"
	"time"
)

// bucket is a token bucket: as many takes at once as the burst, and then the rate.
type bucket struct {
	tokens float64
	last   time.Time
}

// take asks for n tokens, and says how long to wait if there are not so many.
func (b *bucket) take(now time.Time, n, rate float64, burst int) (ok bool, wait time.Duration) {
	if b.last.IsZero() {
		b.tokens = float64(burst)
	} else if passed := now.Sub(b.last); passed > 0 {
		b.tokens = min(float64(burst), b.tokens+passed.Seconds()*rate)
	}
	b.last = now
	if b.tokens >= n {
		b.tokens -= n
		return true, 0
	}
	return false, time.Duration((n - b.tokens) / rate * float64(time.Second))
}

// full says whether the bucket has filled up again, and need not be remembered.
func (b *bucket) full(now time.Time, rate float64, burst int) bool {
	return b.tokens+now.Sub(b.last).Seconds()*rate >= float64(burst)
}

// maxAddresses bounds the memory of the limiter. When it is reached, all is forgotten: limits are then late, not wrong.
const maxAddresses = 50_000

// addressLimiter holds a bucket for each address that joined of late, until the bucket is full again.
type addressLimiter struct {
	rate  float64
	burst int

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
	swept   time.Time
}

func newAddressLimiter(rate float64, burst int) *addressLimiter {
	return &addressLimiter{rate: rate, burst: burst, buckets: map[netip.Addr]*bucket{}}
}

// sweepEvery is how often buckets that are full again are forgotten.
const sweepEvery = time.Minute

// take says whether a join from the address is within the limit, and if not when to come back. A network of IPv6 counts as one.
func (l *addressLimiter) take(addr netip.Addr, now time.Time) (ok bool, wait time.Duration) {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > sweepEvery {
		l.swept = now
		for a, b := range l.buckets {
			if b.full(now, l.rate, l.burst) {
				delete(l.buckets, a)
			}
		}
	}
	b := l.buckets[addr]
	if b == nil {
		if len(l.buckets) >= maxAddresses {
			clear(l.buckets)
		}
		b = &bucket{}
		l.buckets[addr] = b
	}
	return b.take(now, 1, l.rate, l.burst)
}
