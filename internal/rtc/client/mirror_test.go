package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"parley/internal/rtc/signal"
)

// mirror is a server of the protocol with one room and one participant, who gets back whatever they publish, as if somebody else had
// published it. It is small enough to see through, so that a test here that fails shows a fault of the client's.
type mirror struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	ws       *websocket.Conn
	pub, sub *webrtc.PeerConnection
	add      []*signal.AddTrackRequest
	offers   uint32
	waiting  bool // for an answer
	again    bool
	back     *webrtc.DataChannel // over which data messages come back
	backOpen <-chan struct{}
	mute     []bool
	sync     *signal.SyncState
	queries  []string
	pings    int
	leave    *signal.LeaveRequest // is the answer to the next connection
	asked    map[string]int       // key frames asked for, by rid
	closing  chan struct{}
}

const (
	goodToken = "good"
	selfSID   = "PA_self"
	otherSID  = "PA_mirror"
)

func newMirror(t *testing.T) *mirror {
	m := &mirror{t: t, asked: map[string]int{}, closing: make(chan struct{})}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(func() {
		close(m.closing)
		m.drop()
		m.Server.Close()
		if m.pub != nil {
			_ = errors.Join(m.pub.Close(), m.sub.Close())
		}
	})
	return m
}

// drop cuts the signalling connection.
func (m *mirror) drop() {
	m.mu.Lock()
	ws := m.ws
	m.mu.Unlock()
	if ws != nil {
		_ = ws.CloseNow()
	}
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/rtc" || r.URL.Query().Get("access_token") != goodToken {
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	ws.SetReadLimit(1 << 20)
	m.mu.Lock()
	m.ws = ws
	m.queries = append(m.queries, r.URL.RawQuery)
	leave := m.leave
	m.mu.Unlock()
	switch {
	case leave != nil:
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Leave{Leave: leave}})
		return
	case r.URL.Query().Get("reconnect") == "1":
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Trickle{Trickle: &signal.TrickleRequest{}}}) // late, to be passed over
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Reconnect{Reconnect: &signal.ReconnectResponse{LastMessageSeq: 1}}})
	default:
		m.join()
	}
	for {
		_, b, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		q := &signal.SignalRequest{}
		if err := proto.Unmarshal(b, q); err != nil {
			m.t.Errorf("the client sent %x", b)
			return
		}
		m.handle(q)
	}
}

func (m *mirror) say(r *signal.SignalResponse) {
	b, err := proto.Marshal(r)
	if err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	ws := m.ws
	m.mu.Unlock()
	_ = ws.Write(m.t.Context(), websocket.MessageBinary, b)
}

func (m *mirror) join() {
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	media, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := errors.Join(media.RegisterDefaultCodecs(), webrtc.RegisterDefaultInterceptors(media, registry)); err != nil {
		m.t.Error(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry))
	var err1, err2, err3 error
	m.pub, err1 = api.NewPeerConnection(webrtc.Configuration{})
	m.sub, err2 = api.NewPeerConnection(webrtc.Configuration{})
	m.back, err3 = m.sub.CreateDataChannel("_reliable", nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		m.t.Error(err)
		return
	}
	open := make(chan struct{})
	m.backOpen = open
	m.back.OnOpen(func() { close(open) })
	for target, pc := range map[signal.SignalTarget]*webrtc.PeerConnection{signal.SignalTarget_PUBLISHER: m.pub, signal.SignalTarget_SUBSCRIBER: m.sub} {
		pc.OnICECandidate(func(c *webrtc.ICECandidate) {
			if c == nil {
				return
			}
			text, _ := json.Marshal(c.ToJSON())
			m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Trickle{Trickle: &signal.TrickleRequest{CandidateInit: string(text), Target: target}}})
		})
	}
	m.pub.OnTrack(m.reflect)
	m.pub.OnDataChannel(func(c *webrtc.DataChannel) {
		c.OnMessage(func(d webrtc.DataChannelMessage) { m.reflectData(d.Data) })
	})
	m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Join{Join: &signal.JoinResponse{
		Room: &signal.Room{Name: "room"}, Participant: &signal.ParticipantInfo{Sid: selfSID, Identity: "self"},
		OtherParticipants: []*signal.ParticipantInfo{{Sid: otherSID, Identity: "mirror"}},
		SubscriberPrimary: true, PingInterval: 1, PingTimeout: 30}}})
	m.offer()
}

func (m *mirror) offer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.again = m.waiting; m.again {
		return
	}
	m.waiting = true
	o, err := m.sub.CreateOffer(nil)
	if err == nil {
		err = m.sub.SetLocalDescription(o)
	}
	if err != nil {
		m.complain("offer", err)
		return
	}
	m.offers++
	id := m.offers
	go m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: o.SDP, Id: id}}})
}

// complain fails the test for an error, unless the participant has gone and the connections with them.
func (m *mirror) complain(of string, err error) {
	if err != nil && !errors.Is(err, webrtc.ErrConnectionClosed) && !errors.Is(err, io.ErrClosedPipe) {
		m.t.Errorf("%s: %v", of, err)
	}
}

func (m *mirror) handle(q *signal.SignalRequest) {
	fail := func(err error) { m.complain(fmt.Sprintf("%T", q.GetMessage()), err) }
	switch q := q.GetMessage().(type) {
	case *signal.SignalRequest_Offer:
		fail(m.pub.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: q.Offer.GetSdp()}))
		a, err := m.pub.CreateAnswer(nil)
		fail(err)
		fail(m.pub.SetLocalDescription(a))
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Answer{Answer: &signal.SessionDescription{Type: "answer", Sdp: a.SDP, Id: q.Offer.GetId()}}})
	case *signal.SignalRequest_Answer:
		fail(m.sub.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: q.Answer.GetSdp()}))
		m.mu.Lock()
		m.waiting = false
		again := m.again
		m.mu.Unlock()
		if again {
			m.offer()
		}
	case *signal.SignalRequest_Trickle:
		var c webrtc.ICECandidateInit
		fail(json.Unmarshal([]byte(q.Trickle.GetCandidateInit()), &c))
		pc := m.sub
		if q.Trickle.GetTarget() == signal.SignalTarget_PUBLISHER {
			pc = m.pub
		}
		fail(pc.AddICECandidate(c)) // fails before a description: the client must not send one so early
	case *signal.SignalRequest_AddTrack:
		if q.AddTrack.GetSource() == signal.TrackSource_SCREEN_SHARE {
			m.say(&signal.SignalResponse{Message: &signal.SignalResponse_RequestResponse{RequestResponse: &signal.RequestResponse{
				Reason: signal.RequestResponse_NOT_ALLOWED, Request: &signal.RequestResponse_AddTrack{AddTrack: q.AddTrack}}}})
			return
		}
		m.mu.Lock()
		m.add = append(m.add, q.AddTrack)
		m.mu.Unlock()
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_TrackPublished{TrackPublished: &signal.TrackPublishedResponse{
			Cid: q.AddTrack.GetCid(), Track: &signal.TrackInfo{Sid: "TR_" + q.AddTrack.GetCid(), Type: q.AddTrack.GetType()}}}})
	case *signal.SignalRequest_Ping:
		m.mu.Lock()
		m.pings++
		m.mu.Unlock()
	case *signal.SignalRequest_Mute:
		m.mu.Lock()
		m.mute = append(m.mute, q.Mute.GetMuted())
		m.mu.Unlock()
	case *signal.SignalRequest_SyncState:
		m.mu.Lock()
		m.sync = q.SyncState
		m.mu.Unlock()
	}
}

// reflect sends what comes back under the track's id, with the layer's name behind it.
func (m *mirror) reflect(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	id := "TR_" + t.ID()
	if t.RID() != "" {
		id += "-" + t.RID()
	}
	local, err := webrtc.NewTrackLocalStaticRTP(t.Codec().RTPCodecCapability, id, otherSID)
	if err != nil {
		m.t.Error(err)
		return
	}
	sender, err := m.sub.AddTrack(local)
	if err != nil {
		m.complain("track", err)
		return
	}
	m.offer()
	go func() { // who receives it asks for a key frame, and so the publisher is asked
		b := make([]byte, 1500)
		for {
			n, _, err := sender.Read(b)
			if err != nil {
				return
			}
			packets, _ := rtcp.Unmarshal(b[:n])
			for _, p := range packets {
				if _, ok := p.(*rtcp.PictureLossIndication); ok {
					m.mu.Lock()
					m.asked[t.RID()]++
					m.mu.Unlock()
					_ = m.pub.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
				}
			}
		}
	}()
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			_ = m.sub.RemoveTrack(sender)
			return
		}
		p.Header.Extensions, p.Header.Extension = nil, false // their ids were agreed on for the other connection
		if err := local.WriteRTP(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

func (m *mirror) reflectData(b []byte) {
	d := &signal.DataPacket{}
	if err := proto.Unmarshal(b, d); err != nil {
		m.t.Error(err)
		return
	}
	d.ParticipantIdentity, d.ParticipantSid = "mirror", otherSID
	b, err := proto.Marshal(d)
	if err != nil {
		m.t.Error(err)
	}
	select { // what is sent before the channel is open would be lost
	case <-m.backOpen:
		_ = m.back.Send(b)
	case <-m.t.Context().Done():
	}
}
