package rtc

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
)

// track is one published track. Its media comes in one to three layers, each read by a goroutine of its own that hands every packet to
// all who receive the track.
type track struct {
	owner *participant
	from  signal.TrackSource
	sid   string
	mid   string
	rids  []string

	info *signal.TrackInfo // guarded as participant.infos is

	source  *forward.Source // nil until media arrives; set once, before the track is offered to anybody
	mime    string          // of the media
	fmtp    string
	level   uint8 // id of the audio level extension, 0 if it was not negotiated
	streams [maxLayers]stream
	voice   voice
	noticed atomic.Bool // the client knows that somebody receives the track

	downs  atomic.Pointer[[]*down] // who receives it; replaced, never changed
	attach sync.Mutex              // held while downs is replaced
}

// stream is one layer as it arrives.
type stream struct {
	ssrc     atomic.Uint32
	started  atomic.Bool
	packets  atomic.Uint64
	bytes    atomic.Uint64
	expected atomic.Uint64 // packets that the publisher has sent, by their numbers
}

func newTrack(p *participant, a *announced, s section) *track {
	t := &track{owner: p, from: a.info.GetSource(), sid: a.info.GetSid(), mid: s.mid, rids: s.rids, info: a.info}
	t.info.Mid = s.mid
	t.info.Simulcast = len(s.rids) > 1
	t.downs.Store(&[]*down{})
	return t
}

// start begins to read a stream of the track. first is true for the first one, which says of what kind the media is.
func (t *track) start(a arrival) (first bool, err error) {
	const op = "rtc.start"
	layer, ok := forward.LayerOf(a.remote.RID())
	if !ok || layer >= maxLayers || t.streams[layer].started.Load() {
		return false, fault.New(fault.Malformed, op, "layer_unknown", "The track's layers cannot be understood.")
	}
	if t.source == nil {
		if err := t.identify(a); err != nil {
			return false, err
		}
		first = true
	}
	s := &t.streams[layer]
	s.ssrc.Store(uint32(a.remote.SSRC()))
	s.started.Store(true)
	e := t.owner.engine
	e.running.Go(func() { t.read(layer, a.remote) })
	e.running.Go(func() { t.readReports(layer, a) })
	return first, nil
}

// identify makes the source of the track when its codec is known.
func (t *track) identify(a arrival) error {
	c := a.remote.Codec()
	codec, ok := forward.CodecOf(c.MimeType)
	if !ok {
		return fault.New(fault.Forbidden, "rtc.identify", "codec_refused", "This codec is not carried here.")
	}
	t.mime, t.fmtp = c.MimeType, c.SDPFmtpLine
	for _, x := range a.receiver.GetParameters().HeaderExtensions {
		if x.URI == sdp.AudioLevelURI && !codec.Video() {
			t.level = uint8(x.ID)
		}
	}
	pub := t.owner.pub
	source, err := forward.NewSource(forward.SourceConfig{
		Codec: codec, ClockRate: c.ClockRate, Screen: t.from == signal.TrackSource_SCREEN_SHARE,
		Layers: t.layers(), Clock: t.owner.clock,
		RequestKeyFrame: func(layer int) {
			t.owner.engine.stats.keyFrames.Add(1)
			pub.keyFrame(webrtc.SSRC(t.streams[layer].ssrc.Load()))
		},
	})
	if err != nil {
		return err
	}
	source.SetMuted(t.info.GetMuted())
	t.source = source
	t.owner.changeTrack(t, true, func(info *signal.TrackInfo) {
		info.MimeType = c.MimeType
		info.Codecs = []*signal.SimulcastCodecInfo{{MimeType: c.MimeType, Mid: t.mid, Layers: info.GetLayers()}}
	})
	return nil
}

// layers is what the client announced of the layers that it offered, the lowest first.
func (t *track) layers() []forward.LayerConfig {
	count := 1
	for _, rid := range t.rids {
		if i, ok := forward.LayerOf(rid); ok {
			count = max(count, i+1)
		}
	}
	all := make([]forward.LayerConfig, count)
	for i, l := range t.info.GetLayers() {
		at := min(i, count-1)
		if rid, ok := forward.LayerOf(l.GetRid()); ok && l.GetRid() != "" && rid < count {
			at = rid
		}
		all[at] = forward.LayerConfig{Width: l.GetWidth(), Height: l.GetHeight(), Bitrate: int(l.GetBitrate())}
	}
	return all
}

const (
	maxPacket   = 1600 // bytes of the largest packet that is read
	maxFailures = 100  // packets in a row that could not be read, after which a stream has ended
)

// read hands on the packets of a layer until the publisher's connection ends.
func (t *track) read(layer int, remote *webrtc.TrackRemote) {
	var (
		buf    = make([]byte, maxPacket)
		header rtp.Header
		packet forward.Packet
		out    forward.Out
		count  expectation
		s      = &t.streams[layer]
		stats  = &t.owner.engine.stats

		failures int
	)
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			if failures++; errors.Is(err, io.EOF) || failures > maxFailures {
				return
			}
			continue // one packet that makes no sense does not end the track
		}
		failures = 0
		now := time.Now()
		at, err := header.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		payload := buf[at:n]
		if header.Padding {
			pad := int(buf[n-1])
			if pad == 0 || pad > len(payload) {
				continue
			}
			payload = payload[:len(payload)-pad]
		}
		s.packets.Add(1)
		s.bytes.Add(uint64(n))
		s.expected.Store(count.add(header.SSRC, header.SequenceNumber))
		stats.packetsIn.Add(1)
		stats.bytesIn.Add(int64(n))
		if t.level != 0 {
			t.voice.hear(header.GetExtension(t.level))
		}
		if !t.source.Receive(layer, &header, payload, now, &packet) {
			continue
		}
		var copies, size int64
		for _, d := range *t.downs.Load() {
			if n := d.forward(&packet, &out); n > 0 {
				copies, size = copies+1, size+int64(n)
			}
		}
		if copies > 0 {
			stats.packetsOut.Add(copies)
			stats.bytesOut.Add(size)
		}
	}
}

// readReports takes the publisher's sender reports of a layer: they say when sound and picture belong together.
func (t *track) readReports(layer int, a arrival) {
	buf := make([]byte, maxPacket)
	for {
		var n int
		var err error
		if rid := a.remote.RID(); rid != "" {
			n, _, err = a.receiver.ReadSimulcast(buf, rid)
		} else {
			n, _, err = a.receiver.Read(buf)
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		now := time.Now()
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				t.source.SenderReport(layer, sr, now)
			}
		}
	}
}

// expectation counts how many packets a stream should have had by now.
type expectation struct {
	started bool
	ssrc    uint32
	last    uint16
	total   uint64
}

func (x *expectation) add(ssrc uint32, seq uint16) uint64 {
	step := seq - x.last
	switch {
	case !x.started || ssrc != x.ssrc || (step >= 3000 && step < 1<<15):
		x.started, x.ssrc, x.last = true, ssrc, seq
		x.total++
	case step != 0 && step < 1<<15:
		x.last = seq
		x.total += uint64(step)
	}
	return x.total
}

func (t *track) setMuted(muted bool) {
	if t.source != nil {
		t.source.SetMuted(muted)
	}
}

// add lets a subscriber have the track's packets.
func (t *track) add(d *down) {
	t.attach.Lock()
	defer t.attach.Unlock()
	all := append(slices.Clone(*t.downs.Load()), d)
	t.downs.Store(&all)
}

// drop is the reverse.
func (t *track) drop(d *down) {
	t.attach.Lock()
	defer t.attach.Unlock()
	all := slices.DeleteFunc(slices.Clone(*t.downs.Load()), func(o *down) bool { return o == d })
	t.downs.Store(&all)
}

// seen tells the publisher, once, that somebody receives the track.
func (t *track) seen() {
	if t.noticed.CompareAndSwap(false, true) {
		t.owner.send(&signal.SignalResponse{Message: &signal.SignalResponse_TrackSubscribed{
			TrackSubscribed: &signal.TrackSubscribed{TrackSid: t.sid}}})
	}
}
