package video

import (
	"context"
	"encoding/json"
	"time"

	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
)

// The types of event on the socket; docs/protocol.md describes their data.
const (
	eventChanged = "video.session.changed.v1"
	eventJoined  = "video.participant.joined.v1"
	eventLeft    = "video.participant.left.v1"
)

// The events on the bus, by which the process that carries a call hears what another one decided. Ids only.
const (
	busOver    = "video.room.over.v1"
	busDropped = "video.room.dropped.v1"
)

// changedData is what clients hear of a call; they get the rest by its id.
type changedData struct {
	Session      string    `json:"session"`
	Conversation string    `json:"conversation"`
	State        State     `json:"state"`
	Media        Medium    `json:"media"`
	StartedBy    Side      `json:"started_by"`
	RingUntil    time.Time `json:"ring_until"`
	EndReason    Reason    `json:"end_reason,omitempty"`
}

// passedData is what clients hear of somebody who came or went.
type passedData struct {
	Session      string `json:"session"`
	Conversation string `json:"conversation"`
	Identity     string `json:"identity"`
	Kind         Side   `json:"kind"`
	Member       string `json:"member,omitempty"`
}

// told makes an event for everybody whom a call concerns: those in the conversation, and those whom it rings.
func (c *Session) told(typ string, data any) Event {
	e := Event{Org: c.Org, Type: typ, Conversation: c.Conversation, Data: data}
	if c.StartedBy == Visitor {
		e.Agents = true
	} else {
		e.Person = c.Person
	}
	return e
}

// announce tells, after the commit, how the call is now.
func (s *Service) announce(tx *db.Tx, c Session) {
	tx.After(func() { s.tell(c) })
}

func (s *Service) tell(c Session) {
	s.opt.Conversations.Publish(c.told(eventChanged, changedData{Session: c.ID, Conversation: c.Conversation, State: c.State, Media: c.Medium,
		StartedBy: c.StartedBy, RingUntil: c.RingUntil, EndReason: c.EndReason}))
}

// passed tells, after the commit, that somebody came or went.
func (s *Service) passed(tx *db.Tx, c Session, p Participant, typ string) {
	e := c.told(typ, passedData{Session: c.ID, Conversation: c.Conversation, Identity: p.Identity, Kind: p.Kind, Member: p.Member})
	tx.After(func() { s.opt.Conversations.Publish(e) })
}

// finish ends the call, tells everybody, and has the room closed wherever it is.
func (s *Service) finish(tx *db.Tx, c *Session, why Reason) error {
	c.EndedAt, c.EndReason = tx.Now(), why
	if ok, err := setEnded(tx, *c); err != nil || !ok {
		return wrong("video.finish", err)
	}
	c.State = Ended
	if err := allLeft(tx, *c); err != nil {
		return err
	}
	for i := range c.Participants {
		if p := &c.Participants[i]; p.here() {
			p.LeftAt, p.Departure = tx.Now(), Over
		}
	}
	s.emit(tx, busOver, order{Org: c.Org, Session: c.ID, Why: string(why)})
	s.announce(tx, *c)
	return nil
}

// dropped has a participant taken out of the room, wherever it is.
func (s *Service) dropped(tx *db.Tx, c Session, p Participant, how Departure) {
	s.emit(tx, busDropped, order{Org: c.Org, Session: c.ID, Identity: p.Identity, Why: string(how)})
}

// order is what the process that has the room is to do.
type order struct {
	Org      string `json:"org"`
	Session  string `json:"session"`
	Identity string `json:"identity,omitempty"`
	Why      string `json:"why"`
}

func (s *Service) emit(tx *db.Tx, typ string, o order) {
	data, err := json.Marshal(o)
	if err != nil { // strings always marshal
		return
	}
	s.bus.Emit(tx, bus.Event{ID: db.NewID(), Type: typ, Org: o.Org, Time: tx.Now(), Data: data})
}

// carryOut does in this process's engine what was decided, here or in another process.
func (s *Service) carryOut(_ context.Context, ev bus.Event) {
	var o order
	if err := json.Unmarshal(ev.Data, &o); err != nil {
		s.log.Error("video: event not readable", "type", ev.Type)
		return
	}
	switch ev.Type {
	case busOver:
		s.closeRoom(o.Session, Reason(o.Why))
	case busDropped:
		if s.roomOf(o.Session) != nil {
			s.media.Remove(o.Session, o.Identity, Departure(o.Why))
		}
	}
}

// personErased ends what an erased visitor still has open in this process: the rows are gone already.
func (s *Service) personErased(_ context.Context, ev bus.Event) {
	var data struct {
		Person string `json:"person"`
	}
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		s.log.Error("video: event not readable", "type", ev.Type)
		return
	}
	for _, r := range s.openRooms() {
		if r.call.Org == ev.Org && r.call.Person == data.Person {
			c := r.call
			c.State, c.EndReason = Ended, Forced
			s.closeRoom(c.ID, Forced)
			s.tell(c)
		}
	}
}

// signInEnded takes whoever came with a sign-in that has ended out of the calls that this process carries: a lost laptop goes on
// hearing nobody. One that moved to another organisation has ended here too. Without a session all of the member's ended: they were
// removed, or their role or password changed.
func (s *Service) signInEnded(ctx context.Context, ev bus.Event) {
	var data struct {
		Member  string `json:"member"`
		Person  string `json:"person"`
		Session string `json:"session"`
	}
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		s.log.Error("video: event not readable", "type", ev.Type)
		return
	}
	side := Agent
	if data.Person != "" {
		side = Visitor
	}
	for _, r := range s.openRooms() {
		if side == Visitor && (r.call.Org != ev.Org || r.call.Person != data.Person) {
			continue
		}
		err := s.db.Do(ctx, "video.signInEnded", func(tx *db.Tx) error {
			c, ok, err := lock(tx, r.call.Org, "", r.call.ID)
			if err != nil || !ok || c.State == Ended {
				return err
			}
			if c.Participants, err = participants(tx, c.Org, c.ID); err != nil {
				return err
			}
			for i, p := range c.Participants {
				if p.Kind == side && p.Member == data.Member && (data.Session == "" || p.signIn == data.Session) && (p.here() || p.Departure == Left) {
					if err := s.depart(tx, &c, i, Left); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			s.log.ErrorContext(ctx, "video: somebody may still be in a call", "op", "video.signInEnded", "code", fault.Of(err).Code)
		}
	}
}
