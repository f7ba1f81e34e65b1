package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a forwarder.
const (
	// RetransmitInterval is the least time between two retransmissions of one packet to one subscriber.
	RetransmitInterval = 20 * time.Millisecond
	// MaxRetransmits is how often one packet is retransmitted to one subscriber.
	MaxRetransmits = 5

	history = 4   // segments in which a NACKed packet is looked for
	late    = 256 // how many packets a layer may go on after a switch while stragglers of the old segment are awaited
)

// Forwarder carries one source to one subscriber.
type Forwarder struct {
	src      *Source
	interest atomic.Uint32 // Layers whose packets must be looked at; the rest is refused without taking the lock

	mu            sync.Mutex
	ssrc, rtxSSRC uint32
	pt, rtxPT     uint8
	bound, closed bool

	wanted  int  // the highest layer by the subscriber's settings
	enabled bool // the subscriber wants the track at all
	allowed int  // the highest layer by the allocator; None is paused
	target  int  // the layer that is forwarded or awaited, None while nothing is
	current int  // the layer that is forwarded, None until its key frame came

	segs [history]segment
	seg  int // the current one, or the last

	position
	nacks []nack // by number; made when the first is asked for again
}

// position is how far a stream has come: what the next packet has to go on from.
type position struct {
	begun   bool
	high    uint64        // highest number sent
	lastTS  uint32        // timestamp of the newest frame sent,
	lastAt  time.Duration // and when it came
	lastPic int64
	lastTL0 uint8
	lastIdx uint8
	rtxSeq  uint16

	packets, octets uint64
}

// nack remembers what was retransmitted, so that one impatient subscriber does not get everything many times.
type nack struct {
	seq   uint64
	at    time.Duration
	count uint8
}

// NewForwarder subscribes to the source: wanted is the highest layer that the subscriber wants at first, or None. Nothing is
// forwarded before Bind.
func NewForwarder(src *Source, wanted int) *Forwarder {
	f := &Forwarder{src: src, enabled: true, wanted: src.clamp(wanted), allowed: src.count - 1, target: None, current: None}
	src.mu.Lock()
	src.forwarders = append(slices.Clip(src.forwarders), f)
	src.mu.Unlock()
	return f
}

func (s *Source) clamp(layer int) int { return max(None, min(layer, s.count-1)) }

// Bind says how the packets are labelled on the subscriber's connection, and begins.
func (f *Forwarder) Bind(ssrc uint32, payloadType uint8, now time.Time) {
	f.mu.Lock()
	f.ssrc, f.pt, f.bound = ssrc, payloadType, true
	f.mu.Unlock()
	f.choose(f.src.since(now), true)
}

// BindRTX makes retransmissions packets of their own stream (RFC 4588). Without it they repeat the original packet.
func (f *Forwarder) BindRTX(ssrc uint32, payloadType uint8) {
	f.mu.Lock()
	f.rtxSSRC, f.rtxPT = ssrc, payloadType
	f.mu.Unlock()
}

// Close ends the subscription; the forwarder forwards nothing any more.
func (f *Forwarder) Close() {
	f.src.mu.Lock()
	f.src.forwarders = slices.DeleteFunc(slices.Clone(f.src.forwarders), func(o *Forwarder) bool { return o == f })
	f.src.mu.Unlock()
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.choose(0, false)
}

// SetWanted sets the highest layer that the subscriber wants; None pauses the track at the subscriber's wish.
func (f *Forwarder) SetWanted(layer int, now time.Time) {
	f.mu.Lock()
	f.wanted = f.src.clamp(layer)
	f.mu.Unlock()
	f.choose(f.src.since(now), true)
}

// SetEnabled pauses and resumes the track at the subscriber's wish, and keeps what SetWanted said.
func (f *Forwarder) SetEnabled(enabled bool, now time.Time) {
	f.mu.Lock()
	f.enabled = enabled
	f.mu.Unlock()
	f.choose(f.src.since(now), true)
}

// Allow sets the highest layer that the subscriber's downlink bears; None pauses the track. The allocator calls it.
func (f *Forwarder) Allow(layer int, now time.Time) {
	f.mu.Lock()
	f.allowed = f.src.clamp(layer)
	f.mu.Unlock()
	f.choose(f.src.since(now), true)
}

// Wanted returns the highest layer that the subscriber wants now, None for nothing.
func (f *Forwarder) Wanted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.enabled || f.closed {
		return None
	}
	return f.wanted
}

// KeyFrame passes on that the subscriber has asked for a key frame (PLI or FIR).
func (f *Forwarder) KeyFrame(now time.Time) {
	f.mu.Lock()
	layer := f.current
	if layer == None {
		layer = f.target
	}
	f.mu.Unlock()
	if layer != None {
		f.src.KeyFrame(layer, now)
	}
}

// choose finds the target anew, after anything that it depends on has changed, and
// asks for the key frame to begin with.
func (f *Forwarder) choose(at time.Duration, ask bool) {
	f.mu.Lock()
	desired := min(f.wanted, f.allowed)
	if !f.enabled || f.closed || !f.bound {
		desired = None
	}
	if desired == None {
		f.target, f.current = None, None
	} else {
		f.target = f.src.pick(desired)
	}
	f.attend()
	target, waiting := f.target, f.target != f.current
	f.mu.Unlock()
	if ask && waiting && target != None {
		f.src.askKeyFrame(target, at)
	}
}

// attend says which layers' packets must be looked at.
func (f *Forwarder) attend() {
	var set Layers
	switch {
	case f.target == None:
	case f.current == None:
		set = upTo(f.target) // whichever begins first
	default:
		set = 1<<f.target | 1<<f.current
	}
	for i := range f.segs {
		if s := &f.segs[i]; s.late && !f.closed {
			set |= 1 << s.layer
		}
	}
	f.interest.Store(uint32(set))
}

// tick asks again for a key frame that is still missing.
func (f *Forwarder) tick(at time.Duration) {
	f.mu.Lock()
	target, waiting := f.target, f.target != f.current
	f.mu.Unlock()
	if waiting && target != None {
		f.src.askKeyFrame(target, at)
	}
}
