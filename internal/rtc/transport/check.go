package transport

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
)

const (
	echoLabel    = "echo"
	echoMessages = 256     // answered per check
	echoBytes    = 4 << 10 // of one message
	answerIn     = 5 * time.Second
	// offerLines is the most that an offer may have: a browser's has some forty and a line for each candidate.
	offerLines = 400
)

// checks counts preflight checks.
type checks struct {
	mu     sync.Mutex
	count  int
	closed bool
	wg     sync.WaitGroup
}

func (c *checks) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.count >= MaxChecks {
		return false
	}
	c.count++
	c.wg.Add(1)
	return true
}

func (c *checks) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	c.wg.Done()
}

func (c *checks) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// wait lets no more in and waits for those that run.
func (c *checks) wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wg.Wait()
}

// Check answers the offer of a preflight check: one data channel named "echo" that returns what it is sent. The answer
// holds candidates of the kind alone (for Relay those of UDP: the client must restrict itself to relays). The
// connection ends with the client's, after CheckLife at the latest, and whatever is not the data channel is refused.
func (t *Transport) Check(ctx context.Context, kind Kind, offer string) (answer string, err error) {
	const op = "transport.Check"
	if kind.String() == "" {
		return "", fault.Bad(op, "kind", "kind_unknown", "Say udp, tcp or relay.")
	}
	if err := checkOffer(offer); err != nil {
		return "", err
	}
	if kind == Relay && t.relays == nil {
		return "", fault.New(fault.Unavailable, op, "media_kind_off", "The server does not offer this way for media.")
	}
	if !t.checks.enter() {
		return "", fault.Retry(op, "checks_busy", "Too many checks run at the moment. Try again in a few seconds.", CheckLife)
	}
	pc, err := t.peer(op, PeerOptions{Only: []Kind{kind}}, &webrtc.MediaEngine{})
	if err != nil {
		t.checks.leave()
		return "", err
	}
	ended := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(ended) }) }
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			end()
		}
	})
	var open sync.Once
	pc.OnDataChannel(func(d *webrtc.DataChannel) {
		refused := true
		if d.Label() == echoLabel {
			open.Do(func() { refused = false; echo(d, end) })
		}
		if refused {
			end()
		}
	})
	go func() {
		defer t.checks.leave()
		late := time.NewTimer(t.cfg.checkLife)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
		}
		_ = pc.Close()
	}()
	if answer, err = answerTo(ctx, pc, offer); err != nil {
		end()
		return "", err
	}
	return answer, nil
}

// checkOffer refuses what is not the offer of a check before a parser sees it.
func checkOffer(offer string) error {
	const op = "transport.Check"
	if len(offer) > MaxOffer {
		return fault.New(fault.TooLarge, op, "offer_too_long", "The session description is too long.")
	}
	media, lines := 0, 0
	for line := range strings.Lines(offer) {
		lines++
		if strings.HasPrefix(line, "m=") {
			media++
			if !strings.HasPrefix(line, "m=application ") {
				media = 2
			}
		}
	}
	if media != 1 || lines > offerLines {
		return fault.Bad(op, "sdp", "offer_unreadable", "Offer one data channel and nothing else.")
	}
	return nil
}

// answerTo makes the answer with all its candidates in it. They are known at once: nobody is asked for them.
func answerTo(ctx context.Context, pc *webrtc.PeerConnection, offer string) (string, error) {
	const op = "transport.Check"
	bad := func(err error) error {
		f := fault.Bad(op, "sdp", "offer_unreadable", "The session description can't be read.")
		f.Cause = err
		return f
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: Clean(offer)}); err != nil {
		return "", bad(err)
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", bad(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		return "", bad(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	select {
	case <-gathered:
		if sdp := pc.LocalDescription(); sdp != nil && strings.Contains(sdp.SDP, "a=candidate:") {
			return sdp.SDP, nil
		}
		return "", fault.New(fault.Unavailable, op, "media_closed", "The server is stopping.") // closed in the meantime
	case <-ctx.Done():
		return "", fault.Wrap(fault.Unavailable, op, ctx.Err())
	}
}

// echo returns what it gets, within limits; beyond them the check is over.
func echo(d *webrtc.DataChannel, end func()) {
	left := echoMessages
	d.OnMessage(func(m webrtc.DataChannelMessage) {
		if left--; left < 0 || len(m.Data) > echoBytes {
			end()
			return
		}
		var err error
		if m.IsString {
			err = d.SendText(string(m.Data))
		} else {
			err = d.Send(m.Data)
		}
		if err != nil {
			end()
		}
	})
	d.OnClose(end)
}
