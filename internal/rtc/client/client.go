// Package client is a participant in a call without a screen: it joins a room over the same signalling protocol that browsers
// speak, publishes made-up sound and pictures, and counts what it receives. Tests of the engine use it, the load generator is
// made of it, and a recorder can be: OnPacket hands out what arrives.
//
// It behaves as livekit-client does with two connections ("v0"): one over which it publishes and offers, one over which it receives
// and answers, candidates as they are found, data channels _reliable and _lossy. It works against any server of that protocol.
//
// It encodes and decodes nothing, and dials nothing: the WebSocket is opened by the http.Client that it is given.
package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"parley/internal/rtc/signal"
)

// Config says who joins where.
type Config struct {
	URL   string       // of the server: http, https, ws or wss; /rtc is added
	Token string       // names room and identity
	HTTP  *http.Client // opens the WebSocket
	Stack *Stack       // shared by the participants of a process; nil: one of its own

	ManualSubscribe bool // nothing is received until Subscribe asks for it
	NoResume        bool // a lost signalling connection ends the participation

	OnData   func(Data)   // called by one goroutine per channel, in order
	OnPacket func(Packet) // called by one goroutine per track, in order of arrival
}

// State says how far a participation has come.
type State int

// The states of a participation.
const (
	Joined    State = iota // the server knows us; the connection for receiving is not up yet
	Connected              // media can be received
	Resuming               // the signalling connection is lost and being opened again; media may flow on
	Ended                  // for good; Snapshot.Err says why
)

func (s State) String() string {
	return [...]string{"joined", "connected", "resuming", "ended"}[s]
}

// EndedError is the error of a participation that the server, or its owner, ended.
type EndedError struct {
	Reason signal.DisconnectReason
	Action signal.LeaveRequest_Action
}

func (e *EndedError) Error() string { return "client: the participation ended: " + e.Reason.String() }

// errClosed is the end that Close makes.
var errClosed = &EndedError{Reason: signal.DisconnectReason_CLIENT_INITIATED}

// Marks are moments in the life of a participation; the zero time: not yet.
type Marks struct {
	Began         time.Time // Join was called
	Joined        time.Time // the server's first message was read
	Connected     time.Time // the connection for receiving was up
	FirstPacket   time.Time // of media
	FirstKeyFrame time.Time // the first packet of one
	Publishing    time.Time // the connection for publishing was up
}

// Snapshot is what a participant knows at one moment.
type Snapshot struct {
	State        State
	Err          error // why it ended
	Room         string
	SID          string // of this participation
	Identity     string
	Marks        Marks
	Resumes      int
	Participants []*signal.ParticipantInfo // the others
	Speakers     map[string]float32        // levels of those who are heard, by participant
	Tracks       []TrackStats              // what was received, in order of first packets; ended tracks too
	Data         uint64                    // data messages received
	Quality      signal.ConnectionQuality  // ours, as the server sees it
}

// Track finds what was received of a track.
func (s *Snapshot) Track(sid string) (TrackStats, bool) {
	for _, t := range s.Tracks {
		if t.SID == sid {
			return t, true
		}
	}
	return TrackStats{}, false
}

// Participant is one participation in one room.
type Participant struct {
	cfg   Config
	stack *Stack

	join      *signal.JoinResponse // of the first connection
	publisher *connection
	receiver  *connection
	data      *dataChannels
	stop      context.CancelFunc
	ended     chan struct{} // closed when State is Ended and nothing runs any more
	tasks     sync.WaitGroup

	mu           sync.Mutex
	changed      chan struct{} // closed and replaced at every change
	state        State
	err          error
	token        string
	marks        Marks
	resumes      int
	others       map[string]*signal.ParticipantInfo
	self         *signal.ParticipantInfo
	speakers     map[string]float32
	tracks       []*received
	publications []*Publication
	pending      map[string]chan *signal.TrackInfo // add_track without an answer, by cid
	quality      signal.ConnectionQuality
	wire         wire
}

// Join comes into the room that the token names. It returns when the server has answered; Await waits for more. The participation
// lasts until Close, or until the server or the network ends it; ctx is for joining only.
func Join(ctx context.Context, cfg Config) (*Participant, error) {
	p := &Participant{
		cfg: cfg, stack: cfg.Stack, token: cfg.Token,
		changed: make(chan struct{}), ended: make(chan struct{}),
		others: map[string]*signal.ParticipantInfo{}, speakers: map[string]float32{}, pending: map[string]chan *signal.TrackInfo{},
		marks: Marks{Began: time.Now()}, quality: signal.ConnectionQuality_EXCELLENT,
	}
	if p.stack == nil {
		var err error
		if p.stack, err = NewStack(StackOptions{}); err != nil {
			return nil, err
		}
	}
	ws, first, err := p.dial(ctx, "")
	if err != nil {
		return nil, err
	}
	if p.join = first.GetJoin(); p.join == nil {
		_ = ws.CloseNow()
		return nil, unexpected(first)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.marks.Joined = time.Now()
	p.self = p.join.GetParticipant()
	for _, o := range p.join.GetOtherParticipants() {
		p.others[o.GetSid()] = o
	}
	if err := p.open(); err != nil {
		stop()
		_ = ws.CloseNow()
		return nil, err
	}
	p.wire.ws = ws
	p.tasks.Add(1)
	go p.run(run, ws)
	if !p.join.GetSubscriberPrimary() {
		p.publisher.negotiate(false)
	}
	return p, nil
}

// open makes the two connections, which are up once offers were answered.
func (p *Participant) open() (err error) {
	if p.receiver, err = p.newConnection(signal.SignalTarget_SUBSCRIBER, p.stack.subscribe); err != nil {
		return err
	}
	if p.publisher, err = p.newConnection(signal.SignalTarget_PUBLISHER, p.stack.publish); err != nil {
		_ = p.receiver.pc.Close()
		return err
	}
	p.data = newDataChannels(p)
	p.receiver.pc.OnTrack(p.onTrack)
	p.receiver.pc.OnDataChannel(p.data.adopt)
	return nil
}

// Snapshot says how things are.
func (p *Participant) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Snapshot{
		State: p.state, Err: p.err, Room: p.join.GetRoom().GetName(), SID: p.self.GetSid(), Identity: p.self.GetIdentity(),
		Marks: p.marks, Resumes: p.resumes, Speakers: maps.Clone(p.speakers), Data: p.data.received.Load(), Quality: p.quality,
	}
	for _, o := range p.others {
		s.Participants = append(s.Participants, proto.CloneOf(o))
	}
	for _, t := range p.tracks {
		s.Tracks = append(s.Tracks, t.stats())
	}
	return s
}

// look is how often Await looks again for counts, which change without a word.
const look = 20 * time.Millisecond

// Await returns when cond holds. It fails when ctx ends, or the participation does while cond does not hold.
func (p *Participant) Await(ctx context.Context, cond func(*Snapshot) bool) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		s := p.Snapshot()
		if cond(&s) {
			return nil
		}
		if s.State == Ended {
			return s.Err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("client: waited in vain (%s): %w", s.State, ctx.Err())
		}
	}
}

// Done is closed when the participation has ended and everything of it is gone.
func (p *Participant) Done() <-chan struct{} { return p.ended }

// Close leaves the room and returns when everything of the participation is gone.
func (p *Participant) Close() error {
	p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Leave{Leave: &signal.LeaveRequest{
		Reason: signal.DisconnectReason_CLIENT_INITIATED, Action: signal.LeaveRequest_DISCONNECT}}})
	p.end(errClosed)
	<-p.ended
	return nil
}

// Subscribe asks for tracks, or to be spared them.
func (p *Participant) Subscribe(want bool, sids ...string) {
	p.send(&signal.SignalRequest{Message: &signal.SignalRequest_Subscription{
		Subscription: &signal.UpdateSubscription{TrackSids: sids, Subscribe: want}}})
}

// Show says how tracks would be shown: in which size or quality, or not at all for the moment.
func (p *Participant) Show(settings *signal.UpdateTrackSettings) {
	p.send(&signal.SignalRequest{Message: &signal.SignalRequest_TrackSetting{TrackSetting: settings}})
}

// Send says something to the server as it is; for tests of what a server refuses.
func (p *Participant) Send(r *signal.SignalRequest) { p.send(r) }

// change does something to the participant's state and wakes those who wait for it.
func (p *Participant) change(f func()) {
	p.mu.Lock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
}

// become takes on a state; the last one stays.
func (p *Participant) become(s State) {
	p.change(func() {
		if p.state != Ended {
			p.state = s
		}
	})
}

// mark remembers the first time that something happened.
func (p *Participant) mark(at *time.Time) {
	now := time.Now()
	p.change(func() {
		if at.IsZero() {
			*at = now
		}
	})
}

// end ends the participation; the first reason counts.
func (p *Participant) end(why error) {
	first := false
	p.change(func() {
		if first = p.state != Ended; first {
			p.state, p.err = Ended, why
			for cid, c := range p.pending {
				delete(p.pending, cid)
				close(c)
			}
		}
	})
	if !first {
		return
	}
	go func() { // closing waits for callbacks, and one of them may be what called us
		p.stop()
		for _, pub := range p.published() {
			pub.halt()
		}
		err := errors.Join(p.publisher.pc.GracefulClose(), p.receiver.pc.GracefulClose())
		p.tasks.Wait()
		if err != nil {
			p.change(func() { p.err = errors.Join(p.err, err) })
		}
		close(p.ended)
	}()
}

func (p *Participant) published() []*Publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Publication(nil), p.publications...)
}
