package rtc

import (
	"strings"
	"sync"
	"time"

	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
)

// bandwidth is what the way to a client is taken to carry.
type bandwidth struct {
	budget float64       // bits a second; 0: as many as are wanted
	easy   time.Time     // since when everybody has what they want
	trip   time.Duration // the shortest round trip of late
	before time.Duration // and of the minute before
	turn   time.Time     // when trip becomes before
}

// How a way proves to be too narrow, and wide again. What the estimator says of a way on which nothing is wrong is mostly an echo of how
// little was sent on it, or of a busy machine; so it counts when packets are lost or queue up, and then it says how much to send.
const (
	harmfulLoss  = 0.06
	harmfulQueue = 120 * time.Millisecond // beyond the shortest round trip
	tripWindow   = time.Minute
	recovery     = 1.05 // growth of the budget from one look to the next, while nothing is wrong
	easyFor      = 20 * time.Second
)

// estimate is how many bits a second the way is taken to carry, 0 for as many as are wanted.
func (s *subscriber) estimate(now time.Time) int {
	if !s.rate.Measured() {
		return 0
	}
	w, estimate := &s.width, float64(s.rate.Bitrate())
	switch harm := s.harmed(now); {
	case harm && (w.budget == 0 || estimate < w.budget):
		w.budget, w.easy = estimate, time.Time{}
	case !harm && w.budget > 0:
		w.budget = max(estimate, w.budget*recovery)
	}
	return int(w.budget)
}

// harmed says whether packets are lost on the way to the client, or queue up.
func (s *subscriber) harmed(now time.Time) bool {
	w := &s.width
	if lost, sent := s.recent.take(); lost > harmfulLoss*float64(max(sent, leastPackets)) {
		return true
	}
	trip := time.Duration(s.rtt.Load())
	if trip == 0 {
		return false
	}
	if now.After(w.turn) {
		w.before, w.trip, w.turn = w.trip, trip, now.Add(tripWindow)
	}
	w.trip = min(w.trip, trip)
	base := w.trip
	if w.before > 0 {
		base = min(base, w.before)
	}
	return trip > base+harmfulQueue
}

// settled notes whether everybody has what they want.
func (w *bandwidth) settled(now time.Time, all bool) {
	switch {
	case !all:
		w.easy = time.Time{}
	case w.easy.IsZero():
		w.easy = now
	case now.Sub(w.easy) > easyFor:
		w.budget = 0
	}
}

// allocate divides the way to the client among what it receives.
func (s *subscriber) allocate() {
	now := time.Now()
	s.width.settled(now, s.share.Allocate(s.estimate(now), now))
}

// repeats bounds what is sent again to one subscriber: as much as its way is taken to carry. Whoever asks for more would have the engine
// send everything it keeps many times over, and would not get it.
type repeats struct {
	mu    sync.Mutex
	bytes bucket
}

// allow says whether one more packet may be sent again, on a way of so many bits a second.
func (r *repeats) allow(now time.Time, rate int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok, _ := r.bytes.take(now, 0, float64(rate)/8, rate/8)
	return ok
}

// spend notes how many bytes that were. They may be more than there was room for; what follows then waits longer.
func (r *repeats) spend(n int) {
	r.mu.Lock()
	r.bytes.tokens -= float64(n)
	r.mu.Unlock()
}

// report sends the client, about once a second, how the clocks of what it receives relate.
func (s *subscriber) report(now time.Time) {
	for _, sub := range s.owner.subs {
		sub.down.report(now)
	}
}

// checkQuality tells the publisher which layers of a track anybody wants, when that has changed. It runs in the owner's mailbox.
func (t *track) checkQuality() {
	if t.source == nil || !t.source.Codec().Video() {
		return
	}
	if _, changed := t.source.Needed(time.Now()); changed {
		t.tellQuality()
	}
}

// tellQuality tells the publisher which layers are wanted. One that was asked to may then save itself the others.
func (t *track) tellQuality() {
	if t.source == nil || !t.source.Codec().Video() {
		return
	}
	layers, _ := t.source.Needed(time.Now())
	var qualities []*signal.SubscribedQuality
	for q := signal.VideoQuality_LOW; q <= signal.VideoQuality_HIGH; q++ {
		layer := t.source.LayerForQuality(int(q))
		qualities = append(qualities, &signal.SubscribedQuality{Quality: q, Enabled: layer != forward.None && layers.Has(layer)})
	}
	_, codec, _ := strings.Cut(strings.ToLower(t.mime), "/")
	t.owner.send(&signal.SignalResponse{Message: &signal.SignalResponse_SubscribedQualityUpdate{
		SubscribedQualityUpdate: &signal.SubscribedQualityUpdate{TrackSid: t.sid, SubscribedQualities: qualities,
			SubscribedCodecs: []*signal.SubscribedCodec{{Codec: codec, Qualities: qualities}}}}})
}
