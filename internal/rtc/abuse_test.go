package rtc_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// media is a peer connection of a client that does what a test wants.
func media(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	s := webrtc.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}

// connect reads messages until the one that is waited for, and takes the engine's addresses from those before it.
func (r *raw) connect(pc *webrtc.PeerConnection, target signal.SignalTarget, what string, is func(*signal.SignalResponse) bool) *signal.SignalResponse {
	r.t.Helper()
	return r.next(what, func(m *signal.SignalResponse) bool {
		if tr := m.GetTrickle(); tr != nil && tr.GetTarget() == target {
			at := strings.Split(tr.GetCandidateInit(), `"`)[3]
			if err := pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: at}); err != nil {
				r.t.Fatal(err)
			}
		}
		return is(m)
	})
}

func isLeave(m *signal.SignalResponse) bool { return m.GetLeave() != nil }

// publish opens data channels on a connection that the client offers.
func (r *raw) publish(t *testing.T, labels ...string) *webrtc.PeerConnection {
	t.Helper()
	pc := media(t)
	for _, l := range labels {
		if _, err := pc.CreateDataChannel(l, nil); err != nil {
			t.Fatal(err)
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	r.send(&signal.SignalRequest{Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: offer.SDP, Id: 1}}})
	m := r.next("the answer", func(m *signal.SignalResponse) bool { return m.GetAnswer() != nil })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.GetAnswer().GetSdp()}); err != nil {
		t.Fatal(err)
	}
	return pc
}

func TestClientsOpenFewDataChannels(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	for name, labels := range map[string][]string{
		"an unknown one":       {"_reliable", "_lossy", "mine"},
		"one without a name":   {""},
		"too many of one name": {"_lossy", "_lossy", "_lossy"},
	} {
		r := w.rawJoin(w.token("room", strings.ReplaceAll(name, " ", "_"), rtc.Publisher), "")
		r.joined()
		pc := r.publish(t, labels...)
		if l := r.connect(pc, signal.SignalTarget_PUBLISHER, name, isLeave).GetLeave(); l.GetReason() != signal.DisconnectReason_PARTICIPANT_REMOVED {
			t.Errorf("%s: the answer is %v", name, l)
		}
	}
	if n := w.Stats().Misbehaved; n != 3 {
		t.Errorf("%d misbehaved", n)
	}
}

// livekit-client opens three channels, and three more in their place when it resumes in a Safari that gave them no numbers.
func TestTheChannelsOfBrowsersAreTaken(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	r := w.rawJoin(w.token("room", "anna", rtc.Publisher), "")
	r.joined()
	pc := r.publish(t, "_lossy", "_reliable", "_data_track", "_lossy", "_reliable")
	opened := make(chan struct{})
	last, err := pc.CreateDataChannel("_data_track", nil)
	if err != nil {
		t.Fatal(err)
	}
	last.OnOpen(func() { close(opened) })
	r.connect(pc, signal.SignalTarget_PUBLISHER, "an address", func(m *signal.SignalResponse) bool {
		return m.GetTrickle().GetTarget() == signal.SignalTarget_PUBLISHER && m.GetTrickle() != nil
	})
	select {
	case <-opened: // by the engine's word, after those before it
	case <-time.After(patience):
		t.Fatal("the channels do not open")
	}
	r.still("that is how browsers are")
	if _, err := pc.CreateDataChannel("_lossy", nil); err != nil {
		t.Fatal(err)
	}
	if l := r.left(); l.GetReason() != signal.DisconnectReason_PARTICIPANT_REMOVED {
		t.Errorf("one more is answered with %v", l)
	}
}

// On the connection on which a client receives, channels are the engine's to open.
func TestClientsOpenNoChannelsWhereTheyReceive(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	r := w.rawJoin(w.token("room", "mallory", rtc.Subscriber), "")
	r.joined()
	m := r.next("the offer", func(m *signal.SignalResponse) bool { return m.GetOffer() != nil }).GetOffer()
	pc := media(t)
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: m.GetSdp()}); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.CreateDataChannel("_reliable", nil); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	r.send(&signal.SignalRequest{Message: &signal.SignalRequest_Answer{Answer: &signal.SessionDescription{Type: "answer", Sdp: answer.SDP, Id: m.GetId()}}})
	if l := r.connect(pc, signal.SignalTarget_SUBSCRIBER, "the end", isLeave).GetLeave(); l.GetReason() != signal.DisconnectReason_PARTICIPANT_REMOVED {
		t.Errorf("the answer is %v", l)
	}
}

// A publisher who changes its mind all the time costs those who receive nothing.
func TestChangingTheAudienceThrowsNobodyOut(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Limits.SignalPerSecond, cfg.Limits.SignalBurst = 1e6, 1e6 })
	w.open("room")
	mallory := w.join("room", "mallory", rtc.Publisher)
	if _, err := mallory.PublishAudio(w.ctx(), client.Audio{}); err != nil {
		t.Fatal(err)
	}
	w.awaitInfo("room", "the sound is there", func(i rtc.RoomInfo) bool {
		return len(i.Participants[0].Tracks) == 1 && i.Participants[0].Tracks[0].Live
	})
	ben := w.rawJoin(w.token("room", "ben", rtc.Subscriber), "")
	ben.joined()
	for i := range 2*rtc.MaxIdle + 20 {
		mallory.Send(&signal.SignalRequest{Message: &signal.SignalRequest_SubscriptionPermission{
			SubscriptionPermission: &signal.SubscriptionPermission{AllParticipants: i%2 == 1}}})
		told := ben.next("what is allowed", func(m *signal.SignalResponse) bool { return m.GetSubscriptionPermissionUpdate() != nil || isLeave(m) })
		if isLeave(told) {
			t.Fatalf("after %d changes ben is sent away: %v", i, told)
		}
		if allowed := told.GetSubscriptionPermissionUpdate().GetAllowed(); allowed != (i%2 == 1) {
			t.Fatalf("change %d: allowed %v", i, allowed)
		}
	}
	if n := w.Sections("room", "ben"); n != 1 {
		t.Errorf("ben's connection has %d sections", n)
	}
}

// What makes much work counts for many messages.
func TestHeavyMessagesCountMore(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Limits.SignalPerSecond, cfg.Limits.SignalBurst = 1e-6, 3*rtc.Heavy+10 })
	w.open("room")
	for name, m := range map[string]*signal.SignalRequest{
		"offers":      {Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer"}}},
		"permissions": {Message: &signal.SignalRequest_SubscriptionPermission{SubscriptionPermission: &signal.SubscriptionPermission{}}},
	} {
		r := w.rawJoin(w.token("room", name, rtc.Subscriber), "")
		r.joined()
		for range 3 {
			r.send(m)
			r.still(name)
		}
		r.send(m)
		if l := r.left(); l.GetReason() != signal.DisconnectReason_PARTICIPANT_REMOVED {
			t.Errorf("%s: the answer is %v", name, l)
		}
	}
	r := w.rawJoin(w.token("room", "others", rtc.Subscriber), "")
	r.joined()
	for range 3*rtc.Heavy + 9 {
		r.send(&signal.SignalRequest{Message: &signal.SignalRequest_TrackSetting{TrackSetting: &signal.UpdateTrackSettings{}}})
	}
	r.still("others")
}

// Of what a client asks for, only what may be a track of this engine is remembered.
func TestWishesForWhatIsNoTrackAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	r := w.rawJoin(w.token("room", "mallory", rtc.Subscriber), "")
	r.joined()
	sids := []string{"TR_later", "", "TR with a space", "TR_" + strings.Repeat("x", 200)}
	for i := range 100 {
		sids = append(sids, strings.Repeat("x", 1000)+strconv.Itoa(i))
	}
	r.send(&signal.SignalRequest{Message: &signal.SignalRequest_Subscription{Subscription: &signal.UpdateSubscription{TrackSids: sids, Subscribe: true}}})
	r.still("that is no offence")
	if n := w.Wanted("room", "mallory"); n != 1 {
		t.Errorf("%d wishes are remembered", n)
	}
}

// Media that nobody reads are stopped, or they would fill a buffer for each stream.
func TestMediaThatNobodyReadsAreStopped(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	r := w.rawJoin(w.token("room", "mallory", rtc.Publisher), "")
	r.joined()
	pc := media(t)
	receiver := func() *webrtc.RTPReceiver {
		tr, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio)
		if err != nil {
			t.Fatal(err)
		}
		return tr.Receiver()
	}
	stopped := func(r *webrtc.RTPReceiver, what string) {
		t.Helper()
		done := make(chan struct{})
		go func() {
			_, _, _ = r.Read(make([]byte, 1)) // waits for media, unless it was stopped
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error(what + " is not stopped")
		}
	}
	for range rtc.MaxOrphans {
		w.Arrive("room", "mallory", "unannounced", receiver())
	}
	beyond := receiver()
	w.Arrive("room", "mallory", "unannounced", beyond)
	stopped(beyond, "what nobody has announced, beyond the limit,")
	w.Announce("room", "mallory", "announced")
	refused := receiver()
	w.Arrive("room", "mallory", "announced", refused) // in no codec that is carried
	stopped(refused, "what is refused")
}

// Media that arrive when their publisher was replaced already are offered to nobody: nobody would take them back.
func TestWhoWasReplacedOffersNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	first := w.join("room", "anna", rtc.Publisher)
	if _, err := first.PublishAudio(w.ctx(), client.Audio{}); err != nil {
		t.Fatal(err)
	}
	w.awaitInfo("room", "the sound is there", func(i rtc.RoomInfo) bool {
		return len(i.Participants[0].Tracks) == 1 && i.Participants[0].Tracks[0].Live
	})
	ben := w.rawJoin(w.token("room", "ben", rtc.Subscriber), "")
	ben.joined()
	late := w.Late("room", "anna")
	w.rawJoin(w.token("room", "anna", rtc.Publisher), "").joined()
	ended(t, first)
	late()
	ben.still("ben is there")
	if n := w.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// hijacked calls a function when a WebSocket is about to be opened, after all was checked.
type hijacked struct {
	http.ResponseWriter
	first func()
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.first()
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// Who was on the way in when the server began to stop does not get in.
func TestNobodyComesInWhileDraining(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ServeHTTP(hijacked{rw, func() {
			if err := w.Drain(r.Context()); err != nil {
				t.Error(err)
			}
		}}, r)
	}))
	t.Cleanup(web.Close)
	ws, res, err := websocket.Dial(w.ctx(), web.URL+"/rtc?access_token="+w.token("room", "anna", rtc.Publisher), nil)
	if err != nil {
		t.Fatal(err, res)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	r := &raw{t: t, ws: ws}
	m := r.next("a word", func(*signal.SignalResponse) bool { return true })
	if m.GetLeave().GetReason() != signal.DisconnectReason_SERVER_SHUTDOWN {
		t.Errorf("the first word is %v", m)
	}
	if n := w.Present("room"); n != 0 {
		t.Errorf("%d are in the room", n)
	}
}

// One identity comes in a few times at once, and then now and then.
func TestEntriesOfOneIdentityAreLimited(t *testing.T) {
	var c clock
	begun := time.Now()
	w := newWorld(t, func(cfg *rtc.Config) {
		cfg.Now = func() time.Time { return begun.Add(time.Duration(c.ahead.Load())) }
	})
	w.open("room")
	token := w.token("room", "anna", rtc.Publisher)
	var r *raw
	for range 6 {
		if status, text, _ := w.ask("/rtc/validate", token); status != http.StatusOK { // to ask is not to enter
			t.Fatalf("the answer is %d %s", status, text)
		}
		r = w.rawJoin(token, "")
		sid := r.joined().GetParticipant().GetSid()
		r = w.rawJoin(token, "&reconnect=1&sid="+sid) // nor is to come back
		r.next("the resumption", func(m *signal.SignalResponse) bool { return m.GetReconnect() != nil })
	}
	_, res, err := websocket.Dial(w.ctx(), w.web.URL+"/rtc?access_token="+token, nil)
	if err == nil || res == nil || res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "2" {
		t.Fatalf("the seventh entry: %v %+v", err, res)
	}
	if status, _, _ := w.ask("/rtc/validate", token); status != http.StatusTooManyRequests {
		t.Errorf("a question about it is answered with %d", status)
	}
	r.still("the sixth is not disturbed")
	w.rawJoin(w.token("room", "ben", rtc.Publisher), "").joined()
	c.forward(2 * time.Second)
	w.rawJoin(token, "").joined()
}

// What is sent again is bounded by what the way carries.
func TestRepeatsAreBounded(t *testing.T) {
	var r rtc.Repeats
	now, bytes := time.Now(), 0
	const rate, size = 800_000, 1000
	for range 10 * 1000 { // as often as it is asked, for ten seconds
		now = now.Add(time.Millisecond)
		for r.Allow(now, rate) {
			r.Spend(size)
			bytes += size
		}
	}
	if most := 11*rate/8 + size; bytes > most || bytes < 10*rate/8 {
		t.Errorf("%d bytes were sent again, at most %d should be", bytes, most)
	}
}

func TestCodecsThatCannotBeDecodedAreNotChosen(t *testing.T) {
	codec := func(mime, fmtp string) webrtc.RTPCodecParameters {
		return webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, SDPFmtpLine: fmtp}}
	}
	h264 := func(profile string) webrtc.RTPCodecParameters {
		return codec(webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="+profile)
	}
	vp8, vp9 := codec(webrtc.MimeTypeVP8, ""), codec(webrtc.MimeTypeVP9, "profile-id=0")
	for name, c := range map[string]struct {
		knows []webrtc.RTPCodecParameters
		mime  string
		fmtp  string
		want  string // fmtp of what is chosen, "none" for nothing
	}{
		"the same":                         {[]webrtc.RTPCodecParameters{vp8, h264("42001f"), h264("42e01f")}, "video/h264", "profile-level-id=42E01F", h264("42e01f").SDPFmtpLine},
		"another level":                    {[]webrtc.RTPCodecParameters{h264("42e01f")}, "video/H264", "profile-level-id=42e034", h264("42e01f").SDPFmtpLine},
		"baseline, who knows another":      {[]webrtc.RTPCodecParameters{vp8, h264("640c1f")}, "video/H264", "profile-level-id=42e01f", h264("640c1f").SDPFmtpLine},
		"no profile said is baseline":      {[]webrtc.RTPCodecParameters{h264("42e01f")}, "video/H264", "", h264("42e01f").SDPFmtpLine},
		"high, who knows baseline only":    {[]webrtc.RTPCodecParameters{vp8, h264("42e01f")}, "video/H264", "profile-level-id=640c1f", "none"},
		"VP9, and no profile said":         {[]webrtc.RTPCodecParameters{vp9}, "video/VP9", "", "profile-id=0"},
		"VP9 with more bits than is known": {[]webrtc.RTPCodecParameters{vp9}, "video/VP9", "profile-id=2", "none"},
		"VP8":                              {[]webrtc.RTPCodecParameters{h264("42e01f"), vp8}, "video/VP8", "x=y", ""},
		"not negotiated":                   {[]webrtc.RTPCodecParameters{vp8}, "video/H264", "profile-level-id=42e01f", "none"},
	} {
		got, ok := rtc.ChooseCodec(c.knows, c.mime, c.fmtp)
		if ok == (c.want == "none") || ok && (got.SDPFmtpLine != c.want || !strings.EqualFold(got.MimeType, c.mime)) {
			t.Errorf("%s: %v %+v", name, ok, got)
		}
	}
}
