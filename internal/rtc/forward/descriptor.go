package forward

import "encoding/binary"

// descriptor says where the counters of a payload stand that a switch of layers would break. Offsets are from the
// payload's first byte; 0 means that the counter is not there.
type descriptor struct {
	pic  uint8 // picture id
	tl0  uint8 // index of the last frame of temporal layer 0
	idx  uint8 // VP8: key frame index, the low five bits
	wide bool  // the picture id has 15 bits, not 7
	key  bool  // a key frame begins in this packet
}

// describe looks into a payload. It reports false for one that no decoder would understand.
func describe(c Codec, payload []byte, d *descriptor) bool {
	*d = descriptor{}
	switch c {
	case VP8:
		return describeVP8(payload, d)
	case H264:
		return describeH264(payload, d)
	case VP9:
		return describeVP9(payload, d)
	default:
		return true
	}
}

// describeVP8 reads the payload descriptor of RFC 7741 and the first bytes of the frame.
func describeVP8(b []byte, d *descriptor) bool {
	const extended, start, partition = 0x80, 0x10, 0x07
	const hasPic, hasTL0, hasTID, hasKey = 0x80, 0x40, 0x20, 0x10
	if len(b) < 2 {
		return false
	}
	n := 1
	if b[0]&extended != 0 {
		flags := b[1]
		n = 2
		if flags&hasPic != 0 {
			if n >= len(b) {
				return false
			}
			d.pic, d.wide = uint8(n), b[n]&0x80 != 0
			n++
			if d.wide {
				n++
			}
		}
		if flags&hasTL0 != 0 {
			d.tl0 = uint8(n)
			n++
		}
		if flags&(hasTID|hasKey) != 0 {
			if flags&hasKey != 0 {
				d.idx = uint8(n)
			}
			n++
		}
	}
	if n >= len(b) {
		return false
	}
	if b[0]&start != 0 && b[0]&partition == 0 && b[n]&1 == 0 {
		// A key frame: three bytes of tag, the start code, the size.
		frame := b[n:]
		if len(frame) < 10 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
			return false
		}
		d.key = true
	}
	return true
}

// describeH264 reads RFC 6184 as far as needed to find where a key frame begins: with its parameter set, for a picture
// of another size cannot be decoded without it.
func describeH264(b []byte, d *descriptor) bool {
	const sps, stapA, fuA = 7, 24, 28
	if len(b) < 2 || b[0]&0x80 != 0 {
		return false
	}
	switch kind := b[0] & 0x1f; {
	case kind == 0 || kind > fuA+1:
		return false
	case kind == stapA:
		for rest := b[1:]; len(rest) > 0; {
			if len(rest) < 3 {
				return false
			}
			size := int(binary.BigEndian.Uint16(rest))
			if size == 0 || size > len(rest)-2 {
				return false
			}
			d.key = d.key || rest[2]&0x1f == sps
			rest = rest[2+size:]
		}
		return true
	case kind >= fuA:
		if len(b) < 3 {
			return false
		}
		const fragmentStart = 0x80
		d.key = b[1]&fragmentStart != 0 && b[1]&0x1f == sps
	default:
		d.key = kind == sps
	}
	return true
}

// describeVP9 reads the payload descriptor of RFC 9628.
func describeVP9(b []byte, d *descriptor) bool {
	const hasPic, predicted, hasLayer, flexible, begins, hasScal = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
	if len(b) < 2 {
		return false
	}
	flags, n := b[0], 1
	if flags&hasPic != 0 {
		d.pic, d.wide = uint8(n), b[n]&0x80 != 0
		n++
		if d.wide {
			n++
		}
	}
	spatial := byte(0)
	if flags&hasLayer != 0 {
		if n >= len(b) {
			return false
		}
		spatial = b[n] >> 1 & 7
		n++
		if flags&flexible == 0 {
			d.tl0 = uint8(n)
			n++
		}
	}
	if flags&flexible != 0 && flags&predicted != 0 {
		for more, i := true, 0; more; i++ {
			if n >= len(b) || i == 3 { // three references at most
				return false
			}
			more = b[n]&1 != 0
			n++
		}
	}
	if flags&hasScal != 0 {
		size, ok := scalability(b[min(n, len(b)):])
		if !ok {
			return false
		}
		n += size
	}
	if n >= len(b) {
		return false
	}
	d.key = flags&begins != 0 && flags&predicted == 0 && spatial == 0
	return true
}

// scalability returns the length of VP9's scalability structure.
func scalability(b []byte) (n int, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	spatial, sizes, groups := int(b[0]>>5)+1, b[0]&0x10 != 0, b[0]&0x08 != 0
	n = 1
	if sizes {
		n += 4 * spatial
	}
	if !groups {
		return n, n <= len(b)
	}
	if n >= len(b) {
		return 0, false
	}
	frames := int(b[n])
	n++
	for range frames {
		if n >= len(b) {
			return 0, false
		}
		n += 1 + int(b[n]>>2&3)
	}
	return n, n <= len(b)
}

// picture returns the picture id as it is in the payload, and how many bits it has.
func (d *descriptor) picture(b []byte) (id uint16, bits uint) {
	if d.wide {
		return binary.BigEndian.Uint16(b[d.pic:]) & 0x7fff, 15
	}
	return uint16(b[d.pic]) & 0x7f, 7
}

// counters are the values that a payload shall have instead of its own.
type counters struct {
	pic int64
	tl0 uint8
	idx uint8
}

// rewrite copies the payload into buf with other counters. A picture id of 7 bits becomes one of 15, so that layers
// may differ; buf has room for that byte.
func (d *descriptor) rewrite(buf, b []byte, c counters) []byte {
	grown := 0
	n := copy(buf, b[:d.pic])
	binary.BigEndian.PutUint16(buf[n:], uint16(c.pic)|0x8000)
	rest := b[n+1:]
	if d.wide {
		rest = b[n+2:]
	} else {
		grown = 1
	}
	n += 2 + copy(buf[n+2:], rest)
	if d.tl0 != 0 {
		buf[int(d.tl0)+grown] = c.tl0
	}
	if d.idx != 0 {
		at := int(d.idx) + grown
		buf[at] = buf[at]&^0x1f | c.idx&0x1f
	}
	return buf[:n]
}
