package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/signal"
)

// connection is one of a participant's two: over which it publishes, or over which it receives.
type connection struct {
	p      *Participant
	target signal.SignalTarget
	pc     *webrtc.PeerConnection

	mu        sync.Mutex
	told      bool                      // the first description was sent: candidates may follow
	held      []webrtc.ICECandidateInit // found before that
	early     []webrtc.ICECandidateInit // of the server, before its description
	offers    uint32                    // the id of the last one
	waiting   bool                      // for the answer to the last offer
	again     bool                      // there is more to offer after that
	restart   bool                      // and the path is to be found anew
	everOffer bool
}

func (p *Participant) newConnection(target signal.SignalTarget, api *webrtc.API) (*connection, error) {
	cfg := webrtc.Configuration{}
	for _, s := range p.join.GetIceServers() {
		cfg.ICEServers = append(cfg.ICEServers, webrtc.ICEServer{URLs: s.GetUrls(), Username: s.GetUsername(), Credential: s.GetCredential()})
	}
	if p.stack.path != Relay {
		cfg.ICEServers = nil // gathering from them takes time and sockets, and would not be used
	} else {
		cfg.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	pc, err := api.NewPeerConnection(cfg)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &connection{p: p, target: target, pc: pc}
	pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			c.found(candidate.ToJSON())
		}
	})
	pc.OnConnectionStateChange(c.stateChanged)
	return c, nil
}

func (c *connection) stateChanged(s webrtc.PeerConnectionState) {
	p := c.p
	switch s {
	case webrtc.PeerConnectionStateConnected:
		if c.target == signal.SignalTarget_PUBLISHER {
			p.mark(&p.marks.Publishing)
			for _, pub := range p.published() {
				pub.wantKeyFrame()
			}
		} else {
			p.mark(&p.marks.Connected)
		}
		if primary := p.join.GetSubscriberPrimary(); primary == (c.target == signal.SignalTarget_SUBSCRIBER) {
			p.change(func() {
				if p.state == Joined {
					p.state = Connected
				}
			})
		}
	case webrtc.PeerConnectionStateFailed:
		p.end(fmt.Errorf("client: the %s connection failed", strings.ToLower(c.target.String())))
	default:
	}
}

// found sends a candidate of ours, once the server knows what it belongs to.
func (c *connection) found(candidate webrtc.ICECandidateInit) {
	c.mu.Lock()
	if !c.told {
		c.held = append(c.held, candidate)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.trickle(candidate)
}

func (c *connection) trickle(candidate webrtc.ICECandidateInit) {
	text, err := json.Marshal(candidate)
	if err != nil {
		return // it is three strings and a number
	}
	c.p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Trickle{Trickle: &signal.TrickleRequest{CandidateInit: string(text), Target: c.target}}})
}

// release sends what was held back for the first description.
func (c *connection) release() {
	c.mu.Lock()
	held := c.held
	c.held, c.told = nil, true
	c.mu.Unlock()
	for _, h := range held {
		c.trickle(h)
	}
}

// candidate takes one of the server's.
func (c *connection) candidate(text string) error {
	var init webrtc.ICECandidateInit
	if err := json.Unmarshal([]byte(text), &init); err != nil {
		return fmt.Errorf("client: the server's candidate: %w", err)
	}
	if tcp := strings.Contains(strings.ToLower(init.Candidate), " tcp "); tcp && c.p.stack.path == UDP || !tcp && c.p.stack.path == TCP {
		return nil
	}
	c.mu.Lock()
	if c.pc.RemoteDescription() == nil {
		c.early = append(c.early, init)
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	return c.pc.AddICECandidate(init)
}

// describe takes a description of the server's, and the candidates that came before it.
func (c *connection) describe(kind webrtc.SDPType, text string) error {
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: text}); err != nil {
		return err
	}
	c.mu.Lock()
	early := c.early
	c.early = nil
	c.mu.Unlock()
	for _, e := range early {
		if err := c.pc.AddICECandidate(e); err != nil {
			return err
		}
	}
	return nil
}

// answer takes an offer and answers it.
func (c *connection) answer(offer *signal.SessionDescription) error {
	if err := c.describe(webrtc.SDPTypeOffer, offer.GetSdp()); err != nil {
		return fmt.Errorf("client: the server's offer: %w", err)
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("client: answering: %w", err)
	}
	if err := c.pc.SetLocalDescription(answer); err != nil {
		return fmt.Errorf("client: answering: %w", err)
	}
	c.p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Answer{
		Answer: &signal.SessionDescription{Type: "answer", Sdp: answer.SDP, Id: offer.GetId()}}})
	c.release()
	return nil
}

// negotiate offers what is published now; while an offer waits for its answer, the next one waits too.
func (c *connection) negotiate(restart bool) {
	c.mu.Lock()
	c.restart = c.restart || restart
	if c.waiting && !restart {
		c.again = true
		c.mu.Unlock()
		return
	}
	if !c.everOffer {
		c.everOffer = true
		c.p.data.create(c.pc)
	}
	restart, c.restart, c.again = c.restart, false, false
	c.waiting = true
	c.offers++
	id := c.offers
	offer, err := c.offer(restart)
	c.mu.Unlock()
	if err != nil {
		c.p.end(fmt.Errorf("client: offering: %w", err))
		return
	}
	c.p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: offer, Id: id}}})
	c.release()
}

// offer makes and sets one. An offer that was lost with the signalling connection is taken back first.
func (c *connection) offer(restart bool) (string, error) {
	if c.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		if err := c.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeRollback}); err != nil {
			return "", err
		}
	}
	offer, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart && c.pc.RemoteDescription() != nil})
	if err != nil {
		return "", err
	}
	return offer.SDP, c.pc.SetLocalDescription(offer)
}

// answered takes the answer to our offer. One to an earlier offer is late and means nothing.
func (c *connection) answered(answer *signal.SessionDescription) error {
	c.mu.Lock()
	late := !c.waiting || answer.GetId() != 0 && answer.GetId() != c.offers
	c.mu.Unlock()
	if late {
		return nil
	}
	if err := c.describe(webrtc.SDPTypeAnswer, answer.GetSdp()); err != nil {
		return fmt.Errorf("client: the server's answer: %w", err)
	}
	c.mu.Lock()
	c.waiting = false
	again := c.again
	c.mu.Unlock()
	if again {
		c.negotiate(false)
	}
	return nil
}

// offered says whether anything was ever published over the connection, data channels included.
func (c *connection) offered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.everOffer
}
