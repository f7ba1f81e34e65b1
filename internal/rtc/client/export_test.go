package client

import "time"

// The package's inner parts, for its tests.

// Sequence counts a stream's packet numbers.
type Sequence struct{ s sequence }

// Add takes a number and says whether it is new.
func (s *Sequence) Add(seq uint16) bool { return s.s.add(seq) }

// Counts are lost, duplicates, late.
func (s *Sequence) Counts() [3]uint64 { return [3]uint64{s.s.lost(), s.s.duplicates, s.s.late} }

// ParseRTP reads a packet.
func ParseRTP(b []byte) (seq uint16, payload []byte, ok bool) {
	h, payload, ok := parseRTP(b)
	return h.seq, payload, ok
}

// Frame is what is seen at the beginning of a VP8 packet.
type Frame struct {
	Start, Key    bool
	Picture       uint16
	Width, Height int
}

// ParseVP8 reads the beginning of a payload.
func ParseVP8(b []byte) (Frame, bool) {
	d, ok := parseVP8(b)
	return Frame{d.start, d.key, d.picture, d.width, d.height}, ok
}

// Pictures makes n frames of a size, the first a key frame, and hands out their packets' payloads.
func Pictures(width, height, fps, bitrate, n int, temporal bool, emit func(payload []byte, timestamp uint32, marker bool)) error {
	s, err := newPictureSource(width, height, fps, bitrate, temporal, 0x7ffe)
	if err != nil {
		return err
	}
	for i := range n {
		s.frame(i == 0, emit)
	}
	return nil
}

// Gaps feeds pictures to the follower of pictures, and returns how many it misses.
func Gaps(ids ...uint16) uint64 {
	var p pictures
	for i, id := range ids {
		p.add(descriptor{start: true, bits: 15, picture: id}, uint32(i)*3000)
	}
	return p.gaps
}

// Silence makes an Opus packet.
func Silence(size int) []byte { return silence(size) }

// StampOf says when a made-up packet was made.
func StampOf(b []byte) int64 { return stampOf(b) }

// Add counts a duration.
func (d *Delays) Add(t time.Duration) {
	now := time.Now()
	d.add(now.UnixNano()-int64(t), now)
}
