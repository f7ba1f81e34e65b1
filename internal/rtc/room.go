package rtc

import (
	"maps"
	"slices"
	"sync"
	"time"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
)

// room is where participants meet. Its lock is held while messages are queued for everybody, so that all see the same order; queueing
// never waits. It is taken before the engine's lock and a participant's, never after.
type room struct {
	engine *Engine
	id     string
	sid    string
	opened time.Time
	stop   chan struct{}

	mu           sync.Mutex
	most         int
	closed       bool
	participants map[string]*participant // by identity
	removed      map[string]uint64       // identities that were removed → the last token number that no longer counts
	departed     []departure             // of late, for those whose signalling is lost meanwhile
	entries      map[string]*bucket      // of late, by identity
	speakers     speakers
}

// departure is what there is to tell of somebody who has gone.
type departure struct {
	info *signal.ParticipantInfo
	at   time.Time
}

// maxDepartures bounds how many departures are remembered; a client that misses more sees ghosts until it joins anew.
const maxDepartures = 1000

func newRoom(e *Engine, id string, most int) *room {
	return &room{engine: e, id: id, sid: newID("RM"), opened: e.now(), most: most, stop: make(chan struct{}),
		participants: map[string]*participant{}, removed: map[string]uint64{}, entries: map[string]*bucket{}, speakers: newSpeakers()}
}

func (rm *room) setMost(most int) {
	rm.mu.Lock()
	rm.most = most
	rm.mu.Unlock()
}

// mayJoin says whether the token's bearer could join now.
func (rm *room) mayJoin(req joinRequest) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	return rm.mayJoinLocked(req)
}

func (rm *room) mayJoinLocked(req joinRequest) error {
	const op = "rtc.join"
	if rm.closed {
		return fault.New(fault.NotFound, op, "room_unknown", "requested room does not exist: the call is over.")
	}
	if rm.engine.stopping() { // asked under the room's lock: who comes in before is told by Drain
		return errStopping(op)
	}
	if last, ok := rm.removed[req.Identity]; ok && req.number <= last {
		rm.engine.stats.refusedTokens.Add(1)
		return fault.New(fault.Forbidden, op, "participant_removed", "You were removed from this call.")
	}
	if _, here := rm.participants[req.Identity]; !here && len(rm.participants) >= rm.most {
		rm.engine.stats.refusedJoins.Add(1)
		return fault.New(fault.Unavailable, op, "room_full", "The call has as many participants as it may have.")
	}
	return nil
}

// maxEntries is how many identities' entries are remembered before those that do not matter any more are forgotten.
const maxEntries = 256

// pace limits how often one identity comes in: each time the others are told, and whoever hears of the engine's events. A check of
// whether it could does not count as one.
func (rm *room) pace(identity string, enters bool) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	now, limits := rm.engine.now(), rm.engine.limits
	b := rm.entries[identity]
	if b == nil {
		if len(rm.entries) >= maxEntries {
			maps.DeleteFunc(rm.entries, func(_ string, b *bucket) bool { return b.full(now, limits.EntriesPerSecond, limits.EntryBurst) })
		}
		b = &bucket{}
		rm.entries[identity] = b
	}
	ok, wait := b.take(now, 1, limits.EntriesPerSecond, limits.EntryBurst)
	switch {
	case !ok:
		rm.engine.stats.refusedJoins.Add(1)
		return fault.Retry("rtc.join", "too_many_joins", "You enter this call too often. Try again in a moment.", wait)
	case !enters:
		b.tokens++
	}
	return nil
}

// join puts a participant into the room. Whoever was there by the same identity is sent away.
func (rm *room) join(p *participant) error {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if err := rm.mayJoinLocked(p.joinRequest); err != nil {
		return err
	}
	rm.engine.stats.participants.Add(1)
	if !rm.engine.launch(p.run) {
		rm.engine.stats.participants.Add(-1)
		return errStopping("rtc.join")
	}
	rm.engine.stats.joins.Add(1)
	if old := rm.participants[p.Identity]; old != nil {
		rm.dropLocked(old, ReasonDuplicate)
		old.do(func() { old.leave(ReasonDuplicate) })
	}
	rm.participants[p.Identity] = p
	others := make([]*signal.ParticipantInfo, 0, len(rm.participants))
	for _, other := range rm.participants {
		if other != p {
			others = append(others, other.describe())
		}
	}
	p.welcome(others)
	rm.tellLocked(p, &signal.ParticipantUpdate{Participants: []*signal.ParticipantInfo{p.describe()}})
	rm.engine.events.put(Event{Type: ParticipantJoined, Room: rm.id, Identity: p.Identity, At: rm.engine.now()})
	for _, other := range rm.participants {
		if other != p {
			for _, t := range other.liveTracks() {
				p.do(func() { p.offered(t) })
			}
		}
	}
	p.do(p.begin)
	return nil
}

// resume looks for the participation that a client wants to go on with.
func (rm *room) resume(req joinRequest) (*participant, error) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	p := rm.participants[req.Identity]
	if p == nil || rm.closed || (req.sid != "" && req.sid != p.sid) {
		return nil, errResume
	}
	return p, nil
}

// update tells the others what a participant is like now.
func (rm *room) update(p *participant, itself bool) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.participants[p.Identity] != p {
		return
	}
	u := &signal.ParticipantUpdate{Participants: []*signal.ParticipantInfo{p.describe()}}
	rm.tellLocked(p, u)
	if itself {
		p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Update{Update: u}})
	}
}

// offer tells the others of a track whose media has begun to arrive.
func (rm *room) offer(t *track) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.participants[t.owner.Identity] != t.owner {
		return // it was replaced while its media arrived, and nobody would take the track back
	}
	for _, other := range rm.participants {
		if other != t.owner {
			other.do(func() { other.offered(t) })
		}
	}
}

// withdraw takes a track from the others.
func (rm *room) withdraw(t *track) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.withdrawLocked(t)
}

func (rm *room) withdrawLocked(t *track) {
	for _, other := range rm.participants {
		if other != t.owner {
			other.do(func() { other.withdrawn(t) })
		}
	}
}

// everybody returns who is there now.
func (rm *room) everybody() []*participant {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	all := make([]*participant, 0, len(rm.participants))
	for _, p := range rm.participants {
		all = append(all, p)
	}
	return all
}

// tellLocked queues an update for everybody but the participant that it is about.
func (rm *room) tellLocked(about *participant, u *signal.ParticipantUpdate) {
	b := encode(&signal.SignalResponse{Message: &signal.SignalResponse_Update{Update: u}})
	for _, other := range rm.participants {
		if other != about {
			other.sendRaw(b)
		}
	}
}

// drop takes a participant out of the room, if it is still in it.
func (rm *room) drop(p *participant, reason Reason) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if rm.participants[p.Identity] == p {
		rm.dropLocked(p, reason)
	}
}

func (rm *room) dropLocked(p *participant, reason Reason) {
	delete(rm.participants, p.Identity)
	rm.speakers.forget(p.sid)
	for _, t := range p.liveTracks() {
		rm.withdrawLocked(t)
	}
	info, now := p.dropped(reason), rm.engine.now()
	rm.departed = slices.DeleteFunc(rm.departed, func(d departure) bool { return now.Sub(d.at) > 4*rm.engine.limits.DepartureTimeout })
	if len(rm.departed) < maxDepartures {
		rm.departed = append(rm.departed, departure{info: info, at: now})
	}
	rm.tellLocked(p, &signal.ParticipantUpdate{Participants: []*signal.ParticipantInfo{info}})
	rm.engine.stats.departures.Add(1)
	rm.engine.events.put(Event{Type: ParticipantLeft, Room: rm.id, Identity: p.Identity, Reason: reason, At: now})
}

// reacquaint gives a participant who has resumed its connection, and tells it who is there and who has gone.
func (rm *room) reacquaint(p *participant, c *signalConn) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	p.mu.Lock()
	p.out = c
	p.mu.Unlock()
	u := &signal.ParticipantUpdate{}
	for _, d := range rm.departed {
		if rm.participants[d.info.GetIdentity()] == nil {
			u.Participants = append(u.Participants, d.info)
		}
	}
	for _, other := range rm.participants {
		u.Participants = append(u.Participants, other.describe())
	}
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Update{Update: u}})
	rm.speakers.repeat = true
}

// renew issues a token for a participant, unless it is being removed.
func (rm *room) renew(p *participant) (string, bool) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	if last, ok := rm.removed[p.Identity]; ok && p.number <= last {
		return "", false
	}
	token, err := rm.engine.Token(p.Grant)
	return token, err == nil
}

func (rm *room) remove(identity string, reason Reason) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.removed[identity] = rm.engine.tokens.Load()
	if p := rm.participants[identity]; p != nil {
		p.do(func() { p.leave(reason) })
	}
}

func (rm *room) leaveAll(reason Reason) {
	for _, p := range rm.everybody() {
		p.do(func() { p.leave(reason) })
	}
}

// close sends everybody away. The room takes nobody any more.
func (rm *room) close(reason Reason) {
	rm.mu.Lock()
	already := rm.closed
	rm.closed = true
	rm.mu.Unlock()
	if !already {
		close(rm.stop)
	}
	rm.leaveAll(reason)
}

// Intervals of what a room does by the clock.
const (
	tickEvery     = 100 * time.Millisecond // what depends on packets that do not come
	allocateEvery = 300 * time.Millisecond // who gets how much of a subscriber's downlink
	speakersEvery = 400 * time.Millisecond
	checkEvery    = time.Second // what has been broken for too long; sender reports
	qualityEvery  = 5 * time.Second
)

// run looks after the room until it is closed.
func (rm *room) run() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-rm.stop:
			return
		case <-ticker.C:
		}
		due := func(every time.Duration) bool { return n%int(every/tickEvery) == 0 }
		now, all := time.Now(), rm.everybody()
		for _, p := range all {
			for _, t := range p.liveTracks() {
				t.source.Tick(now)
			}
			if due(allocateEvery) {
				p.do(p.sub.allocate)
			}
			if due(checkEvery) {
				p.do(p.check)
			}
		}
		if due(speakersEvery) {
			rm.listen(all)
		}
		if due(qualityEvery) {
			rm.rate(all)
		}
	}
}

// describe is the room as clients see it.
func (rm *room) describe(participants int) *signal.Room {
	return &signal.Room{Sid: rm.sid, Name: rm.id, CreationTime: rm.opened.Unix(), CreationTimeMs: rm.opened.UnixMilli(),
		MaxParticipants: uint32(rm.most), NumParticipants: uint32(participants), EnabledCodecs: publishCodecs()}
}
