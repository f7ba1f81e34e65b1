package transport

import (
	"math"
	"slices"
	"time"
)

// The estimate follows Google's congestion control (draft-ietf-rmcat-gcc): queues that fill on the way show as packets
// that arrive further apart than they were sent, and the trend of that difference says "too much" before anything is
// lost. Some things differ, because a server sends whole layers of video and not whatever fits:
//
//   - Wi-Fi delays packets at random, and a trend is soon found in that. It counts only if there is a queue: if even the
//     quickest of the last packets took longer than the quickest of the last minute. A queue that stays counts without a trend.
//   - What is sent is mostly less than what fits. A limit of 1.5 times the acknowledged rate would never let a better
//     layer be tried, so the estimate may grow beyond, slowly.
//   - A better layer that was too much shall not be tried every few seconds. The rate at which it failed is a ceiling for
//     ten seconds, and twice as long after every further failure.
const (
	groupSpan    = 5 * time.Millisecond // packets sent within it count as one
	trendWindow  = 20                   // groups that the trend is taken over
	trendGain    = 4
	trendDeltas  = 60
	delaySmooth  = 0.9
	overuseAfter = 10.0 // ms of a trend above the threshold

	thresholdStart = 12.5 // ms
	thresholdMin   = 6.0
	thresholdMax   = 600.0
	thresholdUp    = 0.0087
	thresholdDown  = 0.039
	thresholdJump  = 15.0

	decrease    = 0.85
	below       = 0.93 // the ceiling, as a share of what was too much
	growth      = 1.08 // a second
	lossHigh    = 0.10
	lossLow     = 0.02
	lossHuge    = 0.25 // needs no second look
	lossPackets = 50   // at least, for a judgement on loss
	lossSmooth  = 0.8

	queueSome    = 15.0  // ms that must wait for a trend to count
	queueMuch    = 150.0 // ms that are too much even if they grow no more
	queueDrain   = time.Second
	queueOver    = 10               // groups of which the quickest counts
	baseFor      = 30 * time.Second // half of how long the quickest is remembered: clocks drift, and ways change
	ackWindow    = 500 * time.Millisecond
	decreaseGap  = 200 * time.Millisecond
	ceilingFirst = 10 * time.Second
	ceilingLast  = 80 * time.Second
	// freeGrowth is what the estimate may reach without being used: a few faces in good quality.
	freeGrowth   = 8_000_000
	beyondActual = 4
)

// ack is what a client says about one packet.
type ack struct {
	sent    time.Duration // on our clock
	arrived time.Duration // on the client's clock; meaningless if lost
	size    int
	lost    bool
}

// estimate is the state of the controller. It is not safe for concurrent use.
type estimate struct {
	rate     float64
	measured bool
	reported bool          // packet by packet, at least once
	last     time.Duration // of the last feedback
	fell     time.Duration // when the rate was last lowered

	ceiling float64 // 0: none
	until   time.Duration
	backoff time.Duration

	acked    []ackedBytes  // of the last ackWindow
	newest   time.Duration // when the last packet arrived, on the client's clock,
	heard    time.Duration // and when we learned of it, on ours
	group    group
	before   group
	trend    trend
	queue    queue
	lost     int
	received int
	loss     float64
}

type ackedBytes struct {
	at   time.Duration
	size int
}

type group struct {
	first, sent, arrived time.Duration
	ok                   bool
}

func newEstimate() *estimate {
	return &estimate{rate: InitialBitrate, trend: trend{threshold: thresholdStart}}
}

// feedback takes in one report, in the order of sending, and gives the new rate.
func (e *estimate) feedback(now time.Duration, acks []ack) float64 {
	if len(acks) == 0 {
		return e.rate
	}
	dt := min(now-e.last, time.Second)
	if !e.reported {
		dt = 0
	}
	e.measured, e.reported, e.last = true, true, now
	over := e.trend.state == overuse
	for _, a := range acks {
		if a.lost {
			e.lost++
			continue
		}
		e.received++
		e.arrivedAt(now, a)
		if e.arrival(a) == overuse {
			over = true
		}
	}
	lossy, calm := e.losses()
	waiting := e.queue.waiting()
	switch {
	case over && waiting > queueSome, waiting > queueMuch && now-e.fell > queueDrain:
		e.lower(now, decrease*e.actual(now))
	case lossy > 0:
		e.lower(now, e.rate*(1-lossy/2))
	case e.trend.state == normal && calm && waiting < queueMuch:
		e.raise(now, dt)
	}
	return e.rate
}

// remote takes the estimate of a client that makes its own (REMB), as long as it reports nothing better.
func (e *estimate) remote(now time.Duration, bits float64) float64 {
	if !e.reported || now-e.last > 5*time.Second {
		e.measured, e.rate = true, bound(bits)
	}
	return e.rate
}

func bound(rate float64) float64 {
	if math.IsNaN(rate) {
		return MinBitrate
	}
	return min(max(rate, MinBitrate), MaxBitrate)
}

// lower goes down, but not twice for the same queue.
func (e *estimate) lower(now time.Duration, to float64) {
	if now-e.fell < decreaseGap && to > e.rate/2 {
		return
	}
	if to >= e.rate {
		return
	}
	failed := min(e.rate, max(e.actual(now), to))
	again := e.ceiling > 0 && failed < 1.3*e.ceiling && now < e.until+e.backoff
	switch {
	case again && now < e.until: // still coming down, or the way has become worse: no new failure of a try
	case again:
		e.backoff = min(2*e.backoff, ceilingLast)
	default:
		e.backoff = ceilingFirst
	}
	e.rate, e.fell, e.loss = bound(to), now, 0 // what was lost was lost to the rate that is no more
	e.ceiling, e.until = below*failed, now+e.backoff
}

// raise goes up by some percent a second, up to the ceiling while there is one.
func (e *estimate) raise(now, dt time.Duration) {
	limit := max(freeGrowth, beyondActual*e.actual(now))
	if e.ceiling > 0 && now < e.until {
		limit = min(limit, e.ceiling)
	}
	if e.rate >= limit {
		return
	}
	e.rate = bound(min(e.rate*math.Pow(growth, dt.Seconds())+1000*dt.Seconds(), limit))
}

// actual is the rate at which packets arrive, by the client's clock.
func (e *estimate) actual(now time.Duration) float64 {
	from := e.newest + (now - e.heard) - ackWindow
	e.acked = slices.DeleteFunc(e.acked, func(a ackedBytes) bool { return a.at <= from })
	bytes := 0
	for _, a := range e.acked {
		bytes += a.size
	}
	return float64(8*bytes) / ackWindow.Seconds()
}

// arrivedAt takes in that a packet arrived, for actual.
func (e *estimate) arrivedAt(now time.Duration, a ack) {
	if a.arrived < e.newest-10*time.Second || a.arrived > e.newest+time.Minute || len(e.acked) >= sentWindow { // the client's clock jumped, or it invents
		e.acked = e.acked[:0]
		e.newest = a.arrived
	}
	e.newest, e.heard = max(e.newest, a.arrived), now
	e.acked = append(e.acked, ackedBytes{a.arrived, a.size})
}

// losses gives the share that was lost, if it is high, and whether it is low enough to grow.
func (e *estimate) losses() (high float64, calm bool) {
	total := e.lost + e.received
	if total < lossPackets {
		return 0, e.loss <= lossLow
	}
	share := float64(e.lost) / float64(total)
	e.lost, e.received = 0, 0
	e.loss = lossSmooth*e.loss + (1-lossSmooth)*share
	if share > lossHuge {
		e.loss = max(e.loss, share)
	}
	if e.loss > lossHigh {
		high = e.loss
	}
	return high, e.loss <= lossLow
}

// arrival follows one packet that arrived.
func (e *estimate) arrival(a ack) usage {
	switch {
	case !e.group.ok:
		e.group = group{a.sent, a.sent, a.arrived, true}
		return e.trend.state
	case a.sent < e.group.first: // sent again, or reported late
		return e.trend.state
	case a.sent-e.group.first <= groupSpan:
		e.group.sent, e.group.arrived = max(e.group.sent, a.sent), max(e.group.arrived, a.arrived)
		return e.trend.state
	}
	state := e.trend.state
	if e.before.ok {
		sent, arrived := e.group.sent-e.before.sent, e.group.arrived-e.before.arrived
		if arrived < -time.Second || arrived > 10*time.Second { // the client's clock jumped
			e.trend, e.queue = trend{threshold: thresholdStart}, queue{}
		} else {
			e.queue.add(e.group.arrived-e.group.sent, e.group.sent)
			state = e.trend.add(sent, arrived, e.group.arrived)
		}
	}
	e.before, e.group = e.group, group{a.sent, a.sent, a.arrived, true}
	return state
}

// queue follows how long packets wait on the way: the quickest of the last few, beyond the quickest of all. The two clocks
// need not agree, only their differences count.
type queue struct {
	last [queueOver]time.Duration
	n    int
	base [2]time.Duration // the quickest of this period and of the one before
	turn time.Duration    // when this period began
}

func (q *queue) add(took, now time.Duration) {
	switch {
	case q.n == 0:
		q.base, q.turn = [2]time.Duration{took, took}, now
	case now-q.turn > baseFor:
		q.base, q.turn = [2]time.Duration{took, q.base[0]}, now
	default:
		q.base[0] = min(q.base[0], took)
	}
	q.last[q.n%queueOver] = took
	q.n++
}

func (q *queue) waiting() float64 {
	if q.n < queueOver {
		return 0
	}
	return ms(slices.Min(q.last[:]) - min(q.base[0], q.base[1]))
}

type usage uint8

const (
	normal usage = iota
	underuse
	overuse
)

// trend is the slope of the delay over the last groups, and what it means.
type trend struct {
	state     usage
	threshold float64 // ms, adapts: a stream beside TCP must not starve

	deltas      int
	accumulated float64
	smoothed    float64
	points      [trendWindow]point
	n           int
	start       time.Duration
	over        float64 // ms above the threshold
	overCount   int
	slope       float64
}

type point struct{ at, delay float64 }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// add takes the spacing of two groups.
func (t *trend) add(sent, arrived, at time.Duration) usage {
	if t.n == 0 {
		t.start = at
	}
	t.deltas = min(t.deltas+1, 1000)
	t.accumulated += ms(arrived - sent)
	t.smoothed = delaySmooth*t.smoothed + (1-delaySmooth)*t.accumulated
	t.points[t.n%trendWindow] = point{ms(at - t.start), t.smoothed}
	t.n++
	slope := t.slope
	if t.n >= trendWindow {
		slope = t.fit()
	}
	t.detect(slope, ms(sent))
	return t.state
}

func (t *trend) fit() float64 {
	var x, y float64
	for _, p := range t.points {
		x += p.at
		y += p.delay
	}
	x /= trendWindow
	y /= trendWindow
	var num, den float64
	for _, p := range t.points {
		num += (p.at - x) * (p.delay - y)
		den += (p.at - x) * (p.at - x)
	}
	if den == 0 {
		return t.slope
	}
	return num / den
}

func (t *trend) detect(slope, spacing float64) {
	value := float64(min(t.deltas, trendDeltas)) * slope * trendGain
	switch {
	case value > t.threshold:
		if t.overCount == 0 {
			t.over = spacing / 2
		} else {
			t.over += spacing
		}
		t.overCount++
		if t.over > overuseAfter && t.overCount > 1 && slope >= t.slope {
			t.over, t.overCount, t.state = 0, 0, overuse
		}
	case value < -t.threshold:
		t.over, t.overCount, t.state = 0, 0, underuse
	default:
		t.over, t.overCount, t.state = 0, 0, normal
	}
	t.slope = slope
	size := math.Abs(value)
	if size > t.threshold+thresholdJump {
		return
	}
	k := thresholdDown
	if size > t.threshold {
		k = thresholdUp
	}
	t.threshold = min(max(t.threshold+k*(size-t.threshold)*min(spacing, 100), thresholdMin), thresholdMax)
}
