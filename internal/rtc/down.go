package rtc

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/forward"
)

// down is a track on its way to one subscriber: a webrtc.TrackLocal whose packets a forwarder makes.
type down struct {
	track *track
	sub   *subscriber
	fw    *forward.Forwarder
	id    string // in the offer
	bound atomic.Pointer[binding]

	sender  *webrtc.RTPSender // of the owner's mailbox, as what follows
	section *webrtc.RTPTransceiver
	reading bool

	stream   string // of media, in the offer
	lost     int32  // packets, as the client has reported them; of the reader
	received uint32 // the highest number that it has reported
}

// binding is what was negotiated for a track.
type binding struct {
	id     string
	writer webrtc.TrackLocalWriter
	ssrc   uint32
	rtx    uint32 // 0: retransmissions repeat the packet

	payload uint8
}

// ID, StreamID, RID and Kind are how the track is named in the offer.
func (d *down) ID() string { return d.id }

// StreamID is the media stream that the client plays the track in.
func (d *down) StreamID() string { return d.stream }

// RID is empty: subscribers get one layer at a time.
func (d *down) RID() string { return "" }

// Kind says whether it is sound or picture.
func (d *down) Kind() webrtc.RTPCodecType {
	if d.track.source.Codec().Video() {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// Bind says how packets are to be written. It is called when the client has agreed to the section.
func (d *down) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec, ok := chooseCodec(c.CodecParameters(), d.track.mime, d.track.fmtp)
	if !ok {
		d.sub.owner.do(func() { d.sub.owner.unsupported(d) })
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	b := &binding{id: c.ID(), writer: c.WriteStream(), ssrc: uint32(c.SSRC())}
	if rtx, ok := rtxOf(c.CodecParameters(), codec.PayloadType); ok && c.SSRCRetransmission() != 0 {
		b.rtx = uint32(c.SSRCRetransmission())
		d.fw.BindRTX(b.rtx, uint8(rtx))
	}
	b.payload = uint8(codec.PayloadType)
	d.bound.Store(b)
	d.fw.Bind(b.ssrc, b.payload, time.Now())
	d.track.seen()
	return codec, nil
}

// Unbind is called when the section carries the track no more.
func (d *down) Unbind(c webrtc.TrackLocalContext) error {
	if b := d.bound.Load(); b != nil && c != nil && b.id == c.ID() {
		d.bound.Store(nil)
	}
	return nil
}

// forward hands one packet to the subscriber, and returns how many bytes that were.
func (d *down) forward(p *forward.Packet, out *forward.Out) int {
	if d.sub.up.Load() && d.fw.Forward(p, out) {
		return d.write(out)
	}
	return 0
}

// write puts a packet that the forwarder made on the subscriber's connection.
func (d *down) write(out *forward.Out) int {
	b := d.bound.Load()
	if b == nil {
		return 0
	}
	n, err := b.writer.WriteRTP(&out.Header, out.Payload)
	if err != nil {
		return 0 // the connection is broken, or its buffers are full; the subscriber asks again for what it misses
	}
	return n
}

// readReports takes what the client says about the track: what it misses, and how well the rest arrives.
func (d *down) readReports(sender *webrtc.RTPSender) {
	var out forward.Out
	buf := make([]byte, maxPacket)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return
		}
		if congestionFeedback(buf[:n]) {
			continue // most are, and the estimator has read it
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		now := time.Now()
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				d.fw.KeyFrame(now)
			case *rtcp.TransportLayerNack:
				d.repeat(p, now, &out)
			case *rtcp.ReceiverReport:
				d.assess(p, now)
			}
		}
	}
}

// congestionFeedback says whether a packet of RTCP holds a report on arrivals (transport-cc) and nothing else.
func congestionFeedback(b []byte) bool {
	return len(b) >= 4 && b[0]&0x1f == rtcp.FormatTCC && b[1] == uint8(rtcp.TypeTransportSpecificFeedback) &&
		4*((int(b[2])<<8|int(b[3]))+1) == len(b)
}

// repeat sends again what the client misses, as far as its way bears it.
func (d *down) repeat(nack *rtcp.TransportLayerNack, now time.Time, out *forward.Out) {
	for _, pair := range nack.Nacks {
		pair.Range(func(seq uint16) bool {
			if !d.sub.twice.allow(now, d.sub.rate.Bitrate()) {
				return false
			}
			if d.fw.Retransmit(seq, now, out) {
				n := d.write(out)
				d.sub.twice.spend(n)
				d.sub.owner.engine.stats.packetsOut.Add(1)
				d.sub.owner.engine.stats.bytesOut.Add(int64(n))
			}
			return true
		})
	}
}

// assess takes what the client says of how the track arrives.
func (d *down) assess(rr *rtcp.ReceiverReport, now time.Time) {
	b := d.bound.Load()
	for i := range rr.Reports {
		if r := &rr.Reports[i]; b != nil && r.SSRC == b.ssrc {
			if d.received != 0 {
				d.sub.suffered(int64(int32(r.TotalLost<<8)>>8-d.lost), int64(r.LastSequenceNumber-d.received))
			}
			d.lost, d.received = int32(r.TotalLost<<8)>>8, r.LastSequenceNumber
			d.sub.measured(r, now)
		}
	}
}

// report sends the subscriber how the track's clock relates to the others'.
func (d *down) report(now time.Time) {
	b := d.bound.Load()
	if b == nil || !d.sub.up.Load() {
		return
	}
	if sr, ok := d.fw.SenderReport(now); ok {
		// A report that is lost is followed by another.
		_ = d.sub.pc.WriteRTCP([]rtcp.Packet{&sr})
	}
}

// chooseCodec finds among the negotiated codecs one that the client decodes the media with: the same, in the same profile. H.264's
// baseline is part of its other profiles as encoders for calls use it, so any of them will do; a higher one is for those who said
// that they know it.
func chooseCodec(all []webrtc.RTPCodecParameters, mime, fmtp string) (webrtc.RTPCodecParameters, bool) {
	var near *webrtc.RTPCodecParameters
	is := profile(mime, fmtp)
	for i, c := range all {
		if !strings.EqualFold(c.MimeType, mime) {
			continue
		}
		if profile(c.MimeType, c.SDPFmtpLine) == is {
			return c, true
		}
		if near == nil && strings.EqualFold(mime, webrtc.MimeTypeH264) && strings.HasPrefix(is, h264Baseline) {
			near = &all[i]
		}
	}
	if near == nil {
		return webrtc.RTPCodecParameters{}, false
	}
	return *near, true
}

// h264Baseline begins the names of H.264's baseline profiles. The next two digits say which constraints it keeps to.
const h264Baseline = "42"

// profile is the part of a codec's parameters that decides whether it can be decoded; those that say none mean the first.
func profile(mime, fmtp string) string {
	var key, otherwise string
	var size int
	switch {
	case strings.EqualFold(mime, webrtc.MimeTypeH264):
		key, size, otherwise = "profile-level-id", 4, h264Baseline+"00" // the level follows
	case strings.EqualFold(mime, webrtc.MimeTypeVP9):
		key, size, otherwise = "profile-id", 1, "0"
	default:
		return ""
	}
	for part := range strings.SplitSeq(fmtp, ";") {
		if k, value, _ := strings.Cut(strings.TrimSpace(part), "="); strings.EqualFold(k, key) && len(value) >= size {
			return strings.ToLower(value[:size])
		}
	}
	return otherwise
}

// rtxOf finds the payload type of retransmissions of another.
func rtxOf(all []webrtc.RTPCodecParameters, of webrtc.PayloadType) (webrtc.PayloadType, bool) {
	for _, c := range all {
		apt, ok := strings.CutPrefix(c.SDPFmtpLine, "apt=")
		if n, err := strconv.Atoi(apt); ok && err == nil && n == int(of) && strings.EqualFold(c.MimeType, webrtc.MimeTypeRTX) {
			return c.PayloadType, true
		}
	}
	return 0, false
}
