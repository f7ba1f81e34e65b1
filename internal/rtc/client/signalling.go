package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"parley/internal/rtc/signal"
)

const (
	protocol     = 16               // of the signalling
	maxMessage   = 1 << 20          // bytes of one; a large room's offer is some 200 KB
	maxQueued    = 256              // messages kept for a signalling connection that comes back
	writeTimeout = 10 * time.Second // for one message
	joinTimeout  = 10 * time.Second // for the first message of the server's, and each try to come back
)

// delays are the pauses before each try to come back; after the last one the participation ends. In all they are a little longer than
// a server keeps a participant who vanished.
var delays = [...]time.Duration{0, 300 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second, 7 * time.Second, 7 * time.Second}

// wire is the signalling connection of the moment, and what waits for the next one.
type wire struct {
	write sync.Mutex // held while writing, so that messages keep their order
	ws    *websocket.Conn
	queue [][]byte
}

// RefusedError is the server's refusal to let a participant join.
type RefusedError struct {
	Status int
	Text   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("client: refused with %d: %s", e.Status, e.Text)
}

// dial opens the signalling connection and reads the server's first message. With a sid, it comes back as that participation.
func (p *Participant) dial(ctx context.Context, sid string) (*websocket.Conn, *signal.SignalResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	p.mu.Lock()
	at, err := p.address(sid)
	p.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	ws, resp, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: p.cfg.HTTP}) //nolint:bodyclose // it is the package's: documented so
	if err != nil {
		return nil, nil, refusal(resp, err)
	}
	ws.SetReadLimit(maxMessage)
	for {
		m, err := read(ctx, ws)
		if err != nil {
			_ = ws.CloseNow()
			return nil, nil, err
		}
		// what was on its way to the lost connection may come first
		if sid == "" || m.GetReconnect() != nil || m.GetLeave() != nil {
			return ws, m, nil
		}
	}
}

// address is where to connect. Callers hold mu.
func (p *Participant) address(sid string) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(p.cfg.URL, "/") + "/rtc")
	if err != nil {
		return "", errors.New("client: the server's address is no URL")
	}
	subscribe := "1"
	if p.cfg.ManualSubscribe {
		subscribe = "0"
	}
	q := url.Values{"access_token": {p.token}, "auto_subscribe": {subscribe}, "sdk": {"go"}, "version": {"1.0.0"}, "protocol": {fmt.Sprint(protocol)}}
	if sid != "" {
		q.Set("reconnect", "1")
		q.Set("sid", sid)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// refusal makes an error of a failed dial that does not repeat the address, which holds the token.
func refusal(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("client: connecting: %w", err)
	}
	text := ""
	if resp.Body != nil {
		b := make([]byte, 512)
		n, _ := resp.Body.Read(b)
		text = strings.TrimSpace(string(b[:n]))
	}
	return &RefusedError{Status: resp.StatusCode, Text: text}
}

func read(ctx context.Context, ws *websocket.Conn) (*signal.SignalResponse, error) {
	_, b, err := ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	m := &signal.SignalResponse{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("client: the server's message: %w", err)
	}
	return m, nil
}

func unexpected(m *signal.SignalResponse) error {
	if l := m.GetLeave(); l != nil {
		return &EndedError{Reason: l.GetReason(), Action: l.GetAction()}
	}
	return fmt.Errorf("client: the server began with a %T", m.GetMessage())
}

// send says something to the server; while the connection is lost, it waits for the next one.
func (p *Participant) send(r *signal.SignalRequest) {
	b, err := proto.Marshal(r)
	if err != nil {
		return // strings that are not UTF-8: nothing that a server could read
	}
	p.wire.write.Lock()
	defer p.wire.write.Unlock()
	if p.wire.ws == nil {
		if len(p.wire.queue) < maxQueued {
			p.wire.queue = append(p.wire.queue, b)
		}
		return
	}
	p.writeLocked(b)
}

// writeLocked writes one message; what fails is seen by the reader too.
func (p *Participant) writeLocked(b []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if p.wire.ws.Write(ctx, websocket.MessageBinary, b) != nil {
		_ = p.wire.ws.CloseNow()
	}
}

// DropSignal cuts the signalling connection as a network does, without a word.
func (p *Participant) DropSignal() {
	p.wire.write.Lock()
	defer p.wire.write.Unlock()
	if p.wire.ws != nil {
		_ = p.wire.ws.CloseNow()
	}
}

// run reads what the server says, and comes back when the connection is lost.
func (p *Participant) run(ctx context.Context, ws *websocket.Conn) {
	defer p.tasks.Done()
	for ws != nil {
		lost := p.serve(ctx, ws)
		p.wire.write.Lock()
		p.wire.ws = nil
		p.wire.write.Unlock()
		_ = ws.CloseNow()
		if p.Snapshot().State == Ended {
			return
		}
		if p.cfg.NoResume {
			p.end(lost)
			return
		}
		p.become(Resuming)
		ws = p.resume(ctx, lost)
	}
}

// serve reads messages until the connection is lost.
func (p *Participant) serve(ctx context.Context, ws *websocket.Conn) error {
	pings, stop := context.WithCancel(ctx)
	defer stop()
	if every := time.Duration(p.join.GetPingInterval()) * time.Second; every > 0 {
		p.tasks.Go(func() { p.ping(pings, every) })
	}
	silence := time.Duration(p.join.GetPingTimeout()) * time.Second
	for {
		read1, cancel := ctx, context.CancelFunc(func() {})
		if silence > 0 {
			read1, cancel = context.WithTimeout(ctx, silence)
		}
		m, err := read(read1, ws)
		cancel()
		if err != nil {
			return err
		}
		if err := p.handle(m); err != nil {
			p.end(err)
			return err
		}
	}
}

func (p *Participant) ping(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			// old servers know the first, new ones the second, and either does no harm
			p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Ping{Ping: now.UnixMilli()}})
			p.send(&signal.SignalRequest{Message: &signal.SignalRequest_PingReq{PingReq: &signal.Ping{Timestamp: now.UnixMilli()}}})
		}
	}
}

// resume opens the signalling connection again and says what it believes to be so; nil: the participation ended.
func (p *Participant) resume(ctx context.Context, lost error) *websocket.Conn {
	for _, d := range delays {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil
		}
		ws, first, err := p.dial(ctx, p.Snapshot().SID)
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			p.end(err)
			return nil
		case err != nil:
			lost = err
			continue
		case first.GetReconnect() == nil:
			_ = ws.CloseNow()
			p.end(unexpected(first))
			return nil
		}
		p.resumed(ws, first.GetReconnect())
		return ws
	}
	p.end(fmt.Errorf("client: the connection was lost and did not come back: %w", lost))
	return nil
}

func (p *Participant) resumed(ws *websocket.Conn, first *signal.ReconnectResponse) {
	state, err := proto.Marshal(&signal.SignalRequest{Message: &signal.SignalRequest_SyncState{SyncState: p.syncState()}})
	p.wire.write.Lock()
	p.wire.ws = ws
	if err == nil {
		p.writeLocked(state)
	}
	for _, b := range p.wire.queue {
		p.writeLocked(b)
	}
	p.wire.queue = nil
	p.wire.write.Unlock()
	p.change(func() { p.resumes++ })
	if p.Snapshot().Marks.Connected.IsZero() {
		p.become(Joined)
	} else {
		p.become(Connected)
	}
	if p.publisher.offered() {
		p.publisher.negotiate(true)
	}
	p.data.replay(first.GetLastMessageSeq())
}

// syncState is what we believe, for the server to compare.
func (p *Participant) syncState() *signal.SyncState {
	s := &signal.SyncState{
		Subscription:             &signal.UpdateSubscription{Subscribe: p.cfg.ManualSubscribe},
		DataChannels:             p.data.info(),
		DatachannelReceiveStates: p.data.receiveStates(),
	}
	if d := p.receiver.pc.CurrentLocalDescription(); d != nil {
		s.Answer = &signal.SessionDescription{Type: d.Type.String(), Sdp: d.SDP}
	}
	if d := p.receiver.pc.CurrentRemoteDescription(); d != nil {
		s.Offer = &signal.SessionDescription{Type: d.Type.String(), Sdp: d.SDP}
	}
	for _, pub := range p.published() {
		if info := pub.Info(); info != nil {
			s.PublishTracks = append(s.PublishTracks, &signal.TrackPublishedResponse{Cid: pub.cid, Track: info})
		}
	}
	return s
}

// handle does what a message says. An error ends the participation.
func (p *Participant) handle(m *signal.SignalResponse) error {
	switch m := m.GetMessage().(type) {
	case *signal.SignalResponse_Offer:
		return p.receiver.answer(m.Offer)
	case *signal.SignalResponse_Answer:
		return p.publisher.answered(m.Answer)
	case *signal.SignalResponse_Trickle:
		if m.Trickle.GetCandidateInit() == "" {
			return nil
		}
		if m.Trickle.GetTarget() == signal.SignalTarget_PUBLISHER {
			return p.publisher.candidate(m.Trickle.GetCandidateInit())
		}
		return p.receiver.candidate(m.Trickle.GetCandidateInit())
	case *signal.SignalResponse_Leave:
		return &EndedError{Reason: m.Leave.GetReason(), Action: m.Leave.GetAction()}
	case *signal.SignalResponse_TrackPublished:
		p.change(func() {
			if c := p.pending[m.TrackPublished.GetCid()]; c != nil {
				delete(p.pending, m.TrackPublished.GetCid())
				c <- m.TrackPublished.GetTrack()
			}
		})
	case *signal.SignalResponse_RequestResponse:
		p.refused(m.RequestResponse)
	case *signal.SignalResponse_Mute:
		for _, pub := range p.published() {
			if pub.SID() == m.Mute.GetSid() {
				pub.muted.Store(m.Mute.GetMuted())
			}
		}
	case *signal.SignalResponse_SubscribedQualityUpdate:
		for _, pub := range p.published() {
			pub.watched(m.SubscribedQualityUpdate)
		}
	default:
		p.change(func() { p.note(m) })
	}
	return nil
}

// refused tells who waits for a track to be published that it will not be.
func (p *Participant) refused(r *signal.RequestResponse) {
	a := r.GetAddTrack()
	if a == nil || r.GetReason() == signal.RequestResponse_OK || r.GetReason() == signal.RequestResponse_QUEUED {
		return
	}
	p.change(func() {
		if c := p.pending[a.GetCid()]; c != nil {
			delete(p.pending, a.GetCid())
			close(c)
		}
	})
}

// note remembers what a message says about the room. Callers hold mu.
func (p *Participant) note(m any) {
	switch m := m.(type) {
	case *signal.SignalResponse_Update:
		for _, o := range m.Update.GetParticipants() {
			switch {
			case o.GetSid() == p.self.GetSid():
				p.self = o
			case o.GetState() == signal.ParticipantInfo_DISCONNECTED:
				delete(p.others, o.GetSid())
			default:
				p.others[o.GetSid()] = o
			}
		}
	case *signal.SignalResponse_SpeakersChanged:
		for _, s := range m.SpeakersChanged.GetSpeakers() {
			delete(p.speakers, s.GetSid())
			if s.GetActive() {
				p.speakers[s.GetSid()] = s.GetLevel()
			}
		}
	case *signal.SignalResponse_ConnectionQuality:
		for _, u := range m.ConnectionQuality.GetUpdates() {
			if u.GetParticipantSid() == p.self.GetSid() {
				p.quality = u.GetQuality()
			}
		}
	case *signal.SignalResponse_RefreshToken:
		p.token = m.RefreshToken
	}
}
