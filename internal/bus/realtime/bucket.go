package realtime

import (
	"net/netip"
	"sync"
	"time"
)

// bucket is a token bucket that may go into debt: then refused takes count too, so who goes on without waiting runs
// into the bottom.
type bucket struct {
	mu     sync.Mutex
	tokens float64
	last   time.Time
}

type verdict uint8

const (
	allowed verdict = iota
	refused         // come back after the wait
	abusive         // in debt by a whole burst
)

// take asks for one token at the time now. Refusals are charged up to the debt.
func (b *bucket) take(now time.Time, rate float64, burst, debt int) (verdict, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.tokens = float64(burst)
	} else if passed := now.Sub(b.last); passed > 0 {
		b.tokens = min(float64(burst), b.tokens+passed.Seconds()*rate)
	}
	b.last = now
	if b.tokens >= 1 {
		b.tokens--
		return allowed, 0
	}
	v := refused
	if debt > 0 {
		b.tokens--
		if b.tokens < -float64(debt) {
			b.tokens, v = -float64(debt), abusive
		}
	}
	return v, time.Duration((1 - b.tokens) / rate * float64(time.Second))
}

// addressLimiter holds a bucket for each address that connected of late. Addresses stay in memory, for as long as
// their bucket is not full again.
type addressLimiter struct {
	rate   float64
	burst  int
	shards [16]struct {
		mu      sync.Mutex
		buckets map[netip.Addr]*bucket
	}
}

// maxAddresses bounds the memory of a shard. When it is reached the shard forgets: limits are then late, not wrong.
const maxAddresses = 8192

func newAddressLimiter(rate float64, burst int) *addressLimiter {
	l := &addressLimiter{rate: rate, burst: burst}
	for i := range l.shards {
		l.shards[i].buckets = map[netip.Addr]*bucket{}
	}
	return l
}

// take reports whether the address may connect now, else after how long. Refusals cost nothing here: a handshake is
// repeated by clients that cannot read the answer.
func (l *addressLimiter) take(addr netip.Addr, now time.Time) (bool, time.Duration) {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr() // one subscriber owns a /64
	}
	raw := addr.As16()
	s := &l.shards[(raw[15]^raw[7]^raw[6])%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[addr]
	if b == nil {
		if len(s.buckets) >= maxAddresses {
			clear(s.buckets)
		}
		b = &bucket{}
		s.buckets[addr] = b
	}
	v, wait := b.take(now, l.rate, l.burst, 0)
	return v == allowed, wait
}

// sweep forgets the addresses whose bucket is full again.
func (l *addressLimiter) sweep(now time.Time) {
	full := time.Duration(float64(l.burst) / l.rate * float64(time.Second))
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for addr, b := range s.buckets {
			if now.Sub(b.last) > full {
				delete(s.buckets, addr)
			}
		}
		s.mu.Unlock()
	}
}
