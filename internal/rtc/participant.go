package rtc

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
)

// participant is one participation: from a join until it leaves, is sent away, or its connections are lost for too long.
//
// What stands before mu belongs to the mailbox's tasks, but for what never changes; what stands behind it may be used by anybody.
type participant struct {
	joinRequest

	engine *Engine
	room   *room
	sid    string
	joined time.Time
	box    *mailbox
	over   bool

	conn  *signalConn // nil while signalling is lost
	lost  time.Time   // when it was lost
	token time.Time   // when the client was last given one
	met   time.Time   // when it joined, or when media last flowed and then broke off

	pub     *publisher // nil until the client offers
	sub     *subscriber
	pending []*announced             // tracks that the client announced and has not offered yet
	tracks  map[string]*track        // published, by sid
	byMid   map[string]*track        // the same, by the section of the client's offer
	wanted  map[string]bool          // tracks that the client asked for, or asked not to get
	offers  map[string]*track        // tracks of others whose media has begun to arrive
	subs    map[string]*subscription // those that the client receives

	clock  *forward.Clock // of the client, by its sender reports
	data   dataState      // has its own lock
	rating rating         // guarded by the room's lock

	mu      sync.Mutex // the last lock that is taken
	out     *signalConn
	state   signal.ParticipantInfo_State
	version uint32
	infos   []*signal.TrackInfo // of what it publishes, in order; what lies behind a pointer does not change
	live    []*track            // those whose media has begun to arrive
	ended   signal.DisconnectReason
	allowed *audience // who may receive what it publishes; nil: everybody
}

// enter begins or resumes a participation on a connection.
func (e *Engine) enter(req joinRequest, c *signalConn) (*participant, error) {
	rm := e.room(req.Room)
	if rm == nil {
		return nil, errResume
	}
	if req.resume {
		p, err := rm.resume(req)
		if err != nil {
			return nil, err
		}
		if !p.doAndWait(func() { p.resumed(c) }) {
			return nil, errResume
		}
		return p, nil
	}
	now := e.now()
	p := &participant{joinRequest: req, engine: e, room: rm, sid: newID("PA"), joined: now, token: now, met: now, box: newMailbox(),
		conn: c, out: c, clock: forward.NewClock(), tracks: map[string]*track{}, byMid: map[string]*track{}, wanted: map[string]bool{},
		offers: map[string]*track{}, subs: map[string]*subscription{}, state: signal.ParticipantInfo_JOINED}
	sub, err := newSubscriber(p)
	if err != nil {
		return nil, err
	}
	p.sub = sub
	if err := rm.join(p); err != nil {
		sub.close()
		return nil, err
	}
	return p, nil
}

// run runs the participant's tasks until it has gone.
func (p *participant) run() {
	p.box.run(p.guard)
	p.engine.participantGone()
}

// guard keeps a fault in one participation from ending the others: what clients send goes through parsers of large formats.
func (p *participant) guard(task func()) {
	defer func() {
		if recover() != nil {
			p.engine.stats.panics.Add(1)
			p.engine.log.Error("a participation failed")
			p.guardedLeave()
		}
	}()
	task()
}

func (p *participant) guardedLeave() {
	defer func() {
		if recover() != nil {
			p.box.close()
		}
	}()
	p.leave(ReasonFailed)
}

// do lets a task run when those before it have; nothing runs any more once the participant has gone.
func (p *participant) do(task func()) {
	p.box.put(func() {
		if !p.over {
			task()
		}
	})
}

// doAndWait is do, and waits. It reports whether the participant is still there afterwards. Tasks do not call it.
func (p *participant) doAndWait(task func()) bool {
	done := make(chan bool, 1)
	ok := p.box.put(func() {
		defer func() { done <- !p.over }()
		if !p.over {
			task()
		}
	})
	return ok && <-done
}

// send queues a message for the client. While its signalling is lost, messages are too: who resumes is told what holds then.
func (p *participant) send(m *signal.SignalResponse) {
	p.mu.Lock()
	out := p.out
	p.mu.Unlock()
	if out != nil {
		out.send(m)
	}
}

// sendRaw is send for a message that goes to many.
func (p *participant) sendRaw(b []byte) {
	p.mu.Lock()
	out := p.out
	p.mu.Unlock()
	if out != nil {
		out.queue(b)
	}
}

// describe is the participant as others see it. Names, metadata and attributes stay empty, whatever the client sends.
func (p *participant) describe() *signal.ParticipantInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.describeLocked()
}

func (p *participant) describeLocked() *signal.ParticipantInfo {
	return &signal.ParticipantInfo{Sid: p.sid, Identity: p.Identity, State: p.state, Tracks: p.infos, JoinedAt: p.joined.Unix(),
		JoinedAtMs: p.joined.UnixMilli(), Version: p.version, Permission: p.permission(), IsPublisher: len(p.infos) > 0,
		DisconnectReason: p.ended}
}

// dropped marks the participant as gone for the others.
func (p *participant) dropped(reason Reason) *signal.ParticipantInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	p.state, p.ended, p.infos, p.live = signal.ParticipantInfo_DISCONNECTED, reason.wire(), nil, nil
	return p.describeLocked()
}

// change changes what others know of the participant, and tells them.
func (p *participant) change(itself bool, f func()) {
	p.mu.Lock()
	f()
	p.version++
	p.mu.Unlock()
	p.room.update(p, itself)
}

// changeTrack replaces what is known of one published track. f gets a copy of its own.
func (p *participant) changeTrack(t *track, itself bool, f func(*signal.TrackInfo)) {
	p.change(itself, func() {
		i := slices.Index(p.infos, t.info)
		if i < 0 {
			return
		}
		info := proto.CloneOf(t.info)
		f(info)
		p.infos = slices.Clone(p.infos)
		p.infos[i], t.info = info, info
	})
}

func (p *participant) liveTracks() []*track {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// welcome is the first message on a new connection.
func (p *participant) welcome(others []*signal.ParticipantInfo) {
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Join{Join: &signal.JoinResponse{
		Room: p.room.describe(len(others) + 1), Participant: p.describe(), OtherParticipants: others,
		ServerVersion: protocolVersion, ServerInfo: serverInfo(), IceServers: p.iceServers(), SubscriberPrimary: true,
		PingInterval: int32(pingEvery / time.Second), PingTimeout: int32(pingTimeout / time.Second),
		EnabledPublishCodecs: publishCodecs(),
	}}})
}

// protocolVersion is the version of LiveKit whose signalling is spoken; clients adapt to it.
const protocolVersion = "1.13.5"

func serverInfo() *signal.ServerInfo {
	return &signal.ServerInfo{Version: protocolVersion, Protocol: 15}
}

// publishCodecs are what clients may send, the preferred ones first.
func publishCodecs() []*signal.Codec {
	return []*signal.Codec{{Mime: "audio/opus"}, {Mime: "video/VP8"}, {Mime: "video/H264"}}
}

// iceLife is how long a client may open new relays with the credentials that it was given; it gets new ones when it resumes.
const iceLife = 12 * time.Hour

func (p *participant) iceServers() []*signal.ICEServer {
	var all []*signal.ICEServer
	for _, s := range p.engine.cfg.Transport.ICEServers(p.Identity, iceLife) {
		all = append(all, &signal.ICEServer{Urls: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	return all
}

// begin opens the connection on which the client receives.
func (p *participant) begin() { p.sub.negotiate() }

// resumed goes on with a participation on a new connection, after signalling was lost. Media went on meanwhile.
func (p *participant) resumed(c *signalConn) {
	if p.conn != nil {
		p.conn.end() // the client noticed the loss before the server did
	}
	p.engine.stats.resumes.Add(1)
	p.conn, p.token = c, time.Time{}
	c.send(&signal.SignalResponse{Message: &signal.SignalResponse_Reconnect{Reconnect: &signal.ReconnectResponse{
		IceServers: p.iceServers(), ServerInfo: serverInfo(), LastMessageSeq: p.data.lastReliable(),
	}}})
	p.room.reacquaint(p, c)
	for _, t := range p.tracks {
		t.tellQuality() // what the client was told before may have been lost
	}
	p.sub.restart()
}

// signallingLost notes that a connection has ended; the client has a while to resume.
func (p *participant) signallingLost(c *signalConn) {
	if p.conn != c {
		return
	}
	p.conn, p.lost = nil, p.engine.now()
	p.mu.Lock()
	p.out = nil
	p.mu.Unlock()
}

// leave ends the participation. Whoever is connected is told why.
func (p *participant) leave(reason Reason) {
	if p.over {
		return
	}
	p.over = true
	p.room.drop(p, reason)
	if p.conn != nil {
		action := signal.LeaveRequest_DISCONNECT
		if reason == ReasonStateUnknown || (reason == ReasonFailed && p.sub.ever.Load()) {
			action = signal.LeaveRequest_RECONNECT
		}
		if reason == ReasonLeft {
			p.conn.end()
		} else {
			p.conn.leave(reason, action)
		}
	}
	p.mu.Lock()
	p.out = nil
	p.mu.Unlock()
	for _, s := range p.subs {
		s.release()
	}
	p.engine.stats.tracks.Add(-int64(len(p.tracks)))
	p.sub.close()
	if p.pub != nil {
		p.pub.close()
	}
	p.box.close()
}

// misbehaved ends the participation of a client that breaks the protocol or its limits.
func (p *participant) misbehaved() {
	p.engine.stats.misbehaved.Add(1)
	p.leave(ReasonMisbehaved)
}

// check is called every second: it ends what has been broken for too long, and renews what runs out.
func (p *participant) check() {
	now, limits := p.engine.now(), p.engine.limits
	patience := limits.DepartureTimeout
	if p.sub.connected() {
		patience *= 2 // it is there, and will find its way back
	}
	switch {
	case p.conn == nil && now.Sub(p.lost) > patience:
		p.leave(ReasonTimeout)
		return
	case p.sub.connected():
		p.met = now
	case now.Sub(p.met) > limits.JoinTimeout:
		p.leave(ReasonFailed)
		return
	}
	p.sub.check(now)
	p.sub.report(time.Now())
	p.expire(now)
	for _, t := range p.tracks {
		t.checkQuality()
	}
	if every := min(limits.RefreshTokens, p.Life/2); p.conn != nil && now.Sub(p.token) >= every {
		p.renewToken(now)
	}
}

// renewToken gives the client a token with which it can resume later: the one that it came with runs out.
func (p *participant) renewToken(now time.Time) {
	t, ok := p.room.renew(p)
	if !ok {
		return
	}
	p.token = now
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_RefreshToken{RefreshToken: t}})
}
