package rtc

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
	"parley/internal/rtc/transport"
)

// subscriber is the connection on which a participant receives. The engine offers. But for up, rtt, twice and the connection itself, all
// is of the owner's mailbox.
type subscriber struct {
	owner  *participant
	pc     *webrtc.PeerConnection
	rate   transport.Estimator
	share  *forward.Allocator // of the bandwidth among the tracks
	width  bandwidth
	up     atomic.Bool // packets get through
	ever   atomic.Bool
	rtt    atomic.Int64 // to the client and back, in nanoseconds; 0 is unknown
	total  losses       // since the connection was last rated
	recent losses       // since bandwidth was last divided
	twice  repeats      // what is sent once more

	reliable, lossy *webrtc.DataChannel

	carried []*down // in a section each

	offerID   uint32
	offered   time.Time // when the offer that is not answered yet went out; zero: there is none
	again     bool      // something has changed since
	fresh     bool      // the next offer restarts ICE
	scheduled bool      // negotiate has a task in the mailbox
}

func newSubscriber(p *participant) (*subscriber, error) {
	pc, rate, err := p.engine.cfg.Transport.Subscriber(transport.PeerOptions{})
	if err != nil {
		return nil, err
	}
	s := &subscriber{owner: p, pc: pc, rate: rate, share: forward.NewAllocator()}
	if s.reliable, err = pc.CreateDataChannel(labelReliable, nil); err == nil {
		unordered, none := false, uint16(0)
		s.lossy, err = pc.CreateDataChannel(labelLossy, &webrtc.DataChannelInit{Ordered: &unordered, MaxRetransmits: &none})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	pc.OnICECandidate(func(c *webrtc.ICECandidate) { p.trickle(c, signal.SignalTarget_SUBSCRIBER) })
	pc.OnDataChannel(func(*webrtc.DataChannel) { p.do(p.misbehaved) }) // those of this connection are ours
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		up := state == webrtc.PeerConnectionStateConnected
		s.up.Store(up)
		if up {
			s.ever.Store(true)
			p.do(s.connectedNow)
		}
	})
	return s, nil
}

// connectedNow lets every track begin: what was sent before the connection was up got lost.
func (s *subscriber) connectedNow() {
	p := s.owner
	p.mu.Lock()
	was := p.state
	p.mu.Unlock()
	if was == signal.ParticipantInfo_JOINED {
		p.change(true, func() { p.state = signal.ParticipantInfo_ACTIVE })
	}
	now := time.Now()
	for _, sub := range p.subs {
		sub.down.fw.KeyFrame(now)
	}
}

func (s *subscriber) connected() bool { return s.up.Load() }

func (s *subscriber) close() {
	// As with a publisher's: it ends, well or not.
	_ = s.pc.Close()
}

// negotiate makes an offer of what has changed, soon: changes that come together go into one. While signalling is lost nothing is
// offered: an offer cannot be taken back.
func (s *subscriber) negotiate() {
	if s.scheduled {
		return
	}
	s.scheduled = true
	s.owner.do(func() {
		s.scheduled = false
		if s.owner.conn == nil || !s.offered.IsZero() {
			s.again = true
			return
		}
		s.offer()
	})
}

// restart makes an offer that restarts ICE, after the client has come back.
func (s *subscriber) restart() {
	s.fresh = s.pc.CurrentRemoteDescription() != nil
	if s.offered.IsZero() {
		s.negotiate()
		return
	}
	// An offer was under way, and it or its answer may be lost. The same offer again does no harm; what is new follows it.
	s.offerID++
	s.send(s.pc.LocalDescription().SDP)
}

func (s *subscriber) offer() {
	s.again = false
	offer, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: s.fresh})
	if err == nil {
		err = s.pc.SetLocalDescription(offer)
	}
	if err != nil {
		s.owner.leave(ReasonStateUnknown)
		return
	}
	s.fresh = false
	s.offerID++
	s.send(offer.SDP)
}

func (s *subscriber) send(sdp string) {
	s.offered = s.owner.engine.now()
	mids := map[string]string{}
	for _, d := range s.carried {
		if mid := d.section.Mid(); mid != "" {
			mids[mid] = d.track.sid
		}
	}
	s.owner.send(&signal.SignalResponse{Message: &signal.SignalResponse_Offer{
		Offer: &signal.SessionDescription{Type: "offer", Sdp: sdp, Id: s.offerID, MidToTrackId: mids}}})
}

// answered takes the client's answer.
func (s *subscriber) answered(sd *signal.SessionDescription) {
	if s.offered.IsZero() || (sd.GetId() != 0 && sd.GetId() != s.offerID) {
		return // of an offer that was replaced
	}
	if sd.GetType() != "answer" || len(sd.GetSdp()) > s.owner.engine.limits.SDPBytes {
		s.owner.leave(ReasonMisbehaved)
		return
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: transport.Clean(sd.GetSdp())}); err != nil {
		s.owner.leave(ReasonStateUnknown)
		return
	}
	s.offered = time.Time{}
	for _, d := range s.carried {
		if !d.reading {
			d.reading = true
			s.owner.engine.running.Go(func() { d.readReports(d.sender) })
		}
	}
	if s.again || s.fresh {
		s.negotiate()
	}
}

// check gives up on a client that does not answer, though it is connected.
func (s *subscriber) check(now time.Time) {
	if !s.offered.IsZero() && s.owner.conn != nil && now.Sub(s.offered) > answerTimeout {
		s.owner.leave(ReasonStateUnknown)
	}
}

// carry puts a track into a section of its own. Idle sections are not used again: Chromium decodes a stream whose number (SSRC) comes
// back in a section that was idle, and shows nothing of it, and the library gives a section one number for good. They cannot be
// removed either, so a connection that has collected too many begins anew.
func (s *subscriber) carry(d *down) error {
	if len(s.pc.GetTransceivers())-len(s.carried) >= maxIdle {
		s.owner.do(func() { s.owner.leave(ReasonStateUnknown) })
	}
	tr, err := s.pc.AddTransceiverFromTrack(d, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	d.section, d.sender = tr, tr.Sender()
	s.carried = append(s.carried, d)
	return nil
}

// empty takes a track out of its section, which stays, inactive.
func (s *subscriber) empty(d *down) {
	i := slices.Index(s.carried, d)
	if i < 0 {
		return
	}
	s.carried = slices.Delete(s.carried, i, i+1)
	// It fails when the connection is closed, and with it the track.
	_ = s.pc.RemoveTrack(d.sender)
}

// suffered notes how many packets more the client has lost, of how many more.
func (s *subscriber) suffered(lost, sent int64) {
	if sent > 0 && sent < 1<<16 && lost <= sent {
		s.total.add(max(0, lost), sent)
		s.recent.add(max(0, lost), sent)
	}
}

// measured notes how long packets take to the client and back.
func (s *subscriber) measured(r *rtcp.ReceptionReport, now time.Time) {
	if r.LastSenderReport == 0 {
		return
	}
	if d := roundTrip(now, r.LastSenderReport, r.Delay); d > 0 {
		s.rtt.Store(int64(d))
	}
}

// losses counts what the client did not get.
type losses struct{ lost, sent atomic.Int64 }

func (l *losses) add(lost, sent int64) {
	l.lost.Add(lost)
	l.sent.Add(sent)
}

// take returns the counts, and begins anew.
func (l *losses) take() (lost, sent float64) { return float64(l.lost.Swap(0)), float64(l.sent.Swap(0)) }

// leastPackets is how many packets it takes to speak of a share of them: one of ten lost at the beginning means nothing.
const leastPackets = 100

// ntpEpoch is the Unix epoch in seconds of NTP.
const ntpEpoch = 2208988800

// roundTrip is the time since a sender report left, less what the receiver held it, as RFC 3550 computes it in the middle 32 bits of
// NTP's time. It is 0 for what makes no sense.
func roundTrip(now time.Time, last, delay uint32) time.Duration {
	middle := uint32(now.Unix()+ntpEpoch)<<16 | uint32(uint64(now.Nanosecond())<<16/uint64(time.Second))
	gone := middle - last - delay
	if gone >= 1<<20 { // 16 s, or the clock was set
		return 0
	}
	return time.Duration(gone) * time.Second >> 16
}

func candidateJSON(c *webrtc.ICECandidate) (string, error) {
	b, err := json.Marshal(c.ToJSON())
	return string(b), err
}
