package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"parley/catalog"
	"parley/internal/api"
	"parley/internal/fault"
)

// The limits of sign-in. Attempts for an account are counted in the database, for all nodes together; failures from an
// address in memory, by each node for itself.
const (
	accountAttempts = 10 // in attemptWindow, whether the account exists or not
	addressAttempts = 20 // consecutive; success resets
	attemptWindow   = 15 * time.Minute
	maxAddresses    = 100_000 // remembered at a time; more than that, and the oldest half is forgotten
)

// throttle counts consecutive failures by address, IPv6 by its /64. It keeps no address: only an HMAC under a key that lives in
// memory and is replaced every day, with which everything counted is forgotten (promises E2, I5).
type throttle struct {
	mu     sync.Mutex
	limit  int
	window time.Duration
	key    [32]byte
	born   time.Time
	seen   map[[16]byte]*failures
}

type failures struct {
	n    int
	last time.Time
}

func newThrottle(limit int, window time.Duration) *throttle {
	return &throttle{limit: limit, window: window, seen: map[[16]byte]*failures{}}
}

// enter counts an attempt before it is made, so that many at once cannot slip through. It is a RateLimited fault when the
// address is blocked; a blocked attempt does not prolong the block. An address that is not known is not counted.
func (t *throttle) enter(addr netip.Addr, now time.Time) error {
	if !addr.IsValid() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hash(addr, now)
	f := t.seen[h]
	if f == nil || now.Sub(f.last) >= t.window {
		t.makeRoom(now)
		f = &failures{}
		t.seen[h] = f
	}
	if f.n >= t.limit {
		return tooMany(f.last.Add(t.window).Sub(now))
	}
	f.n++
	f.last = now
	return nil
}

// succeed resets the count: the failures were not consecutive.
func (t *throttle) succeed(addr netip.Addr, now time.Time) {
	if !addr.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.seen, t.hash(addr, now))
}

// excuse takes an attempt back that was none: the server could not carry it out.
func (t *throttle) excuse(addr netip.Addr, now time.Time) {
	if !addr.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.seen[t.hash(addr, now)]; f != nil && f.n > 0 {
		f.n--
	}
}

func (t *throttle) hash(addr netip.Addr, now time.Time) (out [16]byte) {
	if t.born.IsZero() || now.Sub(t.born) >= catalog.Day {
		_, _ = rand.Read(t.key[:]) // never fails
		t.born = now
		clear(t.seen)
	}
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write(api.Subscriber(addr).AsSlice())
	copy(out[:], mac.Sum(nil))
	return out
}

func (t *throttle) makeRoom(now time.Time) {
	if len(t.seen) < maxAddresses {
		return
	}
	for h, f := range t.seen {
		if now.Sub(f.last) >= t.window {
			delete(t.seen, h)
		}
	}
	for h := range t.seen {
		if len(t.seen) < maxAddresses/2 {
			return
		}
		delete(t.seen, h)
	}
}

func tooMany(wait time.Duration) error {
	return fault.Retry("account.SignIn", "too_many_attempts", "Too many attempts. Try again later.", max(wait, time.Second))
}
