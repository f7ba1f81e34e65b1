package rtc

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
	"parley/internal/rtc/transport"
)

// subscriber is the connection on which a participant receives. The engine offers. But for up, rtt and the connection itself, all is of
// the owner's mailbox.
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

	reliable, lossy *webrtc.DataChannel

	slots []*slot

	offerID   uint32
	offered   time.Time // when the offer that is not answered yet went out; zero: there is none
	again     bool      // something has changed since
	fresh     bool      // the next offer restarts ICE
	scheduled bool      // negotiate has a task in the mailbox
}

func transportOptions() transport.PeerOptions { return transport.PeerOptions{} }

func newSubscriber(p *participant) (*subscriber, error) {
	pc, rate, err := p.engine.cfg.Transport.Subscriber(transportOptions())
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
	for _, sl := range s.slots {
		// Those that are idle are no longer the connection's; their goroutines end here.
		_ = sl.sender.Stop()
	}
	// As with a publisher's: it ends, well or not.
	_ = s.pc.Close()
}

// negotiate makes an offer of what has changed, soon: changes that come together go into one.
func (s *subscriber) negotiate() {
	if s.scheduled {
		return
	}
	s.scheduled = true
	s.owner.do(func() {
		s.scheduled = false
		if !s.offered.IsZero() {
			s.again = true
			return
		}
		s.offer()
	})
}

// restart makes an offer that restarts ICE, after the client has come back.
func (s *subscriber) restart() {
	s.fresh = true
	if s.offered.IsZero() {
		s.negotiate()
		return
	}
	// An offer is under way, and it or its answer may be lost.
	if s.pc.CurrentRemoteDescription() == nil {
		s.send(s.pc.LocalDescription().SDP) // nothing was agreed on yet: the same offer, once more
		return
	}
	// It is taken back, and a new one takes its place. The library wants the text of what is taken back.
	back := webrtc.SessionDescription{Type: webrtc.SDPTypeRollback, SDP: s.pc.LocalDescription().SDP}
	if err := s.pc.SetLocalDescription(back); err != nil {
		s.owner.leave(ReasonStateUnknown)
		return
	}
	s.offered = time.Time{}
	s.negotiate()
}

func (s *subscriber) offer() {
	s.again = false
	offer, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: s.fresh && s.pc.CurrentRemoteDescription() != nil})
	if err == nil {
		err = s.pc.SetLocalDescription(offer)
	}
	if err != nil {
		s.owner.leave(ReasonStateUnknown)
		return
	}
	s.fresh = false
	s.offerID++
	for _, sl := range s.slots {
		if d := sl.current.Load(); d != nil {
			d.proposed = true
		}
	}
	s.send(offer.SDP)
}

func (s *subscriber) send(sdp string) {
	s.offered = s.owner.engine.now()
	mids := map[string]string{}
	for _, sl := range s.slots {
		if d := sl.current.Load(); d != nil && sl.transceiver.Mid() != "" {
			mids[sl.transceiver.Mid()] = d.track.sid
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
	for _, sl := range s.slots {
		if !sl.reading {
			sl.reading = true
			s.owner.engine.running.Go(sl.readReports)
		}
		if d := sl.current.Load(); d != nil && d.proposed {
			d.agree()
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

// carry puts a track into a section, one that is idle if there is one.
func (s *subscriber) carry(d *down) error {
	i := slices.IndexFunc(s.slots, func(sl *slot) bool {
		return sl.current.Load() == nil && strings.EqualFold(sl.mime, d.track.mime) && sl.transceiver.Kind() == d.Kind()
	})
	if i >= 0 {
		sl := s.slots[i]
		d.slot = sl
		sl.media.next()
		sl.rtx.next()
		sl.current.Store(d)
		if err := sl.transceiver.SetSender(sl.sender, d); err != nil {
			sl.current.Store(nil)
			return err
		}
		return nil
	}
	sl := &slot{mime: d.track.mime}
	d.slot = sl
	d.agreed.Store(true)
	sl.current.Store(d)
	tr, err := s.pc.AddTransceiverFromTrack(d, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	sl.transceiver, sl.sender = tr, tr.Sender()
	s.slots = append(s.slots, sl)
	return nil
}

// empty takes a track out of its section. The section stays, without a track and inactive, until another needs it.
func (s *subscriber) empty(d *down) {
	if d.slot == nil || d.slot.transceiver == nil || d.slot.current.Load() != d {
		return
	}
	d.slot.current.Store(nil)
	// The sender is kept: setting no track ends the sending, and the same sender can send another track later.
	_ = d.slot.transceiver.SetSender(d.slot.sender, nil)
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
