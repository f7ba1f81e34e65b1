package video

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
)

// Pass lets its bearer into the room of a call.
type Pass struct {
	Room, Identity, Token string
	ExpiresAt             time.Time
}

// newIdentity returns what the engine calls a participant: 128 random bits that lead to nobody.
func newIdentity() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}

// Join lets the one who acts into a call that is live; the caller may already enter while it rings. They must have acknowledged the
// notice about camera and microphone (promise G16). Whoever is in the call already, on a page that was reloaded or on another
// device, is taken out there.
func (s *Service) Join(ctx context.Context, id string) (Pass, error) {
	const op = "video.Join"
	if err := s.ready(op); err != nil {
		return Pass{}, err
	}
	who, err := callerOf(ctx, op)
	if err != nil {
		return Pass{}, err
	}
	if _, err := s.Get(ctx, id); err != nil { // before the rest, which would tell that there is such a call
		return Pass{}, err
	}
	if err := allowed(op, s.joins.Key(who.key)); err != nil {
		return Pass{}, err
	}
	told, err := s.opt.Notices.Acknowledged(ctx, NoticeMedia)
	if err != nil {
		return Pass{}, err
	}
	if !told {
		return Pass{}, conflict(op, "notice_unacknowledged", "Read and acknowledge the notice about camera and microphone first.")
	}
	me := Participant{Identity: newIdentity(), Kind: who.side, Member: who.member, role: string(Publisher), signIn: who.signIn}
	c, err := s.turn(ctx, op, id, func(tx *db.Tx, who caller, c *Session) error {
		me.IssuedAt = tx.Now()
		return s.admit(ctx, tx, op, who, c, me)
	})
	if err != nil {
		return Pass{}, err
	}
	pass := Pass{Room: c.ID, Identity: me.Identity, ExpiresAt: me.IssuedAt.Add(TokenLife)}
	if pass.Token, err = s.enter(ctx, c, me); err != nil {
		return Pass{}, s.giveBack(ctx, c, me, err)
	}
	return pass, nil
}

// admit gives me a seat in the call.
func (s *Service) admit(ctx context.Context, tx *db.Tx, op string, who caller, c *Session, me Participant) error {
	switch {
	case c.over(tx.Now()), c.State == Ringing && !c.mine(who):
		return conflict(op, "call_not_live", "This call is not live.")
	case c.node != "" && c.node != s.opt.Node && (c.State == Live || tx.Now().Before(c.aliveUntil)):
		return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "call_elsewhere", RetryAfter: 5 * time.Second,
			Text: "Another process of this server carries the call, and this one cannot let you in."}
	}
	seats := 1
	for i, p := range c.Participants {
		switch {
		case p.is(who) && p.Departure == Removed:
			return fault.New(fault.Forbidden, op, "call_removed", "You were removed from this call.")
		case p.is(who) && (p.here() || p.Departure == Left):
			if err := s.depart(tx, c, i, Replaced); err != nil {
				return err
			}
		case p.here() && (!p.JoinedAt.IsZero() || tx.Now().Before(p.IssuedAt.Add(s.timing.Empty))):
			seats++ // one who never came keeps no seat for long
		}
	}
	if seats > s.limits.Participants {
		return conflict(op, "call_full", "This call has as many participants as it may.")
	}
	if err := setNode(tx, *c, s.opt.Node, tx.Now().Add(s.timing.Lease)); err != nil {
		return err
	}
	if err := insertParticipant(tx, *c, me); err != nil {
		return err
	}
	if who.side == Agent { // who enters hears and sees a visitor: it is recorded (promise B3)
		return s.opt.Account.AuditTx(ctx, tx, "video.call.joined", c.ID)
	}
	return nil
}

// enter opens the room, if it is not open yet, and makes the token.
func (s *Service) enter(ctx context.Context, c Session, me Participant) (string, error) {
	const op = "video.Join"
	if err := s.openRoom(c); err != nil {
		return "", err
	}
	// The call may have ended between the seat and the room, and nobody would close the room then.
	now, err := s.Get(ctx, c.ID)
	if err == nil && now.State == Ended {
		err = conflict(op, "call_not_live", "This call is not live.")
	}
	if err != nil {
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			s.closeRoom(c.ID, now.EndReason)
		}
		return "", err
	}
	return s.media.Token(Grant{Room: c.ID, Identity: me.Identity, Role: Publisher, Life: TokenLife})
}

// giveBack frees the seat of somebody who got no token. It returns why.
func (s *Service) giveBack(ctx context.Context, c Session, me Participant, why error) error {
	err := s.db.Do(context.WithoutCancel(ctx), "video.giveBack", func(tx *db.Tx) error {
		_, err := setLeft(tx, c.Org, c.ID, me.Identity, Left)
		return err
	})
	if err != nil { // the seat goes to somebody else in a minute anyway
		s.log.WarnContext(ctx, "video: a seat was not given back", "op", "video.giveBack", "code", fault.Of(err).Code)
	}
	return why
}

// depart takes the i-th participant out of the call: in the database now, in the engine after the commit.
func (s *Service) depart(tx *db.Tx, c *Session, i int, how Departure) error {
	p := &c.Participants[i]
	was := p.here() && !p.JoinedAt.IsZero()
	if _, err := setLeft(tx, c.Org, c.ID, p.Identity, how); err != nil {
		return err
	}
	if p.here() {
		p.LeftAt = tx.Now()
	}
	p.Departure = how
	s.dropped(tx, *c, *p, how)
	if was {
		s.passed(tx, *c, *p, eventLeft)
	}
	return nil
}

// Remove takes a participant out of a call for good. Owners and admins may; it is recorded.
func (s *Service) Remove(ctx context.Context, id, identity string) error {
	const op = "video.Remove"
	if err := mayManage(ctx, op); err != nil {
		return err
	}
	_, err := s.turn(ctx, op, id, func(tx *db.Tx, _ caller, c *Session) error {
		for i, p := range c.Participants {
			if p.Identity != identity {
				continue
			}
			if c.State == Ended || (p.Departure != "" && p.Departure != Left) {
				return nil // they are gone already, in a way that nobody comes back from
			}
			if err := s.depart(tx, c, i, Removed); err != nil {
				return err
			}
			return s.opt.Account.AuditTx(ctx, tx, "video.participant.removed", identity)
		}
		return fault.New(fault.NotFound, op, "participant_unknown", "There is no such participant in this call.")
	})
	return err
}
