package rtc_test

import (
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

const offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=msid:s t\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=msid:s u\r\na=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\na=rtpmap:96 VP8/90000\r\n"

func FuzzSections(f *testing.F) {
	f.Add(offer)
	f.Add("")
	f.Add("v=0\r\nm=")
	f.Add(strings.Replace(offer, "a=mid:1", "a=inactive", 1))
	f.Add(strings.Repeat(offer, 3))
	f.Fuzz(func(_ *testing.T, s string) {
		// Whatever it is, it is refused or understood.
		_, _ = rtc.ReadSections(s)
	})
}

func TestSectionsOfAnOffer(t *testing.T) {
	if n, err := rtc.ReadSections(offer); n != 2 || err != nil {
		t.Errorf("the offer has %d sections, %v", n, err)
	}
	if n, err := rtc.ReadSections(strings.Replace(offer, "a=sendonly", "a=inactive", 1)); n != 1 || err != nil {
		t.Errorf("with one inactive, the offer has %d sections, %v", n, err)
	}
	many := offer
	for range 300 {
		many += "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:9\r\n"
	}
	if _, err := rtc.ReadSections(many); err == nil {
		t.Error("300 sections were taken")
	}
}

// FuzzSignalling says anything to an engine, as a participant that has joined. The engine must stay, and let the next one in.
func FuzzSignalling(f *testing.F) {
	for _, m := range []*signal.SignalRequest{
		{},
		{Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: offer, Id: 1}}},
		{Message: &signal.SignalRequest_Offer{}},
		{Message: &signal.SignalRequest_Answer{Answer: &signal.SessionDescription{Type: "answer", Sdp: offer, Id: 1}}},
		{Message: &signal.SignalRequest_Trickle{Trickle: &signal.TrickleRequest{CandidateInit: "{", Target: 9}}},
		{Message: &signal.SignalRequest_AddTrack{AddTrack: &signal.AddTrackRequest{Cid: "t", Type: 1, Source: 1, Layers: []*signal.VideoLayer{{Rid: "z"}}}}},
		{Message: &signal.SignalRequest_Mute{}},
		{Message: &signal.SignalRequest_Subscription{Subscription: &signal.UpdateSubscription{TrackSids: []string{"", "TR_x"}, Subscribe: true}}},
		{Message: &signal.SignalRequest_TrackSetting{TrackSetting: &signal.UpdateTrackSettings{TrackSids: []string{"TR_x"}, Quality: -1}}},
		{Message: &signal.SignalRequest_SubscriptionPermission{SubscriptionPermission: &signal.SubscriptionPermission{TrackPermissions: []*signal.TrackPermission{{}}}}},
		{Message: &signal.SignalRequest_SyncState{}},
		{Message: &signal.SignalRequest_PingReq{}},
		{Message: &signal.SignalRequest_UpdateVideoTrack{}},
		{Message: &signal.SignalRequest_Leave{}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte{})
		f.Add(b, b)
	}
	f.Add([]byte("\xff\xff\xff"), []byte{0})
	var c clock
	w := newWorld(f, func(cfg *rtc.Config) {
		cfg.Limits.JoinsPerSecond, cfg.Limits.JoinBurst = 1e9, 1e9
		cfg.Limits.EntriesPerSecond, cfg.Limits.EntryBurst = 1e9, 1e9
		cfg.ClientAddr = func(*http.Request) netip.Addr { return netip.Addr{} }
		cfg.Now = c.now
	})
	w.open("room")
	f.Fuzz(func(t *testing.T, one, two []byte) {
		token, err := w.Token(rtc.Grant{Room: "room", Identity: "mallory", Role: rtc.Publisher})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, w.web.URL+"/rtc?access_token="+token, nil)
		if err != nil {
			t.Fatalf("the engine lets nobody in: %v", err)
		}
		defer func() { _ = ws.CloseNow() }()
		ws.SetReadLimit(1 << 20)
		if _, _, err := ws.Read(ctx); err != nil {
			t.Fatalf("nobody is welcomed: %v", err)
		}
		ping, err := proto.Marshal(&signal.SignalRequest{Message: &signal.SignalRequest_Ping{Ping: 1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{one, two, ping} {
			if ws.Write(ctx, websocket.MessageBinary, b) != nil {
				return // sent away
			}
		}
		for { // until the engine has dealt with all of it, or has sent the client away
			_, b, err := ws.Read(ctx)
			if ctx.Err() != nil {
				t.Fatal("the engine neither answers nor sends the client away")
			}
			if err != nil {
				return
			}
			var m signal.SignalResponse
			if proto.Unmarshal(b, &m) == nil && (m.GetPong() != 0 || m.GetLeave() != nil) {
				break
			}
		}
		if w.Stats().Panics > 0 {
			t.Fatal("the engine failed inside")
		}
	})
}

func TestFramesThatMakeNoSense(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) {
		cfg.Limits.SignalBytes, cfg.Limits.SignalPerSecond, cfg.Limits.SignalBurst = 4096, 1, 50
	})
	w.open("room")
	for name, say := range map[string]func(*raw) error{
		"garbage": func(r *raw) error { return r.ws.Write(t.Context(), websocket.MessageBinary, []byte("\xff\xff\xff")) },
		"text":    func(r *raw) error { return r.ws.Write(t.Context(), websocket.MessageText, []byte("{}")) },
		"too many": func(r *raw) error {
			for range 60 {
				_ = r.ws.Write(t.Context(), websocket.MessageBinary, nil) // it may be sent away meanwhile
			}
			return nil
		},
		"an offer of nothing": func(r *raw) error {
			r.send(&signal.SignalRequest{Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: "nothing"}}})
			return nil
		},
	} {
		r := w.rawJoin(w.token("room", "mallory", rtc.Publisher), "")
		r.joined()
		if err := say(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l := r.left(); l.GetReason() != signal.DisconnectReason_PARTICIPANT_REMOVED || l.GetAction() != signal.LeaveRequest_DISCONNECT {
			t.Errorf("%s: the answer is %v", name, l)
		}
	}
	r := w.rawJoin(w.token("room", "giant", rtc.Publisher), "")
	r.joined()
	if err := r.ws.Write(t.Context(), websocket.MessageBinary, make([]byte, 8192)); err != nil {
		t.Fatal(err)
	}
	if ev := w.awaitEvent(rtc.ParticipantLeft, "giant"); ev.Reason != rtc.ReasonMisbehaved {
		t.Errorf("who sends too much at once left: %v", ev.Reason)
	}
}

// After Close nothing of the engine runs any more.
func TestNothingIsLeftBehind(t *testing.T) {
	before := goroutines("parley/internal/rtc.")
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "the sound arrives", packets(sound.SID(), 10))
	r := w.rawJoin(w.token("room", "cleo", rtc.Subscriber), "")
	r.joined()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for goroutines("parley/internal/rtc.") > before {
		if time.Now().After(deadline) {
			t.Fatalf("still running:\n%s", stacks())
		}
		time.Sleep(10 * time.Millisecond) // goroutines tell nobody when they end
	}
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// goroutines counts those that run code of the package.
func goroutines(pkg string) (n int) {
	for one := range strings.SplitSeq(stacks(), "\n\n") {
		if strings.Contains(one, pkg) {
			n++
		}
	}
	return n
}
