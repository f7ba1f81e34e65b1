package video

import (
	"time"

	"parley/internal/api"
	"parley/internal/fault"
)

// newLimiter lets somebody do something so often in a minute, all at once if they like.
func newLimiter(perMinute int) *api.Limiter { return api.NewLimiter(float64(perMinute)/60, perMinute) }

// allowed returns RateLimited for who has to wait, because they have had a minute's share.
func allowed(op string, wait time.Duration) error {
	if wait > 0 {
		return fault.Retry(op, "too_many_calls", "Too many calls at once. Wait a moment.", wait)
	}
	return nil
}
