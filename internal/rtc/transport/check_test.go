package transport_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
	"parley/internal/rtc/transport"
)

// begin runs a check up to the answer.
func begin(t testing.TB, tr *transport.Transport, kind transport.Kind, o clientOptions) (*client, *channel, string) {
	t.Helper()
	c := dial(t, o)
	ch := c.channel(t, "echo")
	sdp, err := tr.Check(ctx(t), kind, c.offer(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatal(err)
	}
	return c, ch, sdp
}

func TestCheck(t *testing.T) {
	tr := open(t, transport.Shorter(everything(t), 0, patience/2))
	for _, c := range []struct {
		kind    transport.Kind
		client  clientOptions
		proto   string
		another string
	}{
		{transport.UDP, clientOptions{}, " udp ", " tcp "},
		{transport.TCP, clientOptions{networks: tcpOnly}, " tcp ", " udp "},
		{transport.Relay, clientOptions{relay: tr.ICEServers("", patience)}, " udp ", " tcp "},
	} {
		cl, ch, sdp := begin(t, tr, c.kind, c.client)
		for line := range strings.Lines(sdp) {
			if strings.HasPrefix(line, "a=candidate") && (!strings.Contains(line, c.proto) || strings.Contains(line, c.another)) {
				t.Errorf("%v: %s", c.kind, line)
			}
		}
		ch.echo(t, "1")
		ch.echo(t, "2")
		if kind := cl.pair(t).Local.Typ; (kind == webrtc.ICECandidateTypeRelay) != (c.kind == transport.Relay) {
			t.Errorf("%v went over %v", c.kind, kind)
		}
		if err := cl.Close(); err != nil {
			t.Fatal(err)
		}
		if c.kind == transport.UDP {
			wait(t, func() bool { s := tr.Stats(); return s.Checks == 0 && s.Peers == 0 }) // it ends with its client
		}
	}
	// So do the others, but pion may close a TCP connection before what it had to say by it is out: then the time of a check ends it.
	wait(t, func() bool { s := tr.Stats(); return s.Checks == 0 && s.Peers == 0 })
}

func TestCheckEnds(t *testing.T) {
	tr := open(t, transport.Shorter(everything(t), 0, 500*time.Millisecond))
	c, ch, _ := begin(t, tr, transport.UDP, clientOptions{})
	ch.echo(t, "1")
	c.await(t, webrtc.PeerConnectionStateClosed)
	if s := tr.Stats(); s.Checks > 1 {
		t.Errorf("%+v", s)
	}
	wait(t, func() bool { return tr.Stats().Checks == 0 })
}

// More than the check needs ends it.
func TestCheckLimits(t *testing.T) {
	tr := open(t, everything(t))
	for name, abuse := range map[string]func(*client, *channel){
		"a long message": func(_ *client, ch *channel) { _ = ch.Send(make([]byte, 5000)) },
		"many messages": func(_ *client, ch *channel) {
			for range 300 {
				_ = ch.Send([]byte("x"))
			}
		},
		"another channel": func(c *client, _ *channel) { _, _ = c.CreateDataChannel("more", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			c, ch, _ := begin(t, tr, transport.UDP, clientOptions{})
			ch.echo(t, "1")
			go func() {
				for range ch.back { // what comes back before the end
				}
			}()
			abuse(c, ch)
			wait(t, func() bool { return tr.Stats().Checks == 0 })
		})
	}
}

func TestCheckNumber(t *testing.T) {
	tr := open(t, everything(t))
	c := dial(t, clientOptions{})
	c.channel(t, "echo")
	offer := c.offer(t)
	for i := range transport.MaxChecks {
		if _, err := tr.Check(ctx(t), transport.UDP, offer); err != nil {
			t.Fatal(i, err)
		}
	}
	_, err := tr.Check(ctx(t), transport.UDP, offer)
	if f := fault.Of(err); !fault.Is(err, fault.RateLimited) || f.RetryAfter <= 0 {
		t.Error(err)
	}
	if s := tr.Stats(); s.Checks != transport.MaxChecks {
		t.Errorf("%+v", s)
	}
}

func TestCheckRefuses(t *testing.T) {
	tr := open(t, everything(t))
	c := dial(t, clientOptions{})
	c.channel(t, "echo")
	good := c.offer(t)
	if _, err := c.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	video, err := c.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, offer := range map[string]string{
		"empty": "", "noise": strings.Repeat("\x00\xff", 100), "video": video.SDP, "long": good + strings.Repeat("a=x\r\n", 10000),
		"no fingerprint": without(good, "a=fingerprint"), "no credentials": without(good, "a=ice-"), "half": good[:len(good)/3],
	} {
		if _, err := tr.Check(ctx(t), transport.UDP, offer); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tr.Check(ctx(t), 9, good); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = tr.Check(gone, transport.UDP, good) // may still be in time
	cfg := everything(t)
	cfg.TURN, cfg.TURNTLS, cfg.TCP = "", "", ""
	bare := open(t, cfg)
	for _, k := range []transport.Kind{transport.TCP, transport.Relay} {
		if _, err := bare.Check(ctx(t), k, good); fault.Of(err) == nil || fault.Of(err).Code != "media_kind_off" {
			t.Errorf("%v: %v", k, err)
		}
	}
	if bare.ICEServers("", time.Hour) != nil {
		t.Error("ICE servers without TURN")
	}
}

func without(sdp, prefix string) string {
	var b bytes.Buffer
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Whatever is offered, the answer is a refusal or a description, and nothing stays open.
func FuzzCheck(f *testing.F) {
	tr := open(f, transport.Shorter(everything(f), 0, 5*time.Millisecond))
	c := dial(f, clientOptions{})
	c.channel(f, "echo")
	good := c.offer(f)
	f.Add(good)
	f.Add(without(good, "a=setup"))
	f.Add(without(good, "a=mid"))
	f.Add(strings.ReplaceAll(good, "actpass", "passive"))
	f.Add(strings.ReplaceAll(good, "5000", "0"))
	f.Add("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
	f.Fuzz(func(t *testing.T, offer string) {
		answer, err := tr.Check(t.Context(), transport.UDP, offer)
		if (err == nil) != strings.Contains(answer, "a=candidate") {
			t.Errorf("%v, %d bytes", err, len(answer))
		}
	})
}
