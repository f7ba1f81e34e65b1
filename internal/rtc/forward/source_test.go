package forward_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"parley/internal/fault"
	"parley/internal/rtc/forward"
)

func TestNewSourceRefuses(t *testing.T) {
	for code, cfg := range map[string]forward.SourceConfig{
		"codec_unknown":   {},
		"too_many_layers": {Codec: forward.VP8, Layers: make([]forward.LayerConfig, 4)},
	} {
		if _, err := forward.NewSource(cfg); fault.Of(err) == nil || fault.Of(err).Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestNames(t *testing.T) {
	for mime, want := range map[string]forward.Codec{"audio/opus": forward.Audio, "video/VP8": forward.VP8, "video/h264": forward.H264,
		"VIDEO/VP9": forward.VP9, "video/AV1": 0, "video/H265": 0, "": 0} {
		if got, ok := forward.CodecOf(mime); got != want || ok != (want != 0) {
			t.Errorf("%q is %d", mime, got)
		}
	}
	for rid, want := range map[string]int{"": 0, "q": 0, "h": 1, "f": 2} {
		if got, ok := forward.LayerOf(rid); got != want || !ok {
			t.Errorf("%q is %d", rid, got)
		}
	}
	if _, ok := forward.LayerOf("x"); ok {
		t.Error("x is a layer")
	}
	if l := forward.Layers(0b101); l.Has(1) || !l.Has(0) || l.Has(-1) {
		t.Error("sets of layers")
	}
}

func TestLayerFor(t *testing.T) {
	src, err := forward.NewSource(forward.SourceConfig{Codec: forward.VP8, Layers: []forward.LayerConfig{
		{Width: 320, Height: 180}, {Width: 640, Height: 360}, {Width: 1280, Height: 720}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w, h uint32
		want int
	}{{100, 60, 0}, {320, 180, 0}, {340, 190, 0}, {400, 225, 1}, {180, 320, 0}, {360, 640, 1}, {700, 400, 2}, {3840, 2160, 2}, {0, 0, 2}} {
		if got := src.LayerFor(c.w, c.h); got != c.want {
			t.Errorf("%dx%d: layer %d, want %d", c.w, c.h, got, c.want)
		}
	}
	for q, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: forward.None, -1: forward.None} {
		if got := src.LayerForQuality(q); got != want {
			t.Errorf("quality %d: layer %d", q, got)
		}
	}
	single, _ := forward.NewSource(forward.SourceConfig{Codec: forward.VP8})
	if single.LayerFor(100, 100) != 0 || single.LayerForQuality(2) != 0 || single.LayerForQuality(3) != forward.None {
		t.Error("one layer")
	}
}

// feed sends numbered packets through a source and one forwarder and returns the numbers that come out.
type feed struct {
	t   *testing.T
	src *forward.Source
	f   *forward.Forwarder
	h   rtp.Header
	at  time.Time
	p   forward.Packet
	out forward.Out
}

func newFeed(t *testing.T, codec forward.Codec) *feed {
	t.Helper()
	src, err := forward.NewSource(forward.SourceConfig{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{t: t, src: src, f: forward.NewForwarder(src, 0), h: rtp.Header{Version: 2, SSRC: 1}, at: time.Now()}
	f.f.Bind(9, 96, f.at)
	return f
}

func (f *feed) send(seq uint16, payload ...byte) bool {
	f.h.SequenceNumber = seq
	h := f.h
	return f.src.Receive(0, &h, payload, f.at, &f.p) && f.f.Forward(&f.p, &f.out)
}

// TestStrayNumbers: one packet from nowhere does nothing; a second that follows it is a restart.
func TestStrayNumbers(t *testing.T) {
	f := newFeed(t, forward.Audio)
	if !f.send(100, 1) || !f.send(101, 1) {
		t.Fatal("audio does not begin at once")
	}
	last := f.out.Header.SequenceNumber
	if f.send(30000, 1) || f.send(101, 1) || f.send(65000, 1) {
		t.Fatal("a stray or a duplicate was forwarded")
	}
	if !f.send(102, 1) || f.out.Header.SequenceNumber != last+1 {
		t.Fatal("the stream does not go on")
	}
	if f.send(30000, 1) || !f.send(30001, 1) || f.out.Header.SequenceNumber != last+2 {
		t.Fatalf("the restart is number %d after %d", f.out.Header.SequenceNumber, last)
	}
	f.h.SSRC = 2
	if !f.send(5, 1) || f.out.Header.SequenceNumber != last+3 {
		t.Fatal("another SSRC is no restart")
	}
	f.h.SSRC = 1
	if f.send(30002, 1) {
		t.Fatal("a straggler of the former SSRC was forwarded")
	}
	if f.src.Receive(1, &f.h, []byte{1}, f.at, &f.p) || f.src.Receive(-1, &f.h, []byte{1}, f.at, &f.p) {
		t.Fatal("a layer that does not exist")
	}
}

// TestOversize: what no subscriber's connection could carry gives its number back.
func TestOversize(t *testing.T) {
	f := newFeed(t, forward.Audio)
	f.send(1, 1)
	last := f.out.Header.SequenceNumber
	if f.send(2, make([]byte, forward.MaxPayload+1)...) {
		t.Fatal("forwarded")
	}
	if !f.send(3, make([]byte, forward.MaxPayload)...) || f.out.Header.SequenceNumber != last+1 {
		t.Fatal("the next one has no place")
	}
}

func TestKeyFrames(t *testing.T) {
	cases := []struct {
		name    string
		codec   forward.Codec
		payload []byte
		key     bool
	}{
		{"VP8 key", forward.VP8, []byte{0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 0, 0}, true},
		{"VP8 delta", forward.VP8, []byte{0x10, 0x11, 0, 0}, false},
		{"VP8 second packet", forward.VP8, []byte{0x00, 0x10, 0, 0}, false},
		{"VP8 second partition", forward.VP8, []byte{0x11, 0x10, 0, 0}, false},
		{"H264 parameter set", forward.H264, []byte{0x67, 0x42, 0xe0}, true},
		{"H264 aggregate", forward.H264, []byte{0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, true},
		{"H264 slice", forward.H264, []byte{0x41, 0x9a}, false},
		{"H264 picture without parameters", forward.H264, []byte{0x65, 0x88}, false},
		{"H264 fragment", forward.H264, []byte{0x7c, 0x85, 0x88}, false},
		{"VP9 key", forward.VP9, []byte{0x88, 0x05, 0x82}, true},
		{"VP9 delta", forward.VP9, []byte{0xc8, 0x05, 0x82}, false},
		{"VP9 upper layer", forward.VP9, []byte{0xa8, 0x05, 0x02, 0x01, 0x82}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFeed(t, c.codec)
			if sent := f.send(1, c.payload...); sent != c.key {
				t.Fatalf("begun: %v", sent)
			}
		})
	}
}

// TestVP9Pictures: ids of seven and fifteen bits go on behind one another.
func TestVP9Pictures(t *testing.T) {
	f := newFeed(t, forward.VP9)
	pic := func() int { return int(f.out.Payload[1]&0x7f)<<8 | int(f.out.Payload[2]) }
	if !f.send(1, 0x88, 0x7e, 0x82) {
		t.Fatal("no key frame")
	}
	first := pic()
	for i := range 5 { // over the end of seven bits
		f.h.Timestamp += 3000
		if !f.send(uint16(i+2), 0xc8, byte(0x7f+i)&0x7f, 0x82) || pic() != first+i+1 {
			t.Fatalf("picture %d, the first was %d", pic(), first)
		}
	}
	f.h.SSRC = 2
	f.h.Timestamp = 0
	if f.send(7, 0xc8, 0x92, 0x34, 0x82) {
		t.Fatal("a restart without a key frame")
	}
	if !f.send(8, 0xa8, 0xff, 0xff, 0x00, 0x10, 0x82) || pic() != first+6 || f.out.Payload[4] != 1 {
		t.Fatalf("picture %d, the first was %d: % x", pic(), first, f.out.Payload)
	}
}

func TestDynacast(t *testing.T) {
	src, _ := forward.NewSource(forward.SourceConfig{Codec: forward.VP8, Layers: make([]forward.LayerConfig, 3)})
	now := time.Now()
	expect := func(layers forward.Layers, changed bool) {
		t.Helper()
		if l, c := src.Needed(now); l != layers || c != changed {
			t.Fatalf("%03b %v, want %03b %v", l, c, layers, changed)
		}
	}
	a := forward.NewForwarder(src, 2)
	b := forward.NewForwarder(src, 0)
	expect(0b111, false) // what is sent anyway is no news
	a.SetWanted(1, now)
	expect(0b111, false)
	now = now.Add(forward.DynacastDelay - time.Second)
	a.SetWanted(0, now)
	expect(0b111, false)
	a.SetWanted(1, now)
	expect(0b111, false) // the wait begins anew with every larger wish
	now = now.Add(forward.DynacastDelay)
	expect(0b011, true)
	expect(0b011, false)
	a.Allow(forward.None, now) // a short downlink is no lack of interest
	expect(0b011, false)
	a.SetEnabled(false, now)
	b.Close()
	expect(0b011, false)
	now = now.Add(forward.DynacastDelay)
	expect(0, true)
	a.SetEnabled(true, now)
	a.SetWanted(2, now)
	expect(0b111, true)
}

// TestLipSync: the reports of a publisher's audio and video, whose clocks have nothing in common with ours, say of both
// what happened at one moment.
func TestLipSync(t *testing.T) {
	clock, start := forward.NewClock(), time.Now()
	const wrong = 3 * time.Hour
	ntp := func(at time.Duration) uint64 {
		at += wrong
		return 3_900_000_000<<32 + uint64(at/time.Second)<<32 + uint64(at%time.Second)<<32/uint64(time.Second)
	}
	type media struct {
		src  *forward.Source
		f    *forward.Forwarder
		rate int
		base uint32
		lag  time.Duration // between capture and arrival
	}
	all := []*media{{rate: 48000, base: 4_294_960_000, lag: 30 * time.Millisecond}, {rate: 90000, base: 77, lag: 120 * time.Millisecond}}
	var p forward.Packet
	var out forward.Out
	for i, m := range all {
		codec := []forward.Codec{forward.Audio, forward.H264}[i]
		m.src, _ = forward.NewSource(forward.SourceConfig{Codec: codec, Clock: clock})
		m.f = forward.NewForwarder(m.src, 0)
		m.f.Bind(1, 96, start)
		if _, ok := m.f.SenderReport(start); ok {
			t.Fatal("a report before the first packet")
		}
		for n := range 100 {
			at := time.Duration(n) * 20 * time.Millisecond // of capture
			ts := m.base + uint32(at*time.Duration(m.rate)/time.Second)
			h := rtp.Header{Version: 2, SSRC: 5, SequenceNumber: uint16(n), Timestamp: ts}
			if !m.src.Receive(0, &h, []byte{0x67, 0x42}, start.Add(at+m.lag), &p) || !m.f.Forward(&p, &out) {
				t.Fatal("not forwarded")
			}
			if n%25 == 0 { // reports wait for no encoder
				m.src.SenderReport(0, &rtcp.SenderReport{SSRC: 5, NTPTime: ntp(at), RTPTime: ts}, start.Add(at+time.Duration(10+n%7)*time.Millisecond))
				m.src.SenderReport(0, &rtcp.SenderReport{SSRC: 6, NTPTime: 1, RTPTime: 1}, start) // of somebody else
			}
		}
	}
	now := start.Add(10 * time.Second)
	captured := make([]time.Duration, len(all))
	for i, m := range all {
		sr, ok := m.f.SenderReport(now)
		if !ok || sr.PacketCount != 100 || sr.OctetCount != 200 {
			t.Fatalf("%+v", sr)
		}
		if off := time.Unix(int64(sr.NTPTime>>32)-2208988800, int64(sr.NTPTime&0xffffffff*1e9>>32)).Sub(now); off.Abs() > time.Millisecond {
			t.Fatalf("the report's time is off by %v", off)
		}
		captured[i] = time.Duration(sr.RTPTime-m.base) * time.Second / time.Duration(m.rate)
	}
	if diff := captured[0] - captured[1]; diff.Abs() > time.Millisecond {
		t.Fatalf("sound and picture are %v apart", diff)
	}
}

// TestManyAtOnce lets layers, control, timers and retransmissions run at once, for the race detector.
func TestManyAtOnce(t *testing.T) {
	src, _ := forward.NewSource(forward.SourceConfig{Codec: forward.VP8, Layers: make([]forward.LayerConfig, 3), RequestKeyFrame: func(int) {}})
	alloc := forward.NewAllocator()
	var downs []*forward.Forwarder
	for i := range 4 {
		f := forward.NewForwarder(src, 2)
		f.Bind(uint32(i), 96, time.Now())
		alloc.Add(f, time.Now())
		downs = append(downs, f)
	}
	var readers, others sync.WaitGroup
	done := make(chan struct{})
	read := func(seed uint64, layer, frames int) {
		pub := newPublisher(seed, 3)
		var p forward.Packet
		var out forward.Out
		for i := range frames {
			pub.layers[layer].key = i%10 == 0
			pub.frame++
			for _, s := range pub.layers[layer].frame(pub, 2) {
				if src.Receive(layer, &s.header, s.data, time.Now(), &p) {
					for _, f := range downs {
						f.Forward(&p, &out)
					}
				}
			}
		}
	}
	for layer := range 3 {
		readers.Go(func() { read(uint64(layer), layer, 10000) })
	}
	for i, work := range []func(n int){
		func(n int) { alloc.Allocate(100_000+n%50*50_000, time.Now()); src.Tick(time.Now()) },
		func(n int) { downs[n%4].SetWanted(n%3, time.Now()); src.Needed(time.Now()) },
		func(n int) { downs[n%4].SenderReport(time.Now()); downs[n%4].KeyFrame(time.Now()) },
		func(n int) {
			f := forward.NewForwarder(src, 1)
			f.Close()
			_ = downs[n%4].State()
		},
		func(n int) {
			var out forward.Out
			downs[n%4].Retransmit(uint16(n), time.Now(), &out)
		},
	} {
		others.Go(func() {
			for n := i; ; n++ {
				select {
				case <-done:
					return
				default:
					work(n)
				}
			}
		})
	}
	readers.Wait()
	close(done)
	others.Wait()
	for i, f := range downs {
		f.SetWanted(0, time.Now())
		f.Allow(0, time.Now())
		before := f.State().Packets
		read(uint64(100+i), 0, 20)
		if got := f.State().Packets - before; got < 20 {
			t.Errorf("subscriber %d got %d packets after all that", i, got)
		}
	}
}
