package forward_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"parley/internal/rtc/forward"
)

// layersSent returns the layers of the packets from one on, without repetitions.
func (s *subscriber) layersSent(from int) (layers []int) {
	for _, g := range s.packets[from:] {
		if n := len(layers); g.from != nil && (n == 0 || layers[n-1] != g.from.layer) {
			layers = append(layers, g.from.layer)
		}
	}
	return layers
}

// TestSwitching: a layer is begun at a key frame only, up and down, and the one before goes on until then.
func TestSwitching(t *testing.T) {
	tr := newTrack(t, 1, 3, 2)
	tr.play(30)
	if got := tr.sub.f.State(); got.Current != 2 || got.Target != 2 {
		t.Fatalf("after a second: %+v", got)
	}
	tr.asked = nil
	from := len(tr.sub.packets)
	tr.sub.f.Allow(0, tr.time())
	if !slices.Equal(tr.asked, []int{0}) {
		t.Fatalf("key frames asked for: %v", tr.asked)
	}
	for _, e := range tr.pub.layers {
		e.key = false // the publisher is slow
	}
	tr.play(5)
	if got := tr.sub.layersSent(from); !slices.Equal(got, []int{2}) {
		t.Fatalf("without a key frame: layers %v", got)
	}
	tr.pub.layers[0].key = true
	tr.play(5)
	if got := tr.sub.layersSent(from); !slices.Equal(got, []int{2, 0}) {
		t.Fatalf("with a key frame: layers %v", got)
	}
	from = len(tr.sub.packets)
	tr.sub.f.SetWanted(1, tr.time())
	tr.sub.f.Allow(2, tr.time())
	tr.play(30)
	if got := tr.sub.layersSent(from); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("up to the wanted layer: %v", got)
	}
}

// TestFirstPicture: the lowest layer's key frame is shown while the wanted one's is awaited.
func TestFirstPicture(t *testing.T) {
	tr := newTrack(t, 1, 3, 2)
	tr.play(1) // every layer begins
	if got := tr.sub.layersSent(0); len(got) == 0 || got[0] != 0 || got[len(got)-1] != 2 {
		t.Fatalf("layers %v", got)
	}
}

// TestKeyFrameRequests: few, but never lost.
func TestKeyFrameRequests(t *testing.T) {
	tr := newTrack(t, 1, 1, 0)
	tr.play(30)
	tr.asked = nil
	for range 50 {
		tr.sub.f.KeyFrame(tr.time())
	}
	if len(tr.asked) != 1 {
		t.Fatalf("%d requests at once", len(tr.asked))
	}
	tr.pub.layers[0].key = false // it was lost
	tr.play(int(forward.KeyFrameInterval/frameTime) + 2)
	if len(tr.asked) != 2 {
		t.Fatalf("%d requests after the interval", len(tr.asked))
	}
	tr.play(60) // the key frame has come
	if len(tr.asked) != 2 {
		t.Fatalf("%d requests after the key frame", len(tr.asked))
	}
}

// TestWaitingAsksAgain: a subscriber that sees nothing yet keeps asking, also while nothing arrives.
func TestWaitingAsksAgain(t *testing.T) {
	tr := newTrack(t, 1, 1, 0)
	for range 20 {
		tr.pub.now += 100 * time.Millisecond
		tr.src.Tick(tr.time())
	}
	if n := len(tr.asked); n < 4 || n > 5 {
		t.Fatalf("%d requests in two seconds", n)
	}
}

// TestPause: nothing goes out, and the stream goes on as if nothing had been.
func TestPause(t *testing.T) {
	tr := newTrack(t, 3, 2, 1)
	tr.play(30)
	from := len(tr.sub.packets)
	last := tr.sub.packets[from-1]
	tr.sub.f.Allow(forward.None, tr.time())
	if got := tr.sub.f.State(); got.Target != forward.None {
		t.Fatalf("not paused: %+v", got)
	}
	tr.play(300)
	if len(tr.sub.packets) != from {
		t.Fatalf("%d packets during the pause", len(tr.sub.packets)-from)
	}
	tr.sub.f.Allow(1, tr.time())
	tr.play(3)
	next := tr.sub.packets[from]
	if next.header.SequenceNumber != last.header.SequenceNumber+1 || !next.from.key {
		t.Fatalf("numbers %d → %d, key frame %v", last.header.SequenceNumber, next.header.SequenceNumber, next.from.key)
	}
	want := (next.at - last.at).Seconds()
	if got := float64(next.header.Timestamp-last.header.Timestamp) / 90000; got < want-0.05 || got > want+0.05 {
		t.Fatalf("the clock went on by %.3f s in %.3f s", got, want)
	}
}

// TestStoppedLayer: when a publisher stops a layer, its subscribers get another; when all stop, nobody moves.
func TestStoppedLayer(t *testing.T) {
	tr := newTrack(t, 1, 3, 2)
	tr.play(30)
	all := tr.pub.layers
	tr.pub.layers = all[:2]
	tr.play(40)
	if got := tr.src.Live(); got != 0b011 {
		t.Fatalf("live layers %b", got)
	}
	if got := tr.sub.f.State(); got.Current != 1 {
		t.Fatalf("the top layer has stopped: %+v", got)
	}
	tr.pub.now += 10 * time.Second // mute
	tr.src.Tick(tr.time())
	if got := tr.src.Live(); got != 0b011 {
		t.Fatalf("live layers %b after a mute", got)
	}
	tr.pub.layers = all
	tr.play(30)
	if got := tr.sub.f.State(); got.Current != 2 {
		t.Fatalf("the top layer is back: %+v", got)
	}
}

// TestRetransmit: what is sent again is what was sent, on the same stream or on one of its own.
func TestRetransmit(t *testing.T) {
	tr := newTrack(t, 5, 3, 2)
	tr.play(20)
	tr.sub.f.SetWanted(0, tr.time())
	tr.play(20)
	sentPackets := slices.Clone(tr.sub.packets)
	if len(tr.sub.layersSent(0)) < 2 {
		t.Fatal("no switch to look across")
	}
	for _, want := range sentPackets {
		if !tr.sub.f.Retransmit(want.header.SequenceNumber, tr.time(), &tr.sub.out) {
			t.Fatalf("packet %d is not there", want.header.SequenceNumber)
		}
		got := tr.sub.out
		if got.Header.Timestamp != want.header.Timestamp || got.Header.Marker != want.header.Marker ||
			got.Header.SequenceNumber != want.header.SequenceNumber || !bytes.Equal(got.Payload, want.data) {
			t.Fatalf("another packet:\n%+v % x\n%+v % x", want.header, want.data, got.Header, got.Payload)
		}
	}
	tr.pub.now += time.Second
	tr.sub.f.BindRTX(4712, 121)
	for i, want := range sentPackets[:10] {
		if !tr.sub.f.Retransmit(want.header.SequenceNumber, tr.time(), &tr.sub.out) {
			t.Fatalf("packet %d is not there", want.header.SequenceNumber)
		}
		h, data := tr.sub.out.Header, tr.sub.out.Payload
		number := uint16(data[0])<<8 | uint16(data[1])
		if h.SSRC != 4712 || h.PayloadType != 121 || h.SequenceNumber != uint16(i+1) || number != want.header.SequenceNumber || !bytes.Equal(data[2:], want.data) {
			t.Fatalf("not RFC 4588: %+v % x", h, data)
		}
	}
	if tr.sub.f.Retransmit(sentPackets[0].header.SequenceNumber-1, tr.time(), &tr.sub.out) {
		t.Fatal("a packet that never was")
	}
}

// TestRetransmitLimit: one packet is not sent again and again.
func TestRetransmitLimit(t *testing.T) {
	tr := newTrack(t, 5, 1, 0)
	tr.play(10)
	number, count := tr.sub.packets[3].header.SequenceNumber, 0
	for range 100 {
		for range 10 {
			if tr.sub.f.Retransmit(number, tr.time(), &tr.sub.out) {
				count++
			}
		}
		tr.pub.now += forward.RetransmitInterval
	}
	if count != forward.MaxRetransmits {
		t.Fatalf("%d retransmissions", count)
	}
}

// TestCacheWindow: at the bitrate of a shared screen, what was sent within the window is there, and memory is not kept for more.
func TestCacheWindow(t *testing.T) {
	f := newFeed(t, forward.H264)
	payload := append([]byte{0x67}, make([]byte, 1099)...)
	numbers := map[int]uint16{}
	for ms := 0; ms <= 5000; ms += 4 { // 250 packets/s: 2.2 Mbit/s
		if !f.send(uint16(ms/4), payload...) {
			t.Fatal("not forwarded")
		}
		numbers[ms] = f.out.Header.SequenceNumber
		f.at = f.at.Add(4 * time.Millisecond)
	}
	for ms := 4100; ms <= 5000; ms += 4 {
		if !f.f.Retransmit(numbers[ms], f.at, &f.out) || len(f.out.Payload) != len(payload) {
			t.Fatalf("the packet of %d ms ago is not there", 5000-ms)
		}
	}
	for _, ms := range []int{0, 1000, 2000} {
		if f.f.Retransmit(numbers[ms], f.at, &f.out) {
			t.Fatalf("the packet of %d ms ago is still there", 5000-ms)
		}
	}
	f.at = f.at.Add(time.Minute)
	f.src.Tick(f.at)
	if f.f.Retransmit(numbers[5000], f.at, &f.out) {
		t.Fatal("a mute track keeps its packets")
	}
}

// TestClosed: a closed forwarder forwards nothing.
func TestClosed(t *testing.T) {
	tr := newTrack(t, 7, 1, 0)
	tr.play(30)
	tr.sub.f.Close()
	before := len(tr.sub.packets)
	tr.play(5)
	if len(tr.sub.packets) != before {
		t.Fatal("a closed forwarder forwards")
	}
}

// TestRetransmitLimitsAreOfEachPacket: asking for many packets, and for such as are long gone, forgets no packet's limit.
func TestRetransmitLimitsAreOfEachPacket(t *testing.T) {
	f := newFeed(t, forward.H264)
	const sent = 2 * forward.VideoEntries
	var last uint16
	for i := range sent {
		if !f.send(uint16(i), 0x67, 0x42) {
			t.Fatal("not forwarded")
		}
		last = f.out.Header.SequenceNumber
	}
	count := 0
	ask := func(back int) {
		if f.f.Retransmit(last-uint16(back), f.at, &f.out) {
			count++
		}
	}
	for range 20 {
		for back := range sent { // those behind the first half have left the cache, and share the places of the others
			ask(back)
		}
	}
	if count != forward.VideoEntries {
		t.Errorf("at one moment %d packets were sent again, %d are kept", count, forward.VideoEntries)
	}
	count = 0
	for range 20 {
		f.at = f.at.Add(forward.RetransmitInterval)
		for _, back := range []int{3, 3 + 64, 3 + forward.VideoEntries} {
			ask(back)
		}
	}
	if want := 2 * (forward.MaxRetransmits - 1); count != want {
		t.Errorf("two packets were sent again %d times more, want %d", count, want)
	}
}
