package forward

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// clockWindow is over how long the quickest sender report is looked for. Clocks drift apart slowly.
const clockWindow = time.Minute

// ntpUnix is the Unix epoch in seconds of NTP.
const ntpUnix = 2208988800

// Clock relates a publisher's clock to ours. All sources of one publisher share one: then what the publisher captured
// at one time is played at one time. The publisher's clock may be wrong by hours.
type Clock struct {
	mu     sync.Mutex
	base   time.Time // monotonic; steps of our own clock do not matter either
	known  bool
	until  time.Duration
	now    int64 // least (arrival - publisher's time) in this window, nanoseconds
	before int64 // and in the one before
}

// NewClock returns a clock for one publisher.
func NewClock() *Clock { return &Clock{base: time.Now()} }

// observe takes a sender report's time and its arrival. The least difference is the one of the shortest way.
func (c *Clock) observe(ntp int64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := at.Sub(c.base)
	diff := c.base.UnixNano() + int64(elapsed) - ntp
	switch {
	case !c.known:
		c.known, c.now, c.before = true, diff, diff
		c.until = elapsed + clockWindow
	case elapsed > c.until:
		c.before, c.now = c.now, diff
		c.until = elapsed + clockWindow
	default:
		c.now = min(c.now, diff)
	}
}

// since returns how long before at the publisher's clock showed ntp.
func (c *Clock) since(ntp int64, at time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return 0, false
	}
	ours := c.base.UnixNano() + int64(at.Sub(c.base))
	return time.Duration(ours - ntp - min(c.now, c.before)), true
}

// report is the last sender report of a layer: at ntp the layer's timestamp was rtp.
type report struct {
	ssrc uint32
	rtp  uint32
	ntp  int64 // nanoseconds since the Unix epoch, on the publisher's clock
	ok   bool
}

// fromNTP turns an NTP timestamp into nanoseconds since the Unix epoch.
func fromNTP(t uint64) int64 {
	return (int64(t>>32)-ntpUnix)*int64(time.Second) + int64((t&0xffffffff)*uint64(time.Second)>>32)
}

// toNTP is the reverse.
func toNTP(t time.Time) uint64 {
	return uint64(t.Unix()+ntpUnix)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// ticks turns a time into a difference of timestamps.
func ticks(d time.Duration, rate uint32) int64 {
	return int64(d/time.Second)*int64(rate) + int64(d%time.Second)*int64(rate)/int64(time.Second)
}

// SenderReport takes the publisher's sender report for a layer. One with a foreign SSRC is ignored.
func (s *Source) SenderReport(layer int, sr *rtcp.SenderReport, at time.Time) {
	if layer < 0 || layer >= s.count || sr == nil || sr.NTPTime == 0 {
		return
	}
	ntp := fromNTP(sr.NTPTime)
	l := &s.layers[layer]
	l.mu.Lock()
	fits := !l.started || l.ssrc == sr.SSRC
	if fits {
		l.report = report{ssrc: sr.SSRC, rtp: sr.RTPTime, ntp: ntp, ok: true}
	}
	l.mu.Unlock()
	if fits {
		s.clock.observe(ntp, at)
	}
}

// reportOf returns the last sender report of a layer, if it belongs to this generation of its stream.
func (s *Source) reportOf(layer int, gen uint32) (report, bool) {
	l := &s.layers[layer]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report, l.report.ok && l.gen == gen && l.report.ssrc == l.ssrc
}

// relate returns what is added to a timestamp of one layer to get the timestamp of the same moment on another.
func (s *Source) relate(from int, fromGen uint32, to int, toGen uint32) (diff uint32, ok bool) {
	a, ok := s.reportOf(from, fromGen)
	if !ok {
		return 0, false
	}
	b, ok := s.reportOf(to, toGen)
	if !ok {
		return 0, false
	}
	return b.rtp - a.rtp - uint32(ticks(time.Duration(b.ntp-a.ntp), s.rate)), true
}

// SenderReport returns the report that goes to the subscriber with the media, and false while nothing was sent. Its
// times are ours; they keep the publisher's relation between audio and video, so that lips fit words. The engine sends
// one every second or so, in place of any other sender report on this stream.
func (f *Forwarder) SenderReport(now time.Time) (rtcp.SenderReport, bool) {
	f.mu.Lock()
	seg, sent := &f.segs[f.seg], f.begun
	layer, gen, ts, active := int(seg.layer), seg.gen, seg.ts, seg.active
	sr := rtcp.SenderReport{SSRC: f.ssrc, NTPTime: toNTP(now), PacketCount: uint32(f.packets), OctetCount: uint32(f.octets)}
	lastTS, lastAt := f.lastTS, f.lastAt
	f.mu.Unlock()
	if !sent {
		return sr, false
	}
	sr.RTPTime = lastTS + uint32(ticks(f.src.since(now)-lastAt, f.src.rate))
	if r, ok := f.src.reportOf(layer, gen); ok && active {
		if ago, ok := f.src.clock.since(r.ntp, now); ok {
			sr.RTPTime = r.rtp + ts + uint32(ticks(ago, f.src.rate))
		}
	}
	return sr, true
}
