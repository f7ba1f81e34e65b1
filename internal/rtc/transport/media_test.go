package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"parley/internal/rtc/transport"
)

// Clocks that are hours apart, either way, hinder neither DTLS nor TURN.
func TestClocksApart(t *testing.T) {
	for _, skew := range []time.Duration{-9 * time.Hour, 9 * time.Hour} {
		cfg := everything(t)
		cfg.Now = func() time.Time { return time.Now().Add(skew) }
		tr := open(t, cfg)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(-skew) // as the client has it when it makes its certificate
		cert, err := webrtc.NewCertificate(key, x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(30 * 24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, clientOptions{cert: cert, relay: only(tr.ICEServers("", time.Minute), "turn")})
		ch := c.channel(t, "data")
		join(t, tr, c, transport.PeerOptions{})
		ch.echo(t, "what time is it?")
	}
}

// The connection lives through a restart of ICE, as after a change of networks, and finds another way.
func TestICERestart(t *testing.T) {
	tr := open(t, everything(t))
	c := dial(t, clientOptions{networks: []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}})
	ch := c.channel(t, "data")
	pc := join(t, tr, c, transport.PeerOptions{})
	ch.echo(t, "before")
	o, err := c.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(c.PeerConnection)
	if err := c.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: transport.Clean(c.LocalDescription().SDP)}); err != nil {
		t.Fatal(err)
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done = webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		t.Fatal(err)
	}
	<-done
	answer := *pc.LocalDescription()
	var left strings.Builder
	for line := range strings.Lines(answer.SDP) {
		if !strings.Contains(line, " udp ") { // it does not work any more
			left.WriteString(line)
		}
	}
	answer.SDP = left.String()
	if err := c.SetRemoteDescription(answer); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool {
		p, err := c.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		return err == nil && p != nil && p.Remote.Protocol == webrtc.ICEProtocolTCP
	})
	ch.echo(t, "after")
}

// Session descriptions say what clients need, and nothing about the machine.
func TestDescription(t *testing.T) {
	tr := open(t, everything(t))
	pc, _, err := tr.Subscriber(transport.PeerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-done
	sdp := pc.LocalDescription().SDP
	for _, want := range []string{"a=ice-lite", "opus/48000/2", "useinbandfec=1", "VP8/90000", "VP9/90000", "42e01f", "42001f", "640c1f", "rtx/90000", "apt=96",
		" nack pli", " ccm fir", " transport-cc", " goog-remb", "sdes:mid", "transport-wide-cc", "a=ssrc-group:FID"} {
		if !strings.Contains(sdp, want) {
			t.Errorf("no %q in the offer", want)
		}
	}
	candidates := 0
	for line := range strings.Lines(sdp) {
		if strings.HasPrefix(line, "a=candidate") {
			candidates++
			if !strings.Contains(line, " 127.0.0.1 ") || !strings.Contains(line, "typ host") {
				t.Error(line)
			}
		}
	}
	if candidates != 2*2 { // UDP and TCP, said in both sections
		t.Errorf("%d candidates:\n%s", candidates, sdp)
	}
}

// A publisher's layers and retransmissions are understood.
func TestPublish(t *testing.T) {
	tr := open(t, everything(t))
	c := dial(t, clientOptions{})
	c.channel(t, "data")
	video, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddTrack(video); err != nil {
		t.Fatal(err)
	}
	pc, err := tr.Publisher(transport.PeerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	got := make(chan *rtp.Packet, 1)
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if p, _, err := tr.ReadRTP(); err == nil {
			got <- p
		}
	})
	answer(t, pc, c)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		select {
		case p := <-got:
			if len(p.Payload) == 0 || p.PayloadType != 96 {
				t.Errorf("%+v", p.Header)
			}
			return
		case <-tick.C:
			if err := video.WriteSample(media.Sample{Data: make([]byte, 500), Duration: 20 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
		case <-late:
			t.Fatal("no packet arrived")
		}
	}
}

// subscribe connects a client to a subscriber's connection with one video track.
func subscribe(t testing.TB, tr *transport.Transport) (*client, *webrtc.TrackLocalStaticRTP, *webrtc.RTPSender, transport.Estimator, chan *webrtc.TrackRemote) {
	t.Helper()
	pc, rate, err := tr.Subscriber(transport.PeerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, clientOptions{})
	tracks := make(chan *webrtc.TrackRemote, 1)
	c.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { tracks <- tr })
	of, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(of); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := c.SetRemoteDescription(*pc.LocalDescription()); err != nil {
		t.Fatal(err)
	}
	a, err := c.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done = webrtc.GatheringCompletePromise(c.PeerConnection)
	if err := c.SetLocalDescription(a); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: transport.Clean(c.LocalDescription().SDP)}); err != nil {
		t.Fatal(err)
	}
	c.await(t, webrtc.PeerConnectionStateConnected)
	return c, track, sender, rate, tracks
}

// What is sent arrives numbered, and the client's reports become an estimate.
func TestSubscribe(t *testing.T) {
	tr := open(t, everything(t))
	_, track, sender, rate, tracks := subscribe(t, tr)
	if rate.Measured() || rate.Bitrate() != transport.InitialBitrate {
		t.Error("an estimate before anything was sent")
	}
	go func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	}()
	received := make(chan *rtp.Packet, 1)
	go func() {
		remote := <-tracks
		for {
			p, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			select {
			case received <- p:
			default:
			}
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for seq := uint16(0); !rate.Measured() || len(received) == 0; seq++ {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("measured %v, received %d", rate.Measured(), len(received))
		}
		if err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 450}, Payload: make([]byte, 800)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := rate.Bitrate(); n < transport.MinBitrate || n > transport.MaxBitrate {
		t.Error(n)
	}
	if p := <-received; len(p.Extensions) == 0 {
		t.Errorf("%+v", p.Header)
	}
}
