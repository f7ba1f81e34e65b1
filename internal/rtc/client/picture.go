package client

import (
	"embed"
	"encoding/binary"
	"fmt"
	"time"
)

// The pictures are one flat colour, in the sizes that cameras and their simulcast layers have: for each, a key frame, and a frame that
// changes nothing. libvpx made them, by way of a browser's VideoEncoder. Decoders accept them with any bytes behind, so that a
// frame can be as long as a real one.
//
//go:embed flat/*.key flat/*.delta
var flat embed.FS

const (
	maxPayload  = 1150 // bytes of a packet that hold a frame's, about as many as browsers put there
	keyFrameCap = 5    // a key frame is so many times as long as the others
	clock       = 90000
)

// pictureSource makes the packets of one layer of a video track.
type pictureSource struct {
	key, delta []byte
	perFrame   int // bytes
	debt       int // bytes that key frames took beforehand
	step       uint32
	temporal   bool

	picture   uint16
	tl0       uint8
	phase     int
	timestamp uint32
	buffer    []byte
}

func newPictureSource(width, height, fps, bitrate int, temporal bool, start uint32) (*pictureSource, error) {
	key, err := flat.ReadFile(fmt.Sprintf("flat/%dx%d.key", width, height))
	if err != nil {
		return nil, fmt.Errorf("client: there is no picture of %d × %d", width, height)
	}
	delta, err := flat.ReadFile(fmt.Sprintf("flat/%dx%d.delta", width, height))
	if err != nil {
		return nil, err
	}
	return &pictureSource{key: key, delta: delta, perFrame: bitrate / 8 / fps, step: uint32(clock / fps), temporal: temporal,
		picture: uint16(start) & 0x7fff, timestamp: start}, nil
}

// layers is the order of temporal layers: half of the frames, and half of the rest, can be left out.
var layers = [...]uint8{0, 2, 1, 2}

// frame makes one frame and hands out its packets. What it hands out is good during the call.
func (s *pictureSource) frame(key bool, emit func(payload []byte, timestamp uint32, marker bool)) {
	body, size := s.delta, s.perFrame
	if pay := min(s.debt, s.perFrame/2); pay > 0 { // an encoder holds its bitrate: what follows a key frame is smaller
		s.debt -= pay
		size -= pay
	}
	if key {
		body, size = s.key, s.perFrame*keyFrameCap
		s.debt += size - s.perFrame
		s.phase = 0
	}
	size = max(size, len(body)+stampSize)
	layer := uint8(0)
	if s.temporal {
		layer = layers[s.phase%len(layers)]
		s.phase++
	}
	if layer == 0 {
		s.tl0++
	}
	s.picture = (s.picture + 1) & 0x7fff
	s.timestamp += s.step
	packets := (size + maxPayload - 1) / maxPayload
	for i, at := 0, 0; i < packets; i++ {
		end := size * (i + 1) / packets // all of about one length
		b := s.describe(i == 0, key, layer)
		d := len(b)
		b = append(b, make([]byte, end-at)...)
		if at < len(body) {
			copy(b[d:], body[at:])
		}
		if end-at >= stampSize && at+stampSize <= end && end-stampSize >= len(body) {
			putStamp(b, time.Now())
		}
		s.buffer, at = b[:0], end
		emit(b, s.timestamp, i == packets-1)
	}
}

// describe begins a packet with its payload descriptor: a picture id of 15 bits, and the temporal layer.
func (s *pictureSource) describe(start, key bool, layer uint8) []byte {
	first, flags := byte(0x80), byte(0x80)
	if start {
		first |= 0x10
	}
	if !key && layer == 2 {
		first |= 0x20 // no other frame needs it
	}
	if s.temporal {
		flags |= 0x60
	}
	b := append(s.buffer[:0], first, flags)
	b = binary.BigEndian.AppendUint16(b, 0x8000|s.picture)
	if s.temporal {
		b = append(b, s.tl0, layer<<6)
	}
	return b
}

// silence makes an Opus packet of 20 ms in which nothing is heard, as long as one of speech: the padding of RFC 6716, section 3.2.5.
func silence(size int) []byte {
	const head = 5 // table of contents, frame count, length of the padding, and two bytes of silence
	pad := min(max(size-head, stampSize), 254)
	b := make([]byte, head+pad)
	b[0] = 0xf8 | 3  // CELT, full band, 20 ms, one channel; any number of frames
	b[1] = 0x40 | 1  // one, with padding
	b[2] = byte(pad) // of so many bytes
	b[3], b[4] = 0xff, 0xfe
	return b
}
