package transport_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"parley/internal/rtc/transport"
)

// link is a bottleneck: a queue that drains at a rate, with some delay, jitter and loss beside it.
type link struct {
	rate   float64 // bits per second
	queue  time.Duration
	delay  time.Duration
	jitter time.Duration
	loss   float64
	free   time.Duration
	random *rand.Rand
}

const reportEvery = 100 * time.Millisecond

// run sends for a time what app makes of the estimate, and gives the lowest and the highest estimate of the last third.
func (l *link) run(e transport.Estimate, from, length time.Duration, app func(rate float64) float64) (low, high float64) {
	rate, low := float64(transport.InitialBitrate), math.Inf(1)
	var acks []transport.Ack
	next, report := from, from+reportEvery
	const size = 1200
	for now := from; now < from+length; now += time.Millisecond {
		for next <= now {
			a := transport.Ack{Sent: next, Size: size}
			start := max(next, l.free)
			switch {
			case start-next > l.queue, l.random.Float64() < l.loss:
				a.Lost = true
			default:
				l.free = start + time.Duration(float64(8*size)/l.rate*float64(time.Second))
				a.Arrived = l.free + l.delay + time.Duration(l.random.Float64()*float64(l.jitter))
			}
			acks = append(acks, a)
			next += time.Duration(float64(8*size) / max(app(rate), 10_000) * float64(time.Second))
		}
		if now < report {
			continue
		}
		report += reportEvery
		n := 0
		for n < len(acks) && (acks[n].Lost || acks[n].Arrived+l.delay < now) {
			n++
		}
		rate = e.Feedback(now, acks[:n])
		acks = acks[n:]
		if now > from+2*length/3 {
			low, high = min(low, rate), max(high, rate)
		}
	}
	return low, high
}

func newLink(rate float64) *link {
	return &link{rate: rate, queue: 300 * time.Millisecond, delay: 25 * time.Millisecond, jitter: 3 * time.Millisecond, random: rand.New(rand.NewPCG(1, 2))}
}

// layers is what a server sends for an estimate: one of three layers, with audio.
func layers(rate float64) float64 {
	switch {
	case rate > 1_700_000:
		return 1_600_000
	case rate > 600_000:
		return 550_000
	}
	return 180_000
}

func greedy(rate float64) float64 { return rate }

func TestEstimateFindsTheRate(t *testing.T) {
	for _, c := range []struct {
		rate      float64
		app       func(float64) float64
		low, high float64 // as shares of the rate
	}{
		{400_000, greedy, 0.5, 1.3}, {1_000_000, greedy, 0.5, 1.3}, {4_000_000, greedy, 0.5, 1.3},
		{400_000, layers, 0.4, 1.5}, {1_000_000, layers, 0.4, 1.8}, // it grows until the best layer is tried, and falls
	} {
		low, high := newLink(c.rate).run(transport.NewEstimate(), 0, 40*time.Second, c.app)
		t.Logf("%.0f: %.0f to %.0f", c.rate, low, high)
		if low < c.low*c.rate || high > c.high*c.rate {
			t.Errorf("a way of %.0f bit/s: between %.0f and %.0f", c.rate, low, high)
		}
	}
}

// On a way that carries everything the best layer is never left.
func TestEstimateOfAWideWay(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.05} {
		l := newLink(100e6)
		l.loss, l.jitter = loss, 15*time.Millisecond
		low, high := l.run(transport.NewEstimate(), 0, 60*time.Second, layers)
		t.Logf("%.2f: %.0f to %.0f", loss, low, high)
		if low < 1_700_000 {
			t.Errorf("loss of %.0f %%: between %.0f and %.0f", 100*loss, low, high)
		}
	}
}

// A way that recovers is found out, though the server sends less than it carries; and a way that fails again is not tried all the time.
func TestEstimateRecovers(t *testing.T) {
	e, l := transport.NewEstimate(), newLink(300_000)
	tries, sending := 0, 0.0
	app := func(rate float64) float64 {
		s := layers(rate)
		if s > sending && sending > 0 {
			tries++
		}
		sending = s
		return s
	}
	if _, high := l.run(e, 0, 60*time.Second, app); high > 1_000_000 {
		t.Errorf("the narrow way was taken for %.0f", high)
	}
	if tries > 6 {
		t.Errorf("a better layer was tried %d times in a minute", tries)
	}
	l.rate = 10e6
	if low, _ := l.run(e, 60*time.Second, 180*time.Second, app); low < 1_700_000 {
		t.Errorf("the wide way was taken for %.0f", low)
	}
}

func TestEstimateOfLoss(t *testing.T) {
	l := newLink(100e6)
	l.loss = 0.3
	if _, high := l.run(transport.NewEstimate(), 0, 20*time.Second, greedy); high > 1_000_000 {
		t.Errorf("a third is lost at %.0f", high)
	}
}

// A client that reports nothing but its own estimate is believed, within bounds.
func TestEstimateOfTheClient(t *testing.T) {
	e := transport.NewEstimate()
	for in, want := range map[float64]float64{500_000: 500_000, 0: transport.MinBitrate, math.Inf(1): transport.MaxBitrate, math.NaN(): transport.MinBitrate} {
		if got := e.Remote(time.Second, in); got != want {
			t.Errorf("%v: %v", in, got)
		}
	}
}

// downlink is a stream of a subscriber, and what was written to it.
func downlink(t testing.TB, clock func() time.Time) (send func(*rtp.Header, []byte), rate transport.Estimator, report func([]rtcp.Packet), numbers *[]uint16) {
	t.Helper()
	i, rate, report := transport.Downlink(clock)
	numbers = &[]uint16{}
	info := &interceptor.StreamInfo{SSRC: 1, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: sdp.TransportCCURI, ID: 5}}}
	w := i.BindLocalStream(info, interceptor.RTPWriterFunc(func(h *rtp.Header, p []byte, _ interceptor.Attributes) (int, error) {
		*numbers = append(*numbers, binary.BigEndian.Uint16(h.GetExtension(5)))
		return len(p), nil
	}))
	return func(h *rtp.Header, p []byte) {
		if _, err := w.Write(h, p, nil); err != nil {
			t.Fatal(err)
		}
	}, rate, report, numbers
}

func TestDownlink(t *testing.T) {
	now := time.Unix(1e9, 0)
	send, rate, report, numbers := downlink(t, func() time.Time { return now })
	seq, at := uint16(0), uint32(0)
	for range 70 { // across the end of the numbers
		r := &rtcp.TransportLayerCC{BaseSequenceNumber: seq, PacketStatusCount: 1000, ReferenceTime: at / 64,
			PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 1000}}}
		for range 1000 {
			send(&rtp.Header{Version: 2}, make([]byte, 1000))
			now = now.Add(time.Millisecond)
			r.RecvDeltas = append(r.RecvDeltas, &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 1000})
			seq++
		}
		at += 1000
		report([]rtcp.Packet{r})
		report([]rtcp.Packet{r}) // the same again says nothing new
	}
	for i, n := range *numbers {
		if n != uint16(i) {
			t.Fatalf("packet %d has the number %d", i, n)
		}
	}
	if !rate.Measured() || rate.Bitrate() <= transport.InitialBitrate {
		t.Errorf("%v %d", rate.Measured(), rate.Bitrate())
	}
}

// A client may report what it likes.
func FuzzReport(f *testing.F) {
	good, err := (&rtcp.TransportLayerCC{Header: rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 5}, PacketStatusCount: 2,
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 2}},
		RecvDeltas:   []*rtcp.RecvDelta{{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 250}, {Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 500}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	remb, err := (&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{1}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(remb)
	f.Add(append(good, remb...))
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			return
		}
		now := time.Unix(1e9, 0)
		send, rate, report, _ := downlink(t, func() time.Time { return now })
		for range 100 {
			send(&rtp.Header{Version: 2}, make([]byte, 100))
			now = now.Add(3 * time.Millisecond)
		}
		report(packets)
		report(packets)
		if n := rate.Bitrate(); n < transport.MinBitrate || n > transport.MaxBitrate {
			t.Error(n)
		}
	})
}
