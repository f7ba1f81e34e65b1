package client

import "encoding/binary"

// header is what is needed of an RTP header.
type header struct {
	seq       uint16
	timestamp uint32
	marker    bool
}

// parseRTP finds the payload of a packet, which is empty in one that only pads.
func parseRTP(b []byte) (h header, payload []byte, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return h, nil, false
	}
	h = header{seq: binary.BigEndian.Uint16(b[2:]), timestamp: binary.BigEndian.Uint32(b[4:]), marker: b[1]&0x80 != 0}
	at, end := 12+4*int(b[0]&0x0f), len(b)
	if b[0]&0x10 != 0 {
		if at+4 > end {
			return h, nil, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	if b[0]&0x20 != 0 {
		end -= int(b[len(b)-1])
	}
	if at > end {
		return h, nil, false
	}
	return h, b[at:end], true
}

// window is how far back a late packet is told from a duplicate, in packets; a multiple of 64.
const window = 1024

// sequence follows the numbers of one stream's packets.
type sequence struct {
	started          bool
	first, highest   uint64 // extended beyond 16 bits
	received         uint64
	duplicates, late uint64
	seen             [window / 64]uint64 // of the last numbers, by their remainder
}

// add takes a number and says whether it is new.
func (s *sequence) add(seq uint16) bool {
	if !s.started {
		s.started = true
		s.first = 1<<16 | uint64(seq) // so that earlier ones still have numbers
		s.highest = s.first
		s.received = 1
		s.set(s.first)
		return true
	}
	n := s.highest + uint64(int64(int16(seq-uint16(s.highest))))
	switch {
	case n > s.highest:
		for i := max(s.highest+1, n-min(n, window-1)); i < n; i++ {
			s.clear(i)
		}
		s.highest = n
	case s.highest-n >= window || s.has(n):
		s.duplicates++
		return false
	default:
		s.late++
		s.first = min(s.first, n)
	}
	s.set(n)
	s.received++
	return true
}

func (s *sequence) lost() uint64 {
	if !s.started {
		return 0
	}
	return s.highest - s.first + 1 - s.received
}

func (s *sequence) set(n uint64)      { s.seen[n%window/64] |= 1 << (n % 64) }
func (s *sequence) clear(n uint64)    { s.seen[n%window/64] &^= 1 << (n % 64) }
func (s *sequence) has(n uint64) bool { return s.seen[n%window/64]&(1<<(n%64)) != 0 }

// descriptor is what is needed of the beginning of a VP8 packet.
type descriptor struct {
	start         bool // of a frame
	key           bool
	picture       uint16
	bits          int // of the picture id: 0, 7 or 15
	width, height int // of a key frame
}

// parseVP8 reads the payload descriptor (RFC 7741) and, at the start of a frame, the frame's header (RFC 6386).
func parseVP8(b []byte) (d descriptor, ok bool) {
	if len(b) < 1 {
		return d, false
	}
	d.start = b[0]&0x10 != 0 && b[0]&0x0f == 0
	at := 1
	if b[0]&0x80 != 0 {
		if len(b) < 2 {
			return d, false
		}
		if at, ok = d.extension(b); !ok {
			return d, false
		}
	}
	if !d.start {
		return d, true
	}
	if len(b) < at+3 {
		return d, false
	}
	if d.key = b[at]&1 == 0; d.key {
		if len(b) < at+10 || b[at+3] != 0x9d || b[at+4] != 0x01 || b[at+5] != 0x2a {
			return d, false
		}
		d.width = int(binary.LittleEndian.Uint16(b[at+6:]) & 0x3fff)
		d.height = int(binary.LittleEndian.Uint16(b[at+8:]) & 0x3fff)
	}
	return d, true
}

// extension reads the optional fields and returns where they end.
func (d *descriptor) extension(b []byte) (at int, ok bool) {
	flags := b[1]
	at = 2
	if flags&0x80 != 0 {
		if len(b) < at+2 {
			return 0, false
		}
		if d.bits, d.picture = 7, uint16(b[at]); b[at]&0x80 != 0 {
			d.bits, d.picture = 15, binary.BigEndian.Uint16(b[at:])&0x7fff
			at++
		}
		at++
	}
	if flags&0x40 != 0 {
		at++ // TL0PICIDX
	}
	if flags&0x30 != 0 {
		at++ // TID, Y, KEYIDX
	}
	return at, at <= len(b)
}

// pictures follows the frames of one track as a decoder would.
type pictures struct {
	started   bool
	last      descriptor
	timestamp uint32
	gaps      uint64
	backwards uint64
}

func (p *pictures) add(d descriptor, timestamp uint32) {
	if p.started && d.bits > 0 && d.bits == p.last.bits {
		space := uint16(1)<<d.bits - 1
		switch step := (d.picture - p.last.picture) & space; {
		case step > space/2:
			return // a late frame: it filled a gap that was counted
		case step > 1:
			p.gaps += uint64(step) - 1
		}
	}
	if p.started && int32(timestamp-p.timestamp) < 0 {
		p.backwards++
	}
	p.started, p.last, p.timestamp = true, d, timestamp
}
