package forward

import (
	"encoding/binary"
	"time"
)

// osn is the length of the original number in front of an RTX payload.
const osn = 2

// Retransmit makes a packet again that the subscriber has asked for by its number (a NACK): the same, or on the stream
// that BindRTX named. It reports false when the packet is not there any more, never came, or was just retransmitted.
func (f *Forwarder) Retransmit(number uint16, now time.Time, out *Out) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun {
		return false
	}
	seq := f.high - uint64(uint16(f.high)-number)
	seg, origin := f.find(seq)
	if seg == nil || !f.patient(seq, f.src.since(now)) {
		return false
	}
	out.reset()
	h := &out.Header
	h.SSRC, h.PayloadType, h.SequenceNumber, h.Timestamp = f.ssrc, f.pt, number, f.lastTS
	out.Payload = out.buf[osn:osn]
	if !f.repeat(seg, origin, out) {
		return false
	}
	if f.rtxSSRC != 0 {
		f.rtxSeq++
		h.SSRC, h.PayloadType, h.SequenceNumber = f.rtxSSRC, f.rtxPT, f.rtxSeq
		out.Payload = out.buf[:osn+len(out.Payload)]
		binary.BigEndian.PutUint16(out.Payload, number)
	}
	return true
}

// find returns the segment of a number that was sent, and its number in the source.
func (f *Forwarder) find(seq uint64) (seg *segment, origin uint64) {
	for i := range history {
		s := &f.segs[(f.seg+history-i)%history]
		if !s.active {
			break
		}
		if origin, ok := s.origin(seq); ok {
			return s, origin
		}
	}
	return nil, 0
}

// repeat writes a packet out of the cache as the segment sends it. It may be one that this subscriber never got: it came
// to us after the key frame's beginning that it preceded, or was asked for before it was forwarded.
func (f *Forwarder) repeat(seg *segment, origin uint64, out *Out) bool {
	l := &f.src.layers[seg.layer]
	l.mu.Lock()
	defer l.mu.Unlock()
	e, payload, ok := l.cache.get(seg.gen, origin)
	if !ok || !seg.timely(e.ts) {
		return false
	}
	out.Header.Timestamp, out.Header.Marker = e.ts+seg.ts, e.marker
	buf := out.buf[osn:]
	if e.desc.pic != 0 {
		out.Payload = e.desc.rewrite(buf, payload, seg.counters(&e.desc, e.pic, payload))
	} else {
		out.Payload = buf[:copy(buf, payload)]
	}
	return true
}

// patient reports whether it is time to retransmit a number, and notes that it is done. There is a place for every packet that the
// cache may hold: with fewer, two numbers that share one would make each other's limits forgotten.
func (f *Forwarder) patient(seq uint64, at time.Duration) bool {
	if f.nacks == nil {
		f.nacks = make([]nack, cacheEntries(f.src.codec))
	}
	n := &f.nacks[seq%uint64(len(f.nacks))]
	if n.seq > seq {
		return false // so far back that nothing is kept of it; the place is the newer one's
	}
	if n.seq != seq {
		*n = nack{seq: seq}
	}
	if n.count >= MaxRetransmits || n.count > 0 && at-n.at < RetransmitInterval {
		return false
	}
	n.count++
	n.at = at
	return true
}
