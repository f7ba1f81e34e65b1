package client_test

import (
	"bytes"
	"testing"
	"time"

	"parley/internal/rtc/client"
)

func TestSequence(t *testing.T) {
	for name, x := range map[string]struct {
		seqs []uint16
		want [3]uint64 // lost, duplicates, late
	}{
		"nothing":        {nil, [3]uint64{}},
		"in order":       {[]uint16{5, 6, 7}, [3]uint64{}},
		"across the end": {[]uint16{65534, 65535, 0, 1}, [3]uint64{}},
		"a gap":          {[]uint16{5, 9}, [3]uint64{3, 0, 0}},
		"a gap filled":   {[]uint16{5, 9, 7, 6, 8}, [3]uint64{0, 0, 3}},
		"twice":          {[]uint16{5, 6, 6, 5}, [3]uint64{0, 2, 0}},
		"before first":   {[]uint16{5, 6, 4}, [3]uint64{0, 0, 1}},
		"back over 0":    {[]uint16{0, 65535, 1}, [3]uint64{0, 0, 1}},
		"a long gap":     {[]uint16{0, 5000, 4999}, [3]uint64{4998, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var s client.Sequence
			for _, n := range x.seqs {
				s.Add(n)
			}
			if got := s.Counts(); got != x.want {
				t.Errorf("lost, duplicates, late: %v, want %v", got, x.want)
			}
		})
	}
	var s client.Sequence
	for i := range 300_000 {
		if i%10 == 3 {
			continue
		}
		if !s.Add(uint16(i)) {
			t.Fatalf("number %d was taken for one that had come", i)
		}
	}
	if got := s.Counts(); got != [3]uint64{30_000, 0, 0} {
		t.Errorf("every tenth of 300,000 did not come: %v", got)
	}
}

func TestPictures(t *testing.T) {
	type frame struct {
		bytes, packets int
		marked         bool
		client.Frame
	}
	var frames []frame
	stamps := 0
	err := client.Pictures(1280, 720, 30, 1_500_000, 61, true, func(payload []byte, _ uint32, marker bool) {
		f, ok := client.ParseVP8(payload)
		if !ok {
			t.Fatalf("not VP8: %x", payload[:20])
		}
		if f.Start {
			frames = append(frames, frame{Frame: f})
		}
		last := &frames[len(frames)-1]
		if f.Picture != last.Picture || last.marked {
			t.Fatalf("a packet of picture %d in picture %d, which had ended: %v", f.Picture, last.Picture, last.marked)
		}
		last.bytes += len(payload)
		last.packets++
		last.marked = marker
		if len(payload) > 1200 {
			t.Errorf("a payload of %d bytes", len(payload))
		}
		if client.StampOf(payload) != 0 {
			stamps++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, f := range frames {
		total += f.bytes
		if !f.marked || f.Key != (i == 0) || f.Key && (f.Width != 1280 || f.Height != 720) {
			t.Errorf("frame %d: %+v", i, f)
		}
		if i > 0 && (f.Picture-frames[i-1].Picture)&0x7fff != 1 {
			t.Errorf("picture %d follows %d", f.Picture, frames[i-1].Picture)
		}
	}
	if want := 1_500_000 / 8 / 30 * 61; total < want || total > want*102/100 {
		t.Errorf("%d bytes in 61 frames, want about %d", total, want)
	}
	if stamps < 300 {
		t.Errorf("%d packets say when they were made", stamps)
	}
	if client.Pictures(641, 360, 30, 1000, 1, false, nil) == nil {
		t.Error("there is a picture of 641 × 360")
	}
}

func TestGaps(t *testing.T) {
	for _, x := range []struct {
		ids  []uint16
		want uint64
	}{{[]uint16{1, 2, 3}, 0}, {[]uint16{0x7fff, 0, 1}, 0}, {[]uint16{1, 4}, 2}, {[]uint16{1, 3, 2, 4}, 1}} {
		if got := client.Gaps(x.ids...); got != x.want {
			t.Errorf("%v: %d missing, want %d", x.ids, got, x.want)
		}
	}
}

func TestSilence(t *testing.T) {
	for _, size := range []int{0, 20, 80, 200, 2000} {
		b := client.Silence(size)
		if pad := int(b[2]); b[0] != 0xfb || b[1] != 0x41 || 3+2+pad != len(b) {
			t.Errorf("%d: %d bytes, %x", size, len(b), b[:5])
		}
		if size == 80 && len(b) != 80 {
			t.Errorf("80 bytes are %d", len(b))
		}
	}
}

func TestDelays(t *testing.T) {
	var d, e client.Delays
	for i := range 1000 {
		d.Add(time.Duration(i+1) * time.Millisecond)
	}
	e.Add(time.Hour)
	e.Add(-time.Second) // clocks differ
	d.Merge(&e)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := d.Quantile(q); got < want*9/10 || got > want*12/10 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	if d.N != 1002 || d.Quantile(0) > time.Millisecond*2 || d.Quantile(1) < time.Minute {
		t.Errorf("%d, %v, %v", d.N, d.Quantile(0), d.Quantile(1))
	}
	if (&client.Delays{}).Quantile(0.5) != 0 {
		t.Error("nothing has a quantile")
	}
}

// FuzzPackets: what the network brings never panics.
func FuzzPackets(f *testing.F) {
	packet := append([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, 0x90, 0x80, 0x80, 0x01, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2)
	f.Add(packet)
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Add([]byte{0xbf, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff})
	f.Add([]byte{0xa0, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, payload, ok := client.ParseRTP(b)
		if ok && len(payload) > len(b)-12 {
			t.Fatalf("%d bytes of payload in %d", len(payload), len(b))
		}
		client.ParseVP8(payload)
		client.ParseVP8(b)
		client.StampOf(b)
	})
}
