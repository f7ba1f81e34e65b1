package forward

import "time"

const (
	// maxSkew is how far the publisher's timestamps may lead away from the time of arrival before they are not believed.
	maxSkew = 5 * time.Second
	spans   = 32 // numbers that were closed, remembered per segment
)

// segment is a stretch of one layer that is forwarded with one set of offsets. A switch, a pause or a restart of the
// publisher begins the next one.
type segment struct {
	active bool
	over   bool // another one has begun
	late   bool // it is over, but stragglers may come
	layer  int8
	gen    uint32
	start  uint64 // the first packet's number, in the source
	high   uint64 // the highest that was seen
	ts     uint32 // added to timestamps
	until  uint32 // the next segment's first timestamp, when it is over
	pic    int64  // added to picture ids
	tl0    uint8
	idx    uint8

	spans [spans]span
	count int
}

// span is the offset of numbers from one on; a new one begins where padding was dropped.
type span struct {
	from uint64
	off  uint64 // wraps
}

// offset returns the offset for a number of the source, false when that is too long ago.
func (s *segment) offset(seq uint64) (uint64, bool) {
	for i := s.count - 1; i >= 0; i-- {
		if s.spans[i].from <= seq {
			return s.spans[i].off, true
		}
	}
	return 0, false
}

// closeUp gives back the number of a packet that nobody gets: those behind it follow on those before. Nothing is left to say about
// the number itself, so that a run of padding takes one span.
func (s *segment) closeUp(seq uint64) {
	last := &s.spans[s.count-1]
	next := span{from: seq + 1, off: last.off - 1}
	switch {
	case last.from == seq && s.count > 1:
		*last = next
		return
	case s.count == spans:
		copy(s.spans[:], s.spans[1:])
	default:
		s.count++
	}
	s.spans[s.count-1] = next
}

// origin returns the number in the source of a number that was sent.
func (s *segment) origin(out uint64) (seq uint64, ok bool) {
	for i := s.count - 1; i >= 0; i-- {
		if seq = out - s.spans[i].off; seq >= s.spans[i].from {
			return seq, seq <= s.high
		}
	}
	return 0, false
}

// covers reports whether a packet is a straggler of the segment.
func (s *segment) covers(p *Packet) bool {
	return s.active && int(s.layer) == p.layer && s.gen == p.gen && p.seq >= s.start && p.seq <= s.high && s.timely(p.ts)
}

// timely reports whether a frame is from before the next segment. The layers' frames of one moment look alike.
func (s *segment) timely(ts uint32) bool { return !s.over || int32(ts+s.ts-s.until) < 0 }

// Forward makes of a packet of the source the one that the subscriber gets. It reports false when there is none.
func (f *Forwarder) Forward(p *Packet, out *Out) bool {
	if f.interest.Load()&(1<<p.layer) == 0 {
		return false
	}
	f.mu.Lock()
	send, ask := f.route(p, out)
	f.mu.Unlock()
	if ask {
		f.src.askKeyFrame(p.layer, p.at)
	}
	return send
}

// route finds the segment that a packet belongs to, or begins one. ask means that a key frame is missing.
func (f *Forwarder) route(p *Packet, out *Out) (send, ask bool) {
	seg := &f.segs[f.seg]
	if f.current == p.layer && seg.gen == p.gen && p.seq > seg.high {
		return f.advance(seg, p, out), false
	}
	for i := range f.segs {
		if s := &f.segs[i]; s.covers(p) {
			return f.straggle(s, p, out), false
		}
	}
	f.expire(p)
	if p.empty || f.target == None {
		return false, false
	}
	switch {
	case f.current == p.layer && seg.gen == p.gen: // from before the segment
		return false, false
	case f.current == p.layer, f.target == p.layer: // the publisher began anew, or this is the layer to go to
	case f.current == None && p.layer < f.target: // better than nothing, until the target's key frame comes
	default:
		return false, false
	}
	if f.src.codec.Video() && !p.desc.key {
		return false, p.layer == f.target
	}
	f.begin(p)
	return f.emit(&f.segs[f.seg], p, p.seq+f.segs[f.seg].spans[0].off, out), false
}

// advance forwards the next packet of the current segment. Packets that are missing before it keep their numbers: they
// may come yet, and the subscriber asks for them. What has nothing to forward gives its number back.
func (f *Forwarder) advance(seg *segment, p *Packet, out *Out) bool {
	seg.high = p.seq
	number := p.seq + seg.spans[seg.count-1].off
	if p.empty {
		f.high = number - 1 // what is missing just before it keeps its number, also when another segment follows
		seg.closeUp(p.seq)
		return false
	}
	return f.emit(seg, p, number, out)
}

// straggle forwards a packet whose number was kept for it. Padding goes out without payload then, to fill its place.
func (f *Forwarder) straggle(seg *segment, p *Packet, out *Out) bool {
	off, ok := seg.offset(p.seq)
	return ok && f.emit(seg, p, p.seq+off, out)
}

// expire stops waiting for stragglers of a layer that has gone on for long.
func (f *Forwarder) expire(p *Packet) {
	for i := range f.segs {
		s := &f.segs[i]
		if s.late && int(s.layer) == p.layer && (s.gen != p.gen || p.seq > s.high+late) {
			s.late = false
			f.attend()
		}
	}
}

// begin starts a segment with this packet, so that all counters go on by one.
func (f *Forwarder) begin(p *Packet) {
	last := &f.segs[f.seg]
	next := segment{active: true, layer: int8(p.layer), gen: p.gen, start: p.seq, high: p.seq, count: 1}
	next.ts = f.timestamp(last, p) - p.ts
	if !f.begun {
		f.high = 1<<16 + p.seq&0x7fff // any number will do; half of them leave room for what SRTP has to guess
		next.ts = 0
		f.high--
	}
	next.spans[0] = span{from: p.seq, off: f.high + 1 - p.seq}
	if f.src.codec.Video() {
		f.continueCounters(&next, p)
	}
	last.over, last.late, last.until = true, last.active, p.ts+next.ts
	f.seg = (f.seg + 1) % history
	f.segs[f.seg] = next
	f.current = p.layer
	f.attend()
}

// continueCounters sets the offsets of the codec's own counters.
func (f *Forwarder) continueCounters(next *segment, p *Packet) {
	if !f.begun || p.desc.pic == 0 {
		return
	}
	next.pic = f.lastPic + 1 - p.pic
	if p.desc.tl0 != 0 {
		next.tl0 = f.lastTL0 + 1 - p.payload[p.desc.tl0]
	}
	if p.desc.idx != 0 {
		next.idx = f.lastIdx + 1 - p.payload[p.desc.idx]
	}
}

// timestamp returns the timestamp for the first packet of a segment. The publisher's clock says how much later than
// the last frame it was captured; while there is no sender report to compare two layers, the arrival says it. Never
// does a timestamp go back, and a frame never shares that of another.
func (f *Forwarder) timestamp(last *segment, p *Packet) uint32 {
	elapsed := ticks(p.at-f.lastAt, f.src.rate)
	off, ok := last.ts, last.active && int(last.layer) == p.layer && last.gen == p.gen
	if !ok && last.active {
		var diff uint32
		diff, ok = f.src.relate(p.layer, p.gen, int(last.layer), last.gen)
		off += diff
	}
	step := elapsed
	if ok {
		// Compared modulo 2³²: a pause may be longer than the clock's round.
		skew := int64(int32(p.ts + off - f.lastTS - uint32(elapsed)))
		if limit := ticks(maxSkew, f.src.rate); skew >= -limit && skew <= limit {
			step = elapsed + skew
		}
	}
	return f.lastTS + uint32(max(1, step))
}

// emit writes the packet for the subscriber into out.
func (f *Forwarder) emit(seg *segment, p *Packet, seq uint64, out *Out) bool {
	out.reset()
	h := &out.Header
	h.Marker, h.PayloadType, h.SSRC = p.marker && !p.empty, f.pt, f.ssrc
	h.SequenceNumber, h.Timestamp = uint16(seq), p.ts+seg.ts
	out.Payload = p.payload
	if p.empty {
		out.Payload = nil
	}
	c := counters{}
	if p.desc.pic != 0 {
		c = seg.counters(&p.desc, p.pic, p.payload)
		out.Payload = p.desc.rewrite(out.buf[:], p.payload, c)
	}
	if seq > f.high {
		f.newest(seq, h.Timestamp, p, c)
	}
	f.packets++
	f.octets += uint64(len(out.Payload))
	return true
}

// counters returns what a payload shall have instead of its own counters.
func (s *segment) counters(d *descriptor, pic int64, payload []byte) counters {
	c := counters{pic: pic + s.pic}
	if d.tl0 != 0 {
		c.tl0 = payload[d.tl0] + s.tl0
	}
	if d.idx != 0 {
		c.idx = payload[d.idx]&0x1f + s.idx
	}
	return c
}

// newest remembers what the next segment has to go on from.
func (f *Forwarder) newest(seq uint64, ts uint32, p *Packet, c counters) {
	f.high = seq
	if !f.begun || int32(ts-f.lastTS) > 0 {
		f.lastTS, f.lastAt = ts, p.at
	}
	f.begun = true
	if p.desc.pic != 0 {
		f.lastPic = max(f.lastPic, c.pic)
		if p.desc.tl0 != 0 {
			f.lastTL0 = c.tl0
		}
		if p.desc.idx != 0 {
			f.lastIdx = c.idx & 0x1f
		}
	}
}
