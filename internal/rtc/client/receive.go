package client

import (
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/signal"
)

// askPause is how often a key frame is asked for while none has come.
const askPause = 500 * time.Millisecond

// maxPacket is the size of the largest packet that is read.
const maxPacket = 1600

// Packet is one RTP packet of a track, as it arrived. Raw is only good during the call.
type Packet struct {
	Track       string // its sid
	Participant string // who publishes it, by sid
	Mime        string // as in video/VP8
	At          time.Time
	Raw         []byte
}

// TrackStats are what was received of one track.
type TrackStats struct {
	SID         string
	Participant string // who publishes it, by sid
	Kind        signal.TrackType
	Mime        string
	Ended       bool

	Packets    uint64 // with media in them, without duplicates
	Bytes      uint64 // of media
	Padding    uint64 // packets without media
	Lost       uint64 // numbers that never came, up to the highest that did
	Duplicates uint64
	Late       uint64 // came after a higher number

	Frames      uint64 // begun
	KeyFrames   uint64
	PictureGaps uint64 // pictures missing between those that came, by their ids
	Backwards   uint64 // frames with an earlier timestamp than the one before
	Width       int    // of the last key frame
	Height      int

	First         time.Time // packet with media
	FirstKeyFrame time.Time
	Last          time.Time
	Delay         Delays // from the making of a packet to its arrival, if it came from this package
}

// received counts one track.
type received struct {
	mu    sync.Mutex
	s     TrackStats
	seq   sequence
	pics  pictures
	ssrc  webrtc.SSRC
	video bool
	asked time.Time // for a key frame
}

// arrival is what a packet was.
type arrival struct {
	first bool // of the track
	key   bool // the first of the first key frame
	blind bool // a picture that nobody could show, since no key frame has come: it is time to ask for one
}

func (r *received) stats() TrackStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.s
	s.Lost, s.Duplicates, s.Late = r.seq.lost(), r.seq.duplicates, r.seq.late
	s.PictureGaps, s.Backwards = r.pics.gaps, r.pics.backwards
	return s
}

// onTrack reads a track until it ends.
func (p *Participant) onTrack(t *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	// who publishes it stands in the stream's id: PA_…, or PA_…|TR_… where the track's own id is the browser's
	who, sid := t.StreamID(), t.ID()
	if a, b, ok := strings.Cut(who, "|"); ok {
		if who = a; strings.HasPrefix(b, "TR") {
			sid = b
		}
	}
	r := &received{ssrc: t.SSRC(), video: t.Kind() == webrtc.RTPCodecTypeVideo}
	r.s.SID, r.s.Participant, r.s.Mime = sid, who, t.Codec().MimeType
	if r.video {
		r.s.Kind = signal.TrackType_VIDEO
	}
	alive := false
	p.change(func() {
		if alive = p.state != Ended; alive {
			p.tracks = append(p.tracks, r)
			p.tasks.Add(2)
		}
	})
	if !alive {
		return
	}
	go func() { // reports of the sender are read by the interceptors on their way
		defer p.tasks.Done()
		b := make([]byte, maxPacket)
		for {
			if _, _, err := receiver.Read(b); err != nil {
				return
			}
		}
	}()
	defer p.tasks.Done()
	p.read(t, r)
}

func (p *Participant) read(t *webrtc.TrackRemote, r *received) {
	b := make([]byte, maxPacket)
	for {
		n, _, err := t.Read(b)
		if err != nil {
			break
		}
		now := time.Now()
		a := r.packet(b[:n], now)
		if a.first {
			p.mark(&p.marks.FirstPacket)
		}
		if a.key {
			p.mark(&p.marks.FirstKeyFrame)
		}
		if a.blind {
			_ = p.AskKeyFrame(r.s.SID) // it is asked again
		}
		if p.cfg.OnPacket != nil {
			p.cfg.OnPacket(Packet{Track: r.s.SID, Participant: r.s.Participant, Mime: r.s.Mime, At: now, Raw: b[:n]})
		}
	}
	p.change(func() {
		r.mu.Lock()
		r.s.Ended = true
		r.mu.Unlock()
	})
}

// packet counts one packet.
func (r *received) packet(b []byte, now time.Time) (a arrival) {
	h, payload, ok := parseRTP(b)
	if !ok {
		return a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seq.add(h.seq) {
		return a
	}
	if len(payload) == 0 {
		r.s.Padding++
		return a
	}
	if a.first = r.s.Packets == 0; a.first {
		r.s.First = now
	}
	r.s.Packets++
	r.s.Bytes += uint64(len(payload))
	r.s.Last = now
	r.s.Delay.add(stampOf(payload), now)
	if !r.video || !strings.EqualFold(r.s.Mime, webrtc.MimeTypeVP8) {
		return a
	}
	d, ok := parseVP8(payload)
	if !ok || !d.start {
		return a
	}
	r.s.Frames++
	r.pics.add(d, h.timestamp)
	if d.key {
		r.s.KeyFrames++
		r.s.Width, r.s.Height = d.width, d.height
	}
	if r.s.FirstKeyFrame.IsZero() {
		if a.key = d.key; a.key {
			r.s.FirstKeyFrame = now
		} else if a.blind = now.Sub(r.asked) >= askPause; a.blind {
			r.asked = now
		}
	}
	return a
}

// AskKeyFrame asks for a picture that needs no other, as a decoder does that lost its way.
func (p *Participant) AskKeyFrame(sid string) error {
	p.mu.Lock()
	var ask []rtcp.Packet
	for _, r := range p.tracks {
		if r.s.SID == sid {
			ask = []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(r.ssrc)}}
		}
	}
	p.mu.Unlock()
	if ask == nil {
		return nil
	}
	return p.receiver.pc.WriteRTCP(ask)
}
