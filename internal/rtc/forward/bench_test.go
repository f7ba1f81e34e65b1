package forward_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"parley/internal/rtc/forward"
)

// benchStream is a 720p picture as Chromium sends it: 1.5 Mbit/s, packets of some 1,100 bytes.
type benchStream struct {
	src     *forward.Source
	downs   []*forward.Forwarder
	h       rtp.Header
	payload []byte
	now     time.Time
	p       forward.Packet
	out     forward.Out
}

func newBench(b *testing.B, codec forward.Codec, subscribers int) *benchStream {
	b.Helper()
	layers := 3
	if !codec.Video() {
		layers = 1
	}
	src, err := forward.NewSource(forward.SourceConfig{Codec: codec, Layers: make([]forward.LayerConfig, layers)})
	if err != nil {
		b.Fatal(err)
	}
	s := &benchStream{src: src, h: rtp.Header{Version: 2, SSRC: 7}, now: time.Now(), payload: make([]byte, 1100)}
	switch codec {
	case forward.VP8:
		copy(s.payload, []byte{0x90, 0xf0, 0x80, 0x05, 0x07, 0x01, 0x10, 0, 0, 0x9d, 1, 0x2a})
	case forward.H264:
		copy(s.payload, []byte{0x67, 0x42, 0xe0, 0x1f})
	default:
		s.payload = s.payload[:120]
	}
	for range subscribers {
		f := forward.NewForwarder(src, 2)
		f.Bind(1, 96, s.now)
		s.downs = append(s.downs, f)
	}
	for range 4000 { // the cache has its size, and every forwarder a layer
		s.next(b)
		for _, f := range s.downs {
			f.Forward(&s.p, &s.out)
		}
	}
	return s
}

func (s *benchStream) next(b *testing.B) {
	s.h.SequenceNumber++
	s.now = s.now.Add(6 * time.Millisecond)
	if s.h.SequenceNumber%5 == 0 {
		s.h.Timestamp += 3000
		s.payload[3]++
	}
	if !s.src.Receive(s.src.LayerCount()-1, &s.h, s.payload, s.now, &s.p) {
		b.Fatal("not received")
	}
}

// BenchmarkReceive is what one packet costs however many get it.
func BenchmarkReceive(b *testing.B) {
	s := newBench(b, forward.VP8, 0)
	b.ReportAllocs()
	for b.Loop() {
		s.next(b)
	}
}

// BenchmarkForward is one packet to 100 subscribers; ns/packet is what one of them costs, Receive included.
func BenchmarkForward(b *testing.B) {
	for name, codec := range map[string]forward.Codec{"vp8": forward.VP8, "h264": forward.H264, "audio": forward.Audio} {
		b.Run(name, func(b *testing.B) {
			s := newBench(b, codec, 100)
			b.ReportAllocs()
			for b.Loop() {
				s.next(b)
				for _, f := range s.downs {
					if !f.Forward(&s.p, &s.out) {
						b.Fatal("not forwarded")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(s.downs)), "ns/packet")
		})
	}
}

// BenchmarkOtherLayer is a packet of a layer that the subscriber does not get.
func BenchmarkOtherLayer(b *testing.B) {
	s := newBench(b, forward.VP8, 1)
	h := rtp.Header{Version: 2, SSRC: 8, SequenceNumber: 1}
	var p forward.Packet
	s.src.Receive(0, &h, s.payload, s.now, &p)
	b.ReportAllocs()
	for b.Loop() {
		if s.downs[0].Forward(&p, &s.out) {
			b.Fatal("forwarded")
		}
	}
}

func BenchmarkRetransmit(b *testing.B) {
	s := newBench(b, forward.VP8, 1)
	last := s.out.Header.SequenceNumber
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		s.downs[0].Retransmit(last-uint16(n%200), s.now, &s.out)
	}
}

// BenchmarkAllocate is one round for a subscriber of 20 cameras; it runs four times a second.
func BenchmarkAllocate(b *testing.B) {
	a := forward.NewAllocator()
	now := time.Now()
	for range 20 {
		src, err := forward.NewSource(forward.SourceConfig{Codec: forward.VP8, Layers: make([]forward.LayerConfig, 3)})
		if err != nil {
			b.Fatal(err)
		}
		f := forward.NewForwarder(src, 2)
		f.Bind(1, 96, now)
		a.Add(f, now)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Allocate(5_000_000, now)
	}
}
