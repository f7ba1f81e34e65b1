package video

import (
	"context"
	"regexp"
	"slices"
	"time"

	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
)

var clientIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Start rings the other side of a conversation. The same client id again returns the call that it started, and false. A
// conversation has one call at a time: Conflict (call_busy) names the one that is running.
func (s *Service) Start(ctx context.Context, conversation, clientID string, medium Medium) (Session, bool, error) {
	const op = "video.Start"
	if err := s.ready(op); err != nil {
		return Session{}, false, err
	}
	who, err := callerOf(ctx, op)
	if err != nil {
		return Session{}, false, err
	}
	if !clientIDForm.MatchString(clientID) {
		return Session{}, false, fault.Bad(op, "client_id", "client_id_invalid", "A client id has 1 to 64 letters, digits, dots, dashes or underscores; best a UUID.")
	}
	if medium != WithVideo && medium != AudioOnly {
		return Session{}, false, fault.Bad(op, "media", "media_unknown", "A call begins with video or audio.")
	}
	p, err := s.opt.Conversations.Party(ctx, conversation)
	if err != nil {
		return Session{}, false, err
	}
	wanted := Session{Org: p.Org, ID: db.NewID(), Conversation: p.Conversation, Person: p.Person, State: Ringing, Medium: medium,
		StartedBy: p.Side, Starter: p.Member, ClientID: clientID}
	var c Session
	var fresh bool
	err = s.db.Do(ctx, op, func(tx *db.Tx) (err error) {
		var ok bool
		fresh = false
		if c, ok, err = startedBefore(tx, op, wanted); err != nil || ok {
			return err
		}
		if who.side == Visitor {
			if err := allowed(op, s.starts.Key(who.key)); err != nil {
				return err
			}
			// Visitors cost nothing to make: one address has no more than an office's share, so that it cannot take all of MaxOpen.
			if err := allowed(op, s.phones.Address(api.ClientAddrOf(ctx))); err != nil {
				return err
			}
		}
		fresh, err = s.insert(tx, op, &c)
		return err
	})
	if fault.Is(err, fault.Internal) { // the visitor was erased meanwhile: there is nobody to call
		if _, gone := s.opt.Conversations.Party(ctx, conversation); gone != nil {
			err = gone
		}
	}
	return c, fresh, err
}

// startedBefore returns the call that the same side started with the same client id.
func startedBefore(tx *db.Tx, op string, c Session) (Session, bool, error) {
	have, ok, err := sessionByClient(tx, c.Org, c.Conversation, c.ClientID)
	if err != nil || !ok {
		return c, false, err
	}
	if have.StartedBy != c.StartedBy || have.Starter != c.Starter {
		return c, false, conflict(op, "client_id_used", "This client id was used before, for something else. Use a new one.")
	}
	have.Participants, err = participants(tx, have.Org, have.ID)
	return have, true, err
}

// insert stores c and lets it ring. Of two that call at the same moment one is stored. False: c is what the same client asked for
// a moment ago.
func (s *Service) insert(tx *db.Tx, op string, c *Session) (fresh bool, err error) {
	if same, err := s.makeRoom(tx, op, c); err != nil || same {
		return false, err
	}
	c.CreatedAt, c.RingUntil = tx.Now(), tx.Now().Add(s.timing.Ring)
	stored, err := insertSession(tx, *c)
	if err != nil {
		return false, err
	}
	if !stored { // somebody else was first
		have, _, err := lockRunning(tx, c.Org, c.Conversation)
		if err == nil {
			err = busy(tx, op, c, have)
		}
		return false, err
	}
	if err := s.bus.Enqueue(tx, missedJob, sessionRef{c.Org, c.ID}, bus.RunAt(c.RingUntil), bus.Unique(c.Org+"/"+c.ID)); err != nil {
		return false, err
	}
	s.announce(tx, *c)
	return true, nil
}

// makeRoom refuses a call where there is one already, or too many; one that should have been missed by now is. True: the call that
// is there is the same one.
func (s *Service) makeRoom(tx *db.Tx, op string, c *Session) (same bool, err error) {
	have, ok, err := lockRunning(tx, c.Org, c.Conversation)
	if err != nil {
		return false, err
	}
	if ok && (have.State != Ringing || !have.over(tx.Now())) {
		return true, busy(tx, op, c, have)
	}
	if ok {
		if err := s.finish(tx, &have, Missed); err != nil {
			return false, err
		}
	}
	if c.StartedBy == Agent { // members are few and known: visitors who ring do not keep them from calling
		return false, nil
	}
	n, err := countRunning(tx, c.Org, s.limits.Open)
	if err == nil && n >= s.limits.Open {
		err = fault.Retry(op, "too_many_open_calls", "This organisation has as many calls as it may at one time.", 30*time.Second)
	}
	return false, err
}

// busy is the error for c where have is running, unless the same client asked for have a moment ago: then c becomes it.
func busy(tx *db.Tx, op string, c *Session, have Session) error {
	first, ok, err := startedBefore(tx, op, *c)
	if err != nil {
		return err
	}
	if ok {
		*c = first
		return nil
	}
	return &fault.Error{Kind: fault.Conflict, Op: op, Code: "call_busy", Object: have.ID, Text: "There is a call in this conversation already."}
}

// turn is one use case on one call: the row is locked, so whoever comes at the same moment waits and sees the outcome.
func (s *Service) turn(ctx context.Context, op, id string, rule func(tx *db.Tx, who caller, c *Session) error) (c Session, err error) {
	who, err := callerOf(ctx, op)
	if err != nil {
		return c, err
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		var ok bool
		if c, ok, err = lock(tx, who.org, who.person, id); err != nil {
			return err
		}
		if !ok {
			return unknown(op)
		}
		if c.Participants, err = participants(tx, c.Org, c.ID); err != nil {
			return err
		}
		return rule(tx, who, &c)
	})
	return c, err
}

// over reports whether nothing can be done with the call any more, though its end may not have been written yet.
func (c *Session) over(now time.Time) bool {
	return c.State == Ended || (c.State == Ringing && !now.Before(c.RingUntil))
}

// mine reports whether the call was started by the one who acts: the visitor, or that member.
func (c *Session) mine(who caller) bool { return c.StartedBy == who.side && c.Starter == who.member }

// takesPart reports whether the one who acts started, answered or entered the call.
func (c *Session) takesPart(who caller) bool {
	return c.Person == who.person || (who.member != "" && (c.Starter == who.member || c.Answerer == who.member)) ||
		slices.ContainsFunc(c.Participants, func(p Participant) bool { return p.is(who) })
}

func (p Participant) is(who caller) bool { return p.Kind == who.side && p.Member == who.member }

// here reports whether the participant is in the call, or on the way in.
func (p Participant) here() bool { return p.LeftAt.IsZero() }

func callEnded(op string) error { return conflict(op, "call_ended", "This call is over.") }

func taken(op string) error {
	return conflict(op, "call_taken", "Somebody else has answered this call. You may still join it.")
}

func notYours(op, text string) error { return fault.New(fault.Forbidden, op, "call_not_yours", text) }

// Accept answers a call. Only the other side can; the first of several agents does, and later ones get Conflict (call_taken).
func (s *Service) Accept(ctx context.Context, id string) (Session, error) {
	const op = "video.Accept"
	if err := s.ready(op); err != nil {
		return Session{}, err
	}
	return s.turn(ctx, op, id, func(tx *db.Tx, who caller, c *Session) error {
		switch {
		case c.StartedBy == who.side:
			return notYours(op, "Your side is calling: the other side answers.")
		case c.over(tx.Now()):
			return callEnded(op)
		case c.State == Live && c.Answerer == who.member:
			return nil // the answer to the first time got lost
		case c.State == Live:
			return taken(op)
		}
		c.State, c.AnsweredAt, c.Answerer = Live, tx.Now(), who.member
		if ok, err := setLive(tx, *c); err != nil || !ok {
			return wrong(op, err)
		}
		s.announce(tx, *c)
		return nil
	})
}

// wrong is the error of a change that the lock should have made certain.
func wrong(op string, err error) error {
	if err == nil {
		err = fault.New(fault.Internal, op, "call_state", "the call is not as it was a moment ago")
	}
	return err
}

// Decline refuses a call that rings. Only the other side can.
func (s *Service) Decline(ctx context.Context, id string) (Session, error) {
	const op = "video.Decline"
	return s.turn(ctx, op, id, func(tx *db.Tx, who caller, c *Session) error {
		switch {
		case c.StartedBy == who.side:
			return notYours(op, "Your side is calling. Cancel the call instead.")
		case c.State == Ended:
			return nil
		case c.State == Live:
			return taken(op)
		}
		return s.finish(tx, c, Declined)
	})
}

// End ends a call for everybody: cancelled by the caller while it rings, hung up by whoever takes part once it is live. The side
// that is called and does not want to be declines by it. Ending it twice is not an error.
func (s *Service) End(ctx context.Context, id string) (Session, error) {
	const op = "video.End"
	return s.turn(ctx, op, id, func(tx *db.Tx, who caller, c *Session) error {
		switch {
		case c.State == Ended:
			return nil
		case c.State == Ringing && c.mine(who):
			return s.finish(tx, c, Cancelled)
		case c.State == Ringing && c.StartedBy != who.side:
			return s.finish(tx, c, Declined)
		case c.State == Live && c.takesPart(who):
			return s.finish(tx, c, HungUp)
		}
		return notYours(op, "Only who takes part in a call ends it. Owners and admins may force its end.")
	})
}

// Leave takes the one who acts out of the call. It goes on among the others, as long as somebody of their own side
// stays; the other side may come back.
func (s *Service) Leave(ctx context.Context, id string) (Session, error) {
	const op = "video.Leave"
	return s.turn(ctx, op, id, func(tx *db.Tx, who caller, c *Session) error {
		if c.State == Ended {
			return nil
		}
		for i, p := range c.Participants {
			if p.is(who) && p.here() {
				if err := s.depart(tx, c, i, Left); err != nil {
					return err
				}
			}
		}
		if c.State == Live && c.takesPart(who) && !c.stays(who, tx.Now(), s.timing.Empty) {
			return s.finish(tx, c, HungUp)
		}
		return nil
	})
}

// stays reports whether the side of the one who leaves is still in the call: somebody else of it is here, or was let in a moment ago
// and may be about to come. The other side is not asked: who lost the connection may come back, and an empty room ends by itself.
func (c *Session) stays(leaving caller, now time.Time, patience time.Duration) bool {
	came := false
	for _, p := range c.Participants {
		if p.Kind == leaving.side {
			if p.here() {
				return true
			}
			came = true
		}
	}
	// The visitor, and the agent who called or answered, are those who would be awaited.
	awaited := leaving.side == Visitor || c.Answerer == leaving.member || c.Starter == leaving.member
	return !came && !awaited && now.Before(c.AnsweredAt.Add(patience))
}

// ForceEnd ends a call that the member has no part in. Owners and admins may; it is recorded.
func (s *Service) ForceEnd(ctx context.Context, id string) (Session, error) {
	const op = "video.ForceEnd"
	if err := mayManage(ctx, op); err != nil {
		return Session{}, err
	}
	return s.turn(ctx, op, id, func(tx *db.Tx, _ caller, c *Session) error {
		if c.State == Ended {
			return nil
		}
		if err := s.finish(tx, c, Forced); err != nil {
			return err
		}
		return s.opt.Account.AuditTx(ctx, tx, "video.call.forced", c.ID)
	})
}

// Get returns one call.
func (s *Service) Get(ctx context.Context, id string) (c Session, err error) {
	const op = "video.Get"
	who, err := callerOf(ctx, op)
	if err != nil {
		return c, err
	}
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		var ok bool
		if c, ok, err = sessionByID(tx, who.org, who.person, id); err != nil {
			return err
		}
		if !ok {
			return unknown(op)
		}
		c.Participants, err = participants(tx, c.Org, c.ID)
		return err
	})
	return c, err
}

// History returns the latest calls of a conversation, newest first.
func (s *Service) History(ctx context.Context, conversation string) (list []Session, err error) {
	p, err := s.opt.Conversations.Party(ctx, conversation)
	if err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, "video.History", func(tx *db.Tx) error {
		if list, err = ofConversation(tx, p.Org, p.Conversation, history); err != nil {
			return err
		}
		return attach(tx, list)
	})
	return list, err
}

// Running returns the calls of the organisation that ring or are live, newest first. Only members may ask.
func (s *Service) Running(ctx context.Context) (list []Session, err error) {
	const op = "video.Running"
	who, err := callerOf(ctx, op)
	if err != nil {
		return nil, err
	}
	if who.side != Agent {
		return nil, fault.New(fault.Forbidden, op, "members_only", "Only members of the organisation may do this.")
	}
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		if list, err = running(tx, who.org, s.limits.Open); err != nil {
			return err
		}
		return attach(tx, list)
	})
	return list, err
}
