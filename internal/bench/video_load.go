package bench

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

const (
	steadyAfter = 3 * time.Second // everybody receives everything: how long until it is measured
	quiet       = time.Second     // after the last packet was sent, everything has arrived
	allReceive  = 60 * time.Second
)

// joinTimes are what joining took, of many people.
type joinTimes struct {
	mu                                          sync.Mutex
	pass, connected, firstPacket, firstKeyFrame []time.Duration
}

func (j *joinTimes) add(p *person, pass time.Duration) {
	m := p.Snapshot().Marks
	j.mu.Lock()
	defer j.mu.Unlock()
	put := func(to *[]time.Duration, at time.Time) {
		if !at.IsZero() {
			*to = append(*to, at.Sub(m.Began))
		}
	}
	if pass > 0 {
		j.pass = append(j.pass, pass)
	}
	put(&j.connected, m.Connected)
	put(&j.firstPacket, m.FirstPacket)
	put(&j.firstKeyFrame, m.FirstKeyFrame)
}

func (j *joinTimes) figures() *JoinFigures {
	return &JoinFigures{Pass: quantiles(j.pass), Connected: quantiles(j.connected), FirstPacket: quantiles(j.firstPacket), FirstKeyFrame: quantiles(j.firstKeyFrame)}
}

// totals are what all people had sent and received at one time.
type totals struct {
	at              time.Time
	sent            uint64 // packets
	expected        uint64 // packets, if every one of them reached every other in its call
	received, bytes uint64
	video           uint64
	lost, twice     uint64
	pictures        uint64
	delay           client.Delays
	server, own     time.Duration
}

// count sums up what everybody has sent and received.
func (h *hall) count(all []*gathering) (t totals, err error) {
	for _, c := range all {
		for _, p := range c.people {
			for _, pub := range p.publications {
				n := pub.Sent().Packets
				t.sent += n
				t.expected += n * uint64(len(c.people)-1)
			}
			s := p.Snapshot()
			for i := range s.Tracks {
				r := &s.Tracks[i]
				t.received += r.Packets
				t.bytes += r.Bytes
				t.lost += r.Lost
				t.twice += r.Duplicates
				t.pictures += r.PictureGaps
				t.delay.Merge(&r.Delay)
				if r.Kind == signal.TrackType_VIDEO {
					t.video += r.Packets
				}
			}
		}
	}
	t.at, t.own = time.Now(), ownCPU()
	if h.process.PID > 0 {
		t.server, err = h.process.CPU()
	}
	return t, err
}

// hush stops everybody from sending, or lets them go on.
func hush(all []*gathering, on bool) {
	for _, c := range all {
		for _, p := range c.people {
			for _, pub := range p.publications {
				pub.Pause(on)
			}
		}
	}
}

// receiving waits until everybody receives sound and picture of everybody else who publishes in their call, and counts who does not.
func receiving(ctx context.Context, all []*gathering) (incomplete int, err error) {
	waiting, cancel := context.WithTimeout(ctx, allReceive)
	defer cancel()
	for _, c := range all {
		publishers := 0
		for _, p := range c.people {
			publishers += min(1, len(p.publications))
		}
		for _, p := range c.people {
			want := 2 * (publishers - min(1, len(p.publications)))
			switch err := p.Await(waiting, func(s *client.Snapshot) bool { return flowing(s) >= want }); {
			case ctx.Err() != nil:
				return 0, ctx.Err()
			case waiting.Err() != nil && err != nil:
				incomplete++
			case err != nil:
				return 0, err
			}
		}
	}
	return incomplete, nil
}

// flowing counts the tracks that can be shown.
func flowing(s *client.Snapshot) (n int) {
	for i := range s.Tracks {
		if t := &s.Tracks[i]; !t.Ended && t.Packets > 0 && (t.Kind == signal.TrackType_AUDIO || t.KeyFrames > 0) {
			n++
		}
	}
	return n
}

// measure lets everybody send and receive for the time set. Before and after it, sending stops until all has arrived, so that what
// was sent can be compared with what was received packet by packet.
func (v *videoRun) measure(ctx context.Context, h *hall, l Load, all []*gathering, profile bool) error {
	var err error
	if l.Incomplete, err = receiving(ctx, all); err != nil {
		return err
	}
	if l.Incomplete > 0 {
		v.say("%s: %d people do not receive everything after %s; it is measured all the same", l.Name, l.Incomplete, allReceive)
	}
	if err := pause(ctx, steadyAfter); err != nil {
		return err
	}
	hush(all, true)
	if err := pause(ctx, quiet); err != nil {
		return err
	}
	before, err := h.count(all)
	if err != nil {
		return err
	}
	hush(all, false)
	if profile && h.started != nil {
		err = h.started.Signal(syscall.SIGUSR1)
	}
	if err := errors.Join(err, pause(ctx, time.Duration(v.opt.Seconds)*time.Second)); err != nil {
		return err
	}
	hush(all, true)
	if profile && h.started != nil {
		err = h.started.Signal(syscall.SIGUSR1)
	}
	if err := errors.Join(err, pause(ctx, quiet)); err != nil {
		return err
	}
	after, err := h.count(all)
	if err != nil {
		return err
	}
	l.between(before, after, v.opt.Simulcast)
	if h.process.PID > 0 {
		if l.ServerRSS, err = h.process.RSS(); err != nil {
			return err
		}
	}
	v.report.Loads = append(v.report.Loads, l)
	v.say("%s: %.0f packets a second forwarded, %s missing, server %.2f cores, %.1f µs a packet, generator %.2f cores, delay p50 %s p99 %s",
		l.Name, l.PerSecond, l.missing(), l.ServerCores, l.ServerUSPerPacket, l.GeneratorCores, ms(l.Delay.P50), ms(l.Delay.P99))
	for _, c := range all {
		if err := c.leave(); err != nil {
			return err
		}
	}
	return nil
}

// between fills in what happened from one count to the other.
func (l *Load) between(before, after totals, simulcast bool) {
	l.Seconds = after.at.Sub(before.at).Seconds()
	l.Published, l.Forwarded = after.sent-before.sent, after.received-before.received
	l.Video = after.video - before.video
	if missing := int64(after.expected-before.expected) - int64(l.Forwarded); !simulcast { // of three sizes, each receives one
		l.Missing = &missing
	}
	l.Lost, l.Doubled, l.PictureGaps = after.lost-before.lost, after.twice-before.twice, after.pictures-before.pictures
	l.PerSecond = float64(l.Forwarded) / l.Seconds
	l.MbitOut = float64(after.bytes-before.bytes) * 8 / 1e6 / l.Seconds
	l.ServerCores = (after.server - before.server).Seconds() / l.Seconds
	l.GeneratorCores = (after.own - before.own).Seconds() / l.Seconds
	if l.Forwarded > 0 {
		l.ServerUSPerPacket = float64((after.server - before.server).Microseconds()) / float64(l.Forwarded)
	}
	d := after.delay
	d.N -= before.delay.N
	for i := range d.Counts {
		d.Counts[i] -= before.delay.Counts[i]
	}
	l.Delay = Quantiles{Count: int(d.N), P50: millis(d.Quantile(.50)), P95: millis(d.Quantile(.95)), P99: millis(d.Quantile(.99)), Max: millis(d.Quantile(1))}
}
