package forward_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"parley/internal/rtc/forward"
)

const off = forward.None

func TestShare(t *testing.T) {
	voice := forward.Demand{Class: forward.Voice, Costs: [3]int{40}}
	cam := func(wanted int) forward.Demand {
		return forward.Demand{Class: forward.Camera, Wanted: wanted, Costs: [3]int{150, 500, 1700}}
	}
	screen := func(wanted int) forward.Demand {
		return forward.Demand{Class: forward.Screen, Wanted: wanted, Costs: [3]int{400, 2000, 2000}}
	}
	cases := []struct {
		name    string
		budget  int
		demands []forward.Demand
		want    []int
	}{
		{"nobody", 1000, nil, []int{}},
		{"plenty", 10000, []forward.Demand{voice, cam(2), screen(1)}, []int{0, 2, 1}},
		{"nobody stands still", 10, []forward.Demand{cam(2), screen(1), voice}, []int{0, 0, 0}},
		{"nothing wanted", 10000, []forward.Demand{cam(off), {Class: forward.Voice, Wanted: off}}, []int{off, off}},
		{"no more than wanted", 10000, []forward.Demand{cam(0), cam(1)}, []int{0, 1}},
		{"everybody is seen before anybody is sharp", 700, []forward.Demand{cam(2), cam(2), cam(2), cam(2)}, []int{0, 0, 0, 0}},
		{"sharpness goes around", 1300, []forward.Demand{cam(2), cam(2)}, []int{1, 1}},
		{"the large view gets what is left", 660, []forward.Demand{cam(0), cam(2)}, []int{0, 1}},
		{"the screen first", 2300, []forward.Demand{cam(2), screen(1)}, []int{0, 1}},
		{"a face when the screen does not fit", 950, []forward.Demand{cam(2), screen(1)}, []int{1, 0}},
		{"what all must have is not there twice", 600, []forward.Demand{cam(0), cam(2), cam(0)}, []int{0, 0, 0}},
		{"nothing", 0, []forward.Demand{cam(2), screen(1)}, []int{0, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := make([]int, len(c.demands))
			forward.Share(c.budget, c.demands, got)
			if !slices.Equal(got, c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

// downlink is an allocator with forwarders of sources that say their layers' bitrates and carry nothing.
type downlink struct {
	t   *testing.T
	a   *forward.Allocator
	fs  []*forward.Forwarder
	now time.Time
	all bool // have what they want
}

func newDownlink(t *testing.T) *downlink {
	return &downlink{t: t, a: forward.NewAllocator(), now: time.Now()}
}

func (d *downlink) add(cfg forward.SourceConfig) (*forward.Source, *forward.Forwarder) {
	d.t.Helper()
	src, err := forward.NewSource(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	f := forward.NewForwarder(src, src.LayerCount()-1)
	f.Bind(1, 96, d.now)
	d.fs = append(d.fs, f)
	d.a.Add(f, d.now)
	return src, f
}

func (d *downlink) camera() (*forward.Source, *forward.Forwarder) {
	return d.add(forward.SourceConfig{Codec: forward.VP8, Layers: []forward.LayerConfig{{Bitrate: 150_000}, {Bitrate: 500_000}, {Bitrate: 1_700_000}}})
}

// steps allocates for a while, four times a second, and returns the targets at its end.
func (d *downlink) steps(estimate int, span time.Duration) (targets []int) {
	for end := d.now.Add(span); !d.now.After(end); d.now = d.now.Add(250 * time.Millisecond) {
		d.all = d.a.Allocate(estimate, d.now)
	}
	for _, f := range d.fs {
		targets = append(targets, f.State().Target)
	}
	return targets
}

func (d *downlink) expect(targets []int, want ...int) {
	d.t.Helper()
	if !slices.Equal(targets, want) {
		d.t.Fatalf("targets %v, want %v", targets, want)
	}
}

func TestAllocate(t *testing.T) {
	d := newDownlink(t)
	d.camera()
	d.expect(d.steps(10_000_000, 0), 2) // the first share is given at once
	d.expect(d.steps(600_000, 0), 1)    // less too
	d.expect(d.steps(100_000, 0), 0)    // the last layer stays, whatever is said
	if d.all {
		t.Fatal("that is all that is wanted")
	}
	d.expect(d.steps(10_000_000, forward.RaiseDelay-500*time.Millisecond), 0) // more only after a while
	d.expect(d.steps(10_000_000, 500*time.Millisecond), 1)
	d.expect(d.steps(10_000_000, 2*forward.RaiseStep), 2) // and step by step
	if !d.all {
		t.Fatal("more is wanted")
	}
	d.expect(d.steps(1_700_000, 5*time.Second), 2) // what fits stays, also without headroom
	d.expect(d.steps(0, 0), 2)                     // nothing known, nothing withheld
}

func TestHeadroom(t *testing.T) {
	d := newDownlink(t)
	d.camera()
	d.expect(d.steps(520_000, time.Minute), 0)
	d.expect(d.steps(560_000, forward.RaiseDelay+time.Second), 1)
	d.expect(d.steps(510_000, time.Minute), 1)
}

// TestRegret: a downlink that fails after every raise is tried less and less often.
func TestRegret(t *testing.T) {
	d := newDownlink(t)
	_, f := d.camera()
	d.expect(d.steps(300_000, time.Second), 0)
	var raises []time.Time
	for range 2000 {
		estimate := 600_000
		if f.State().Target == 1 {
			raises = append(raises, d.now)
			estimate = 300_000
		}
		d.steps(estimate, 0)
	}
	if len(raises) < 5 || len(raises) > 15 {
		t.Fatalf("%d raises in 500 s", len(raises))
	}
	first, last := raises[1].Sub(raises[0]), raises[len(raises)-1].Sub(raises[len(raises)-2])
	if first > 8*time.Second || last < forward.MaxRaiseDelay || last > forward.MaxRaiseDelay+2*time.Second {
		t.Fatalf("the first after %v, the last after %v", first, last)
	}
	d.steps(600_000, 3*time.Minute) // it holds
	d.expect(d.steps(300_000, 0), 0)
	d.expect(d.steps(600_000, forward.RaiseDelay+time.Second), 1)
}

func TestWishes(t *testing.T) {
	d := newDownlink(t)
	src, a := d.camera()
	_, b := d.camera()
	d.expect(d.steps(1_200_000, time.Second), 1, 1)
	a.SetWanted(0, d.now)
	d.expect(d.steps(1_200_000, 0), 0, 1)
	a.SetWanted(2, d.now)
	d.expect(d.steps(1_200_000, 0), 1, 1) // a wish does not wait
	b.SetEnabled(false, d.now)
	d.expect(d.steps(1_200_000, 0), 1, off)
	b.SetEnabled(true, d.now)
	d.expect(d.steps(1_200_000, 0), 1, 1)
	src.SetMuted(true)
	d.expect(d.steps(600_000, 0), 1, 1) // who is mute needs nothing
	src.SetMuted(false)
	d.expect(d.steps(600_000, 0), 0, 0)
	d.a.Remove(b)
	d.expect(d.steps(600_000, 10*time.Second), 1, 0)
}

func TestScreenGoesFirst(t *testing.T) {
	d := newDownlink(t)
	d.camera()
	d.expect(d.steps(2_000_000, 0), 2)
	d.add(forward.SourceConfig{Codec: forward.VP8, Screen: true, Layers: []forward.LayerConfig{{Bitrate: 300_000}, {Bitrate: 1_500_000}}})
	d.add(forward.SourceConfig{Codec: forward.Audio})
	d.expect(d.steps(2_000_000, 0), 0, 1, 0)
	d.expect(d.steps(500_000, 0), 0, 0, 0)
	d.expect(d.steps(100_000, 0), 0, 0, 0) // all go on
	d.expect(d.steps(500_000, 10*time.Second), 0, 0, 0)
	d.expect(d.steps(2_000_000, 10*time.Second), 0, 1, 0)
}

// TestMeasured: what a layer really takes counts more than what was announced.
func TestMeasured(t *testing.T) {
	d := newDownlink(t)
	src, _ := d.camera()
	var p forward.Packet
	payload := append([]byte{0x10, 0x11}, make([]byte, 998)...)
	h := rtp.Header{Version: 2, SSRC: 1}
	for range 400 { // 100 packets/s of 1012 bytes: some 810 kbit/s on the lowest layer
		h.SequenceNumber++
		d.now = d.now.Add(10 * time.Millisecond)
		src.Receive(0, &h, payload, d.now, &p)
	}
	if got := src.Bitrate(0, d.now); got < 780_000 || got > 840_000 {
		t.Fatalf("measured %d bits/s", got)
	}
	d.expect(d.steps(600_000, 0), 0) // what was announced would leave room for the next layer
	if src.Bitrate(1, d.now) != 0 || src.Bitrate(0, d.now.Add(time.Minute)) != 0 {
		t.Fatal("a bitrate of what does not come")
	}
}
