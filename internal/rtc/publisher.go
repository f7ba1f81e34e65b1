package rtc

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
	"parley/internal/rtc/transport"
)

// publisher is the connection on which a participant sends. The client offers.
type publisher struct {
	pc       *webrtc.PeerConnection
	sections []section // of the client's last offer, in order
	orphans  []arrival // media that nobody has announced yet
	up       atomic.Bool
}

// section is one media section of an offer that the client sends on.
type section struct {
	mid   string
	kind  signal.TrackType
	track string   // the client's id of the track
	rids  []string // of simulcast layers, as the client names them
}

// arrival is a stream of media whose first packet has come.
type arrival struct {
	mid      string
	at       time.Time
	remote   *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
}

// end stops a stream that nobody will read: what came would wait in a buffer of its own.
func (a arrival) end() {
	// Whether it stops well does not matter to anybody.
	_ = a.receiver.Stop()
}

// offer answers the client's offer of what it publishes.
func (p *participant) offer(sd *signal.SessionDescription) {
	const op = "rtc.offer"
	if !p.sends {
		p.refuse(fault.New(fault.Forbidden, op, "publish_refused", "Your part in this call is to watch and listen."), nil)
		return
	}
	if sd.GetType() != "offer" || len(sd.GetSdp()) > p.engine.limits.SDPBytes {
		p.leave(ReasonMisbehaved)
		return
	}
	sections, err := readSections(sd.GetSdp())
	switch {
	case fault.Is(err, fault.TooLarge):
		p.leave(ReasonStateUnknown) // a long call in which much was shared: the client begins anew
		return
	case err != nil:
		p.leave(ReasonMisbehaved)
		return
	}
	if p.pub == nil {
		if p.pub, err = newPublisher(p); err != nil {
			p.leave(ReasonFailed)
			return
		}
	}
	answer, err := p.pub.answer(sd.GetSdp())
	if err != nil {
		// What it asks for cannot be done as things stand; a client that begins anew is on firm ground again.
		p.leave(ReasonStateUnknown)
		return
	}
	p.pub.sections = sections
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Answer{
		Answer: &signal.SessionDescription{Type: "answer", Sdp: answer, Id: sd.GetId()}}})
	for mid, t := range p.byMid {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.mid == mid }) {
			p.unpublish(t)
		}
	}
	p.match()
}

func newPublisher(p *participant) (*publisher, error) {
	pc, err := p.engine.cfg.Transport.Publisher(transport.PeerOptions{})
	if err != nil {
		return nil, err
	}
	u := &publisher{pc: pc}
	pc.OnICECandidate(func(c *webrtc.ICECandidate) { p.trickle(c, signal.SignalTarget_PUBLISHER) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { u.up.Store(s == webrtc.PeerConnectionStateConnected) })
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		p.do(func() { p.arrived(arrival{remote: remote, receiver: receiver}) })
	})
	pc.OnDataChannel(func(dc *webrtc.DataChannel) { p.dataChannel(dc) })
	return u, nil
}

func (u *publisher) answer(offer string) (string, error) {
	if err := u.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: transport.Clean(offer)}); err != nil {
		return "", err
	}
	answer, err := u.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	if err := u.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	return u.pc.LocalDescription().SDP, nil
}

func (u *publisher) close() {
	// Nothing can be done about a connection that does not close well; its goroutines end all the same.
	_ = u.pc.Close()
}

// keyFrame asks the client for a key frame of one stream.
func (u *publisher) keyFrame(ssrc webrtc.SSRC) {
	// If the connection is broken, the request is as lost as the frame would be.
	_ = u.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(ssrc)}})
}

// trickle tells the client one more address where the server may be reached.
func (p *participant) trickle(c *webrtc.ICECandidate, target signal.SignalTarget) {
	if c == nil {
		return
	}
	init, err := candidateJSON(c)
	if err != nil {
		return
	}
	p.do(func() {
		p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Trickle{
			Trickle: &signal.TrickleRequest{CandidateInit: init, Target: target}}})
	})
}

// readSections reads from an offer which tracks the client sends, and how it names them.
func readSections(offer string) ([]section, error) {
	const op = "rtc.readSections"
	var sd sdp.SessionDescription
	if err := sd.UnmarshalString(offer); err != nil {
		return nil, fault.Wrap(fault.Malformed, op, err)
	}
	if len(sd.MediaDescriptions) > maxSections {
		return nil, fault.New(fault.TooLarge, op, "too_many_sections", "The offer has too many media sections.")
	}
	var all []section
	for _, m := range sd.MediaDescriptions {
		s := section{kind: signal.TrackType_AUDIO}
		switch m.MediaName.Media {
		case "audio":
		case "video":
			s.kind = signal.TrackType_VIDEO
		default:
			continue
		}
		sends := m.MediaName.Port.Value != 0
		for _, a := range m.Attributes {
			switch a.Key {
			case "recvonly", "inactive":
				sends = false
			case "mid":
				s.mid = a.Value
			case "msid":
				if _, id, ok := strings.Cut(a.Value, " "); ok {
					s.track = id
				}
			case "rid":
				if id, rest, _ := strings.Cut(a.Value, " "); strings.HasPrefix(rest, "send") && len(s.rids) < maxLayers {
					s.rids = append(s.rids, id)
				}
			}
		}
		if sends && s.mid != "" {
			all = append(all, s)
		}
	}
	return all, nil
}
