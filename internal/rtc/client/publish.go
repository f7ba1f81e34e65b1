package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/signal"
)

// Video says what a published picture is like. The zero value is a camera's: 720p, 30 frames and 1.5 Mbit a second.
type Video struct {
	Width, Height int
	FPS           int
	Bitrate       int // bits per second, of the largest layer
	Simulcast     bool
	Source        signal.TrackSource
}

// Audio says what a published sound is like. The zero value is a microphone's: 32 kbit a second, 50 packets, heard by all.
type Audio struct {
	Bitrate int   // bits per second
	Level   uint8 // below the loudest, in decibels; 127 is silence
	Source  signal.TrackSource
}

// The parts of simulcast, as livekit-client sends them.
var parts = [...]struct {
	rid     string
	quality signal.VideoQuality
	divide  int // of width and height
	share   int // per cent of the bitrate
}{{"q", signal.VideoQuality_LOW, 4, 10}, {"h", signal.VideoQuality_MEDIUM, 2, 30}, {"f", signal.VideoQuality_HIGH, 1, 100}}

// keyFramePause is the least time between two key frames that were asked for.
const keyFramePause = 300 * time.Millisecond

// maxRIDPackets is how many packets of a layer say which one it is, if the server does not say before that it knows.
const maxRIDPackets = 300

// Sent counts what was published of one track.
type Sent struct {
	Packets, Bytes  uint64
	Frames          uint64 // of all layers
	KeyFrames, Asks uint64 // asks: how often the server wanted a key frame
}

// Publication is one track that a participant publishes.
type Publication struct {
	p      *Participant
	cid    string
	kind   signal.TrackType
	layers []*outgoing
	stop   context.CancelFunc
	muted  atomic.Bool // and everybody was told
	paused atomic.Bool

	mu          sync.Mutex
	info        *signal.TrackInfo
	transceiver *webrtc.RTPTransceiver
	sent        Sent
}

// outgoing is one stream of packets: a track, or one layer of it. It is a webrtc.TrackLocal.
type outgoing struct {
	pub     *Publication
	rid     string
	quality signal.VideoQuality
	mime    string
	source  *pictureSource
	fps     int

	wanted  atomic.Bool // somebody watches this layer
	key     atomic.Bool // the next frame is to be a key frame
	known   atomic.Bool // the server has spoken about this stream: it knows which one it is
	bound   atomic.Pointer[binding]
	lastKey time.Time
	seq     uint16
	packets int
	level   uint8
}

// binding is how a stream is sent, once the connection knows; an extension's 0 means that it was not agreed on.
type binding struct {
	writer           webrtc.TrackLocalWriter
	ssrc             uint32
	payload          uint8
	mid, rid, levels uint8
}

// PublishVideo publishes a picture until Unpublish, or the participation's end. It returns when the server has given the track its id.
func (p *Participant) PublishVideo(ctx context.Context, v Video) (*Publication, error) {
	v.Width, v.Height = or(v.Width, 1280), or(v.Height, 720)
	v.FPS, v.Bitrate = or(v.FPS, 30), or(v.Bitrate, 1_500_000)
	if v.Source == signal.TrackSource_UNKNOWN {
		v.Source = signal.TrackSource_CAMERA
	}
	pub := &Publication{p: p, cid: rand.Text(), kind: signal.TrackType_VIDEO}
	request := &signal.AddTrackRequest{Cid: pub.cid, Type: pub.kind, Source: v.Source, Width: uint32(v.Width), Height: uint32(v.Height)}
	all := parts[:]
	if !v.Simulcast {
		all = parts[2:]
	}
	for _, part := range all {
		o := &outgoing{pub: pub, quality: part.quality, mime: webrtc.MimeTypeVP8, fps: v.FPS, seq: uint16(random())}
		w, h, bitrate := v.Width/part.divide, v.Height/part.divide, v.Bitrate*part.share/100
		if v.Simulcast {
			o.rid = part.rid
		}
		var err error
		if o.source, err = newPictureSource(w, h, v.FPS, bitrate, v.Simulcast, random()); err != nil {
			return nil, err
		}
		o.wanted.Store(true)
		pub.layers = append(pub.layers, o)
		request.Layers = append(request.Layers, &signal.VideoLayer{Quality: part.quality, Width: uint32(w), Height: uint32(h), Bitrate: uint32(bitrate), Rid: part.rid})
	}
	request.SimulcastCodecs = []*signal.SimulcastCodec{{Codec: "vp8", Cid: pub.cid, Layers: request.GetLayers()}}
	return pub, pub.begin(ctx, request, func(run context.Context) { pub.sendVideo(run, v.FPS) })
}

// PublishAudio publishes a sound until Unpublish, or the participation's end. It returns when the server has given the track its id.
func (p *Participant) PublishAudio(ctx context.Context, a Audio) (*Publication, error) {
	a.Bitrate = or(a.Bitrate, 32_000)
	if a.Source == signal.TrackSource_UNKNOWN {
		a.Source = signal.TrackSource_MICROPHONE
	}
	if a.Level == 0 {
		a.Level = 20 // a voice at a normal distance
	}
	pub := &Publication{p: p, cid: rand.Text(), kind: signal.TrackType_AUDIO}
	o := &outgoing{pub: pub, mime: webrtc.MimeTypeOpus, level: a.Level, seq: uint16(random())}
	o.wanted.Store(true)
	pub.layers = []*outgoing{o}
	request := &signal.AddTrackRequest{Cid: pub.cid, Type: pub.kind, Source: a.Source, DisableRed: true}
	return pub, pub.begin(ctx, request, func(run context.Context) { pub.sendAudio(run, a.Bitrate) })
}

func or(v, fallback int) int {
	if v == 0 {
		return fallback
	}
	return v
}

// random is where numbers of a stream begin.
func random() uint32 {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<30))
	if err != nil {
		return 1
	}
	return uint32(n.Int64())
}

// begin announces the track, offers it, and sends it from then on.
func (pub *Publication) begin(ctx context.Context, request *signal.AddTrackRequest, send func(context.Context)) error {
	p := pub.p
	answer := make(chan *signal.TrackInfo, 1)
	ended := false
	p.change(func() {
		if ended = p.state == Ended; !ended {
			p.pending[pub.cid] = answer
		}
	})
	if ended {
		return p.Snapshot().Err
	}
	p.send(&signal.SignalRequest{Message: &signal.SignalRequest_AddTrack{AddTrack: request}})
	var info *signal.TrackInfo
	select {
	case info = <-answer:
	case <-ctx.Done():
		p.change(func() { delete(p.pending, pub.cid) })
		return fmt.Errorf("client: publishing: %w", ctx.Err())
	}
	if info == nil {
		return errors.New("client: the server did not let the track be published")
	}
	transceiver, err := p.publisher.pc.AddTransceiverFromTrack(pub.layers[0], webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("client: publishing: %w", err)
	}
	for _, o := range pub.layers[1:] {
		if err := transceiver.Sender().AddEncoding(o); err != nil {
			return fmt.Errorf("client: publishing: %w", err)
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	pub.mu.Lock()
	pub.info, pub.transceiver, pub.stop = info, transceiver, stop
	pub.mu.Unlock()
	p.change(func() {
		if ended = p.state == Ended; ended {
			return
		}
		p.publications = append(p.publications, pub)
		p.tasks.Go(func() { send(run) })
	})
	if ended {
		stop()
		return p.Snapshot().Err
	}
	p.publisher.negotiate(false)
	return nil
}

// SID is the id that the server gave the track.
func (pub *Publication) SID() string { return pub.Info().GetSid() }

// Info is what the server says of the track.
func (pub *Publication) Info() *signal.TrackInfo {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	return pub.info
}

// Sent says what was sent so far.
func (pub *Publication) Sent() Sent {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	return pub.sent
}

// Mute stops sending, or goes on, and tells the others.
func (pub *Publication) Mute(muted bool) {
	pub.muted.Store(muted)
	pub.wantKeyFrame()
	pub.p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Mute{Mute: &signal.MuteTrackRequest{Sid: pub.SID(), Muted: muted}}})
}

// Pause stops sending, or goes on, and tells nobody: what was sent before can then be compared with what arrived.
func (pub *Publication) Pause(paused bool) { pub.paused.Store(paused) }

// Unpublish takes the track back.
func (pub *Publication) Unpublish() error {
	pub.halt()
	p := pub.p
	p.change(func() {
		for i, other := range p.publications {
			if other == pub {
				p.publications = append(p.publications[:i:i], p.publications[i+1:]...)
			}
		}
	})
	if err := p.publisher.pc.RemoveTrack(pub.transceiver.Sender()); err != nil {
		return fmt.Errorf("client: unpublishing: %w", err)
	}
	p.publisher.negotiate(false)
	return nil
}

func (pub *Publication) halt() {
	pub.mu.Lock()
	stop := pub.stop
	pub.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (pub *Publication) wantKeyFrame() {
	for _, o := range pub.layers {
		o.key.Store(true)
	}
}

// watched hears which layers anybody watches: the others are not sent.
func (pub *Publication) watched(u *signal.SubscribedQualityUpdate) {
	if u.GetTrackSid() != pub.SID() {
		return
	}
	all := u.GetSubscribedQualities()
	for _, c := range u.GetSubscribedCodecs() {
		all = append(all, c.GetQualities()...)
	}
	for _, q := range all {
		for _, o := range pub.layers {
			if o.quality == q.GetQuality() && o.wanted.Swap(q.GetEnabled()) != q.GetEnabled() && q.GetEnabled() {
				o.key.Store(true)
			}
		}
	}
}

func (pub *Publication) sendVideo(ctx context.Context, fps int) {
	for _, o := range pub.layers {
		o.key.Store(true)
	}
	every(ctx, time.Second/time.Duration(fps), func(now time.Time) {
		if pub.muted.Load() || pub.paused.Load() {
			return
		}
		for _, o := range pub.layers {
			if to := o.ready(); to != nil && o.wanted.Load() {
				o.sendFrame(to, now)
			}
		}
	})
}

func (o *outgoing) sendFrame(to *binding, now time.Time) {
	key := o.key.Load() && now.Sub(o.lastKey) >= keyFramePause
	if key {
		o.key.Store(false)
		o.lastKey = now
	}
	sent := Sent{Frames: 1}
	if key {
		sent.KeyFrames = 1
	}
	o.source.frame(key, func(payload []byte, timestamp uint32, marker bool) { o.write(to, payload, timestamp, marker, &sent) })
	o.pub.count(sent)
}

func (pub *Publication) sendAudio(ctx context.Context, bitrate int) {
	o, timestamp := pub.layers[0], random()
	packet := silence(bitrate / 8 / 50)
	every(ctx, 20*time.Millisecond, func(now time.Time) {
		timestamp += 960
		to := o.ready()
		if to == nil || pub.muted.Load() || pub.paused.Load() {
			return
		}
		var sent Sent
		putStamp(packet, now)
		o.write(to, packet, timestamp, false, &sent)
		pub.count(sent)
	})
}

// every calls f at a steady rate; late calls are made up for, up to a second's.
func every(ctx context.Context, step time.Duration, f func(now time.Time)) {
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for now := time.Now(); !next.After(now); next = next.Add(step) {
			if now.Sub(next) > time.Second {
				next = now
			}
			f(now)
		}
		timer.Reset(time.Until(next))
	}
}

func (pub *Publication) count(s Sent) {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	pub.sent.Packets += s.Packets
	pub.sent.Bytes += s.Bytes
	pub.sent.Frames += s.Frames
	pub.sent.KeyFrames += s.KeyFrames
	pub.sent.Asks += s.Asks
}

// ready is how packets are sent; nil until the connection is up.
func (o *outgoing) ready() *binding {
	if o.pub.p.publisher.pc.ConnectionState() != webrtc.PeerConnectionStateConnected {
		return nil
	}
	return o.bound.Load()
}

func (o *outgoing) write(to *binding, payload []byte, timestamp uint32, marker bool, sent *Sent) {
	h := &rtp.Header{Version: 2, Marker: marker, PayloadType: to.payload, SequenceNumber: o.seq, Timestamp: timestamp, SSRC: to.ssrc}
	o.seq++
	if o.rid != "" && o.packets < maxRIDPackets && !o.known.Load() {
		o.packets++
		_ = h.SetExtension(to.mid, []byte(o.pub.transceiver.Mid())) // refused where it was not agreed on
		_ = h.SetExtension(to.rid, []byte(o.rid))
	}
	if to.levels != 0 {
		_ = h.SetExtension(to.levels, []byte{0x80 | o.level}) // there is a voice
	}
	if n, err := to.writer.WriteRTP(h, payload); err == nil {
		sent.Packets++
		sent.Bytes += uint64(n)
	}
}

// Bind is called when the connection knows how the stream is to be sent.
func (o *outgoing) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	for _, codec := range c.CodecParameters() {
		if codec.MimeType != o.mime {
			continue
		}
		b := &binding{writer: c.WriteStream(), ssrc: uint32(c.SSRC()), payload: uint8(codec.PayloadType)}
		for _, e := range c.HeaderExtensions() {
			switch e.URI {
			case extMID:
				b.mid = uint8(e.ID)
			case extRID:
				b.rid = uint8(e.ID)
			case extAudioLevel:
				b.levels = uint8(e.ID)
			}
		}
		o.bound.Store(b)
		p := o.pub.p
		p.change(func() {
			if p.state != Ended {
				p.tasks.Go(func() { o.listen(c) })
			}
		})
		return codec, nil
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

// listen reads what the server says about the stream: that it wants a key frame, foremost.
func (o *outgoing) listen(c webrtc.TrackLocalContext) {
	b := make([]byte, maxPacket)
	for {
		n, _, err := c.RTCPReader().Read(b, nil)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(b[:n])
		if err != nil {
			continue
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				o.key.Store(true)
				o.pub.count(Sent{Asks: 1})
			case *rtcp.ReceiverReport:
				o.known.Store(true)
			}
		}
	}
}

// Unbind is called when the stream ends.
func (o *outgoing) Unbind(webrtc.TrackLocalContext) error {
	o.bound.Store(nil)
	return nil
}

// ID is the track's in the offer.
func (o *outgoing) ID() string { return o.pub.cid }

// RID names the layer.
func (o *outgoing) RID() string { return o.rid }

// StreamID groups the tracks of one participant.
func (o *outgoing) StreamID() string { return "parley" }

// Kind says whether it is sound or picture.
func (o *outgoing) Kind() webrtc.RTPCodecType {
	if o.mime == webrtc.MimeTypeOpus {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}
