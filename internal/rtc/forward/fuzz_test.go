package forward_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"parley/internal/rtc/forward"
)

// through sends one payload behind a key frame, so that it is forwarded unless nobody could decode it.
func through(t *testing.T, codec forward.Codec, key, payload []byte) (out []byte, sent bool) {
	t.Helper()
	src, err := forward.NewSource(forward.SourceConfig{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	f := forward.NewForwarder(src, 0)
	now := time.Now()
	f.Bind(1, 96, now)
	var p forward.Packet
	var o forward.Out
	pass := func(seq uint16, b []byte) bool {
		h := rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 3000}
		return src.Receive(0, &h, b, now, &p) && f.Forward(&p, &o)
	}
	if !pass(1, key) {
		t.Fatal("the key frame was not forwarded")
	}
	last := o.Header.SequenceNumber
	if pass(2, payload) {
		if len(o.Payload) < len(payload) || len(o.Payload) > len(payload)+1 {
			t.Fatalf("%d bytes became %d", len(payload), len(o.Payload))
		}
		out, sent = append([]byte(nil), o.Payload...), true
		last++
	}
	// Whatever it was, the stream goes on behind it, and what was sent can be sent again.
	if !pass(3, key) || o.Header.SequenceNumber != last+1 {
		t.Fatalf("number %d behind %d", o.Header.SequenceNumber, last)
	}
	if sent {
		if !f.Retransmit(last, now, &o) || string(o.Payload) != string(out) {
			t.Fatal("not the same when sent again")
		}
	}
	return out, sent
}

func FuzzVP8(f *testing.F) {
	key := []byte{0x90, 0xf0, 0x80, 0x05, 0x07, 0x01, 0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 0, 0}
	for _, seed := range [][]byte{key, {}, {0x90}, {0x90, 0x80}, {0x90, 0x80, 0xff}, {0x90, 0xf0, 0x7f, 0x00, 0x3f, 0x11},
		{0x10, 0x11, 0x22}, {0x80, 0x20, 0x40, 0x01}, {0x80, 0x00, 0x01}, {0x10, 0x10, 0, 0, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, sent := through(t, forward.VP8, key, payload)
		var was, is codecs.VP8Packet
		if _, err := was.Unmarshal(payload); err != nil && sent {
			t.Fatalf("forwarded, but malformed: %v", err)
		}
		if !sent {
			return
		}
		if _, err := is.Unmarshal(out); err != nil {
			t.Fatalf("forwarded in pieces: %v", err)
		}
		if string(was.Payload) != string(is.Payload) || was.TID != is.TID || was.Y != is.Y || was.I != is.I || was.T != is.T {
			t.Fatalf("changed: %+v %+v", was, is)
		}
	})
}

func FuzzVP9(f *testing.F) {
	key := []byte{0x88, 0x81, 0x05, 0x82}
	for _, seed := range [][]byte{key, {}, {0x80}, {0x80, 0x80}, {0xff, 0xff, 0xff, 0xff, 0xff}, {0xa8, 0x05, 0x02, 0x01, 0x82},
		{0x58, 0x03, 0x03, 0x02, 0x82}, {0x0a, 0x18, 0, 1, 0, 1, 1, 0x04, 0x01, 0x82}, {0x0a, 0xff}, {0x02, 0x08}, {0x02, 0x08, 0xff}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, sent := through(t, forward.VP9, key, payload)
		if !sent {
			return
		}
		var was, is codecs.VP9Packet
		if _, err := was.Unmarshal(payload); err != nil {
			return // pion is stricter: it refuses sizes and references that only a decoder needs
		}
		if _, err := is.Unmarshal(out); err != nil || string(was.Payload) != string(is.Payload) || was.SID != is.SID || was.TID != is.TID {
			t.Fatalf("changed (%v): %+v %+v", err, was, is)
		}
	})
}

func FuzzH264(f *testing.F) {
	key := []byte{0x67, 0x42, 0xe0, 0x1f}
	for _, seed := range [][]byte{key, {}, {0x67}, {0x00, 0x00}, {0x78, 0, 2, 0x67, 0x42}, {0x78, 0, 0}, {0x78, 0xff, 0xff, 0x67}, {0x78, 0},
		{0x7c, 0x87}, {0x7c, 0x87, 0x42}, {0x41, 0x9a}, {0xe7, 0x42}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, sent := through(t, forward.H264, key, payload)
		if sent && string(out) != string(payload) {
			t.Fatalf("changed: % x % x", payload, out)
		}
	})
}

// FuzzStream plays whole packets, cut out of the input, into a source of two layers: any header, any payload, any order.
func FuzzStream(f *testing.F) {
	pub := newPublisher(1, 2)
	var seed []byte
	for range 5 {
		for _, s := range pub.next() {
			b := binary.BigEndian.AppendUint16([]byte{byte(s.layer), byte(len(s.data))}, s.header.SequenceNumber)
			b = binary.BigEndian.AppendUint32(b, s.header.Timestamp)
			seed = append(append(b, byte(s.header.SSRC)), s.data...)
		}
	}
	f.Add(seed, uint8(1))
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 1, 9, 0x90, 0x80, 0xff, 1, 200}, uint8(3))
	f.Fuzz(func(t *testing.T, input []byte, codec uint8) {
		src, err := forward.NewSource(forward.SourceConfig{Codec: forward.Codec(codec), Layers: make([]forward.LayerConfig, 2)})
		if err != nil {
			return
		}
		now := time.Now()
		fw := forward.NewForwarder(src, 1)
		fw.Bind(1, 96, now)
		var p forward.Packet
		var out forward.Out
		sent := map[uint16]int{}
		for n := 0; len(input) >= 9 && n < 20000; n++ {
			layer, size := int(input[0]), int(input[1])
			h := rtp.Header{Version: 2, Marker: layer&4 != 0, SequenceNumber: binary.BigEndian.Uint16(input[2:]),
				Timestamp: binary.BigEndian.Uint32(input[4:]), SSRC: uint32(input[8])}
			payload := input[9:min(len(input), 9+size)]
			input = input[9+len(payload):]
			now = now.Add(time.Duration(layer) * time.Millisecond)
			if src.Receive(layer%3, &h, payload, now, &p) && fw.Forward(&p, &out) {
				number := out.Header.SequenceNumber
				if was, again := sent[number]; again && n-was < 1000 {
					t.Fatalf("number %d was sent twice", number)
				}
				sent[number] = n
				fw.Retransmit(number, now, &out)
			}
			if layer&8 != 0 {
				src.Tick(now)
			}
		}
	})
}
