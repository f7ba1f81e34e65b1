package video

import (
	"context"
	"time"

	"parley/internal/actor"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
)

const (
	missedJob = "video.missed"
	tidyJob   = "video.tidy"
	tidyEvery = 30 * time.Second
	tidyBatch = 100
)

// room is a call whose room is open in this process's engine.
type room struct {
	call       Session   // as it was when the room was opened: for ids
	emptySince time.Time // zero while somebody is in it
	used       bool      // somebody was in it
}

// sessionRef names a call to a job.
type sessionRef struct {
	Org     string `json:"org"`
	Session string `json:"session"`
}

// openJobs hands what must happen to the bus: a call that nobody answers is missed, in whichever process is alive then.
func (s *Service) openJobs() {
	s.bus.Handle(missedJob, func(ctx context.Context, job bus.Job) error {
		var ref sessionRef
		if err := job.Decode(&ref); err != nil {
			return err
		}
		return s.end(ctx, ref.Org, ref.Session, Missed, func(c Session, now time.Time) bool { return c.State == Ringing && c.over(now) })
	})
	s.bus.Handle(tidyJob, func(ctx context.Context, _ bus.Job) error { return s.tidy(ctx) })
	s.bus.Every(tidyJob, tidyEvery)
	s.bus.Subscribe("video.room.", s.carryOut)
	s.bus.Subscribe("person.erased.", s.personErased)
	s.bus.Subscribe("account.session.revoked.", s.signInEnded)
	s.bus.Subscribe("chat.token.revoked.", s.signInEnded)
}

// Serve ends the calls that an earlier run of this process carried, then looks after the rooms of media until ctx ends. Without
// media calls are switched off. Call it before the first request and before the bus runs.
func (s *Service) Serve(ctx context.Context, media Media) error {
	s.media = media
	node := s.opt.Node
	if s.db.Engine() == db.SQLite {
		node = "" // one process has the file: whoever else carried a call is gone, whatever its name was
	}
	if err := s.unlessFull(ctx, s.endCarried(ctx, node)); err != nil {
		return err
	}
	if s.media != nil {
		go s.watch(ctx)
	}
	return nil
}

// Shutdown ends the calls that this process carries, and lets no further ones begin here. Call it before the sockets close, so
// that people are told, and before the engine is drained.
func (s *Service) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	err := s.unlessFull(ctx, s.endCarried(ctx, s.opt.Node))
	for _, r := range s.openRooms() { // the bus may have stopped already; and a call that rings has a room too
		s.closeRoom(r.call.ID, Shutdown)
	}
	return err
}

// unlessFull lets a full disk keep nobody from starting or stopping: the sweep ends those calls when there is space again.
func (s *Service) unlessFull(ctx context.Context, err error) error {
	if fault.Is(err, fault.Full) {
		s.log.WarnContext(ctx, "video: the disk is full: calls are ended in the database later", "op", "video.endCarried")
		return nil
	}
	return err
}

// endCarried ends the live calls of a process with the reason shutdown, or of all processes. What rings goes on ringing.
func (s *Service) endCarried(ctx context.Context, node string) error {
	for {
		var list []Session
		err := s.db.Read(ctx, "video.endCarried", func(tx *db.Tx) (err error) {
			list, err = carried(tx, node, tidyBatch)
			return err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, c := range list {
			if err := s.end(ctx, c.Org, c.ID, Shutdown, func(c Session, _ time.Time) bool { return c.State == Live }); err != nil {
				return err
			}
		}
	}
}

// end ends a call for a reason of the system's, if it still is as the rule wants it.
func (s *Service) end(ctx context.Context, org, id string, why Reason, rule func(c Session, now time.Time) bool) error {
	return s.db.Do(ctx, "video.end", func(tx *db.Tx) error {
		c, ok, err := lock(tx, org, "", id)
		if err != nil || !ok || !rule(c, tx.Now()) {
			return err
		}
		return s.finish(tx, &c, why)
	})
}

// tidy ends calls that nobody brings to an end any more.
func (s *Service) tidy(ctx context.Context) error {
	var list []Session
	err := s.db.Read(ctx, "video.tidy", func(tx *db.Tx) (err error) {
		list, err = overdue(tx, s.timing.Empty, tidyBatch)
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range list {
		why := Failed // answered, and nobody entered
		switch {
		case c.State == Ringing:
			why = Missed
		case c.node != "":
			why = Shutdown
		}
		err := s.end(ctx, c.Org, c.ID, why, func(now Session, at time.Time) bool {
			switch {
			case now.State != c.State || now.node != c.node:
				return false
			case c.State == Ringing:
				return now.over(at)
			case c.node != "":
				return now.aliveUntil.Before(at)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// openRoom opens the call's room in the engine, if it is not open yet.
func (s *Service) openRoom(c Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[c.ID] != nil {
		return nil
	}
	if err := s.media.Open(c.ID, s.limits.Participants); err != nil {
		return err
	}
	s.rooms[c.ID] = &room{call: c, emptySince: time.Now()}
	return nil
}

// closeRoom closes a room that is open in this process; others it does not know.
func (s *Service) closeRoom(id string, why Reason) {
	s.mu.Lock()
	_, open := s.rooms[id]
	delete(s.rooms, id)
	s.mu.Unlock()
	if open {
		s.media.Close(id, why)
	}
}

func (s *Service) roomOf(id string) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[id]
}

func (s *Service) openRooms() []*room {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		out = append(out, r)
	}
	return out
}

// Happened takes what the engine says. It may block; calls for one room come in the order in which things happened.
func (s *Service) Happened(ctx context.Context, ev MediaEvent) {
	r := s.roomOf(ev.Room)
	if r == nil { // the call is over: there is nothing to note
		return
	}
	ctx = actor.With(ctx, actor.Actor{Kind: actor.System, ID: "video", Org: r.call.Org})
	var err error
	switch ev.Kind {
	case MediaJoined:
		s.seen(r, true)
		err = s.noteJoined(ctx, r.call, ev.Identity)
	case MediaLeft:
		s.seen(r, s.media.Present(ev.Room) > 0)
		err = s.noteLeft(ctx, r.call, ev.Identity)
	case MediaClosed: // not by us, or it would not be among our rooms
		s.closeRoom(ev.Room, Failed)
		err = s.end(ctx, r.call.Org, ev.Room, Failed, func(c Session, _ time.Time) bool { return c.State == Live })
	}
	if err != nil {
		s.log.WarnContext(ctx, "video: an event of the engine was not noted", "op", "video.Happened", "code", fault.Of(err).Code)
	}
}

func (s *Service) noteJoined(ctx context.Context, room Session, identity string) error {
	var in bool
	err := s.db.Do(ctx, "video.noteJoined", func(tx *db.Tx) error {
		in = false
		c, p, err := s.participant(tx, room, identity)
		if err != nil || p == nil || c.State == Ended {
			return err
		}
		if in, err = setJoined(tx, c.Org, c.ID, identity); err != nil || !in {
			return err
		}
		s.passed(tx, c, *p, eventJoined)
		return nil
	})
	if err == nil && !in { // came with an entry that holds no longer
		s.media.Remove(room.ID, identity, Replaced)
	}
	return err
}

func (s *Service) noteLeft(ctx context.Context, room Session, identity string) error {
	return s.db.Do(ctx, "video.noteLeft", func(tx *db.Tx) error {
		c, p, err := s.participant(tx, room, identity)
		if err != nil || p == nil || !p.here() {
			return err
		}
		if ok, err := setLeft(tx, c.Org, c.ID, identity, Left); err != nil || !ok {
			return err
		}
		s.passed(tx, c, *p, eventLeft)
		return nil
	})
}

// participant locks the call and finds one of its participants; nil when there is none, or no call.
func (s *Service) participant(tx *db.Tx, room Session, identity string) (c Session, p *Participant, err error) {
	c, ok, err := lock(tx, room.Org, "", room.ID)
	if err != nil || !ok {
		return c, nil, err
	}
	if c.Participants, err = participants(tx, c.Org, c.ID); err != nil {
		return c, nil, err
	}
	for i := range c.Participants {
		if c.Participants[i].Identity == identity {
			return c, &c.Participants[i], nil
		}
	}
	return c, nil, nil
}

// watch looks at this process's rooms until ctx ends: one that stays empty ends its call, and a call that ended elsewhere, unheard,
// closes its room. While a room is open it says that this process is there.
func (s *Service) watch(ctx context.Context) {
	tick := time.NewTicker(s.timing.Tick)
	defer tick.Stop()
	var renewed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		rooms := s.openRooms()
		if len(rooms) == 0 {
			continue
		}
		s.endEmpty(ctx, rooms)
		if time.Since(renewed) >= s.timing.Lease/3 {
			s.renew(ctx, rooms)
			renewed = time.Now()
		}
	}
}

// seen notes whether somebody is in a room, and returns for how long nobody has been, and whether ever somebody was.
func (s *Service) seen(r *room, present bool) (empty time.Duration, used bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case present:
		r.used, r.emptySince = true, time.Time{}
		return 0, true
	case r.emptySince.IsZero():
		r.emptySince = time.Now()
	}
	return time.Since(r.emptySince), r.used
}

// endEmpty ends the live calls whose rooms have been empty for long enough.
func (s *Service) endEmpty(ctx context.Context, rooms []*room) {
	for _, r := range rooms {
		empty, used := s.seen(r, s.media.Present(r.call.ID) > 0)
		if empty < s.timing.Empty {
			continue
		}
		why := Failed
		if used {
			why = HungUp
		}
		err := s.end(ctx, r.call.Org, r.call.ID, why, func(c Session, now time.Time) bool {
			return c.State == Live && now.Sub(c.AnsweredAt) >= s.timing.Empty // who has just answered may still be choosing a camera
		})
		if err != nil {
			s.log.WarnContext(ctx, "video: an empty room was not closed", "op", "video.endEmpty", "code", fault.Of(err).Code)
		}
	}
}

// renew says that this process carries its calls, and closes the rooms of those that are over.
func (s *Service) renew(ctx context.Context, rooms []*room) {
	var open map[string]bool
	err := s.db.Do(ctx, "video.renew", func(tx *db.Tx) (err error) {
		open, err = renew(tx, s.opt.Node, tx.Now().Add(s.timing.Lease))
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "video: the calls of this process were not renewed", "op", "video.renew", "code", fault.Of(err).Code)
		return
	}
	for _, r := range rooms {
		if !open[r.call.ID] {
			s.closeRoom(r.call.ID, Shutdown)
		}
	}
}
