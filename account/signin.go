package account

import (
	"context"
	"net/http"
	"slices"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// View is what a signed-in member is shown of themselves.
type View struct {
	Member        Person
	Organisation  Org
	Role          actor.Role
	Organisations []Org
}

// Person is a member with their address, for themselves.
type Person struct{ ID, Name, Email string }

// Session is a sign-in on one browser, as its member sees it.
type Session struct {
	ID                        string
	Current                   bool
	CreatedAt, SeenAt, EndsAt time.Time
}

// SignIn checks an address and a password and starts a session; the token goes into the cookie. Whether the address is
// unknown, has no password yet or the password is wrong, the answer is the same sign_in_failed after the same work.
// RateLimited (too_many_attempts) after addressAttempts failures in a row from one address, or accountAttempts for one account.
func (s *Service) SignIn(ctx context.Context, email, password string) (actor.Actor, string, error) {
	const op = "account.SignIn"
	ctx = system(ctx, catalog.Security)
	addr, now := api.ClientAddrOf(ctx), s.now()
	if err := s.doors.enter(addr, now); err != nil {
		return actor.Actor{}, "", err
	}
	n, err := s.indexed(ctx, op, normalEmail(clip(email)))
	if err != nil {
		s.doors.excuse(addr, now)
		return actor.Actor{}, "", err
	}
	have, err := s.attempt(ctx, op, n)
	if err != nil {
		if !fault.Is(err, fault.RateLimited) {
			s.doors.excuse(addr, now)
		}
		return actor.Actor{}, "", err
	}
	ok, stale, err := s.hasher.verify(ctx, password, have.hash)
	if err != nil {
		s.doors.excuse(addr, now)
		return actor.Actor{}, "", err
	}
	if !ok {
		return actor.Actor{}, "", fault.New(fault.Unauthenticated, op, "sign_in_failed", "E-mail or password is not right.")
	}
	fresh := ""
	if stale {
		if fresh, err = s.hasher.hash(ctx, password); err != nil {
			return actor.Actor{}, "", err
		}
	}
	token := newToken()
	var a actor.Actor
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		if err := clearAttempts(tx, subjectOf(n)); err != nil {
			return err
		}
		if fresh != "" {
			if err := setPassword(tx, have.id, fresh); err != nil {
				return err
			}
		}
		a, err = s.begin(ctx, tx, have.id, "", token, "member.signed_in")
		return err
	})
	if err != nil {
		return actor.Actor{}, "", err
	}
	s.doors.succeed(addr, now)
	return a, token, nil
}

// clip bounds what is hashed of an address that is too long to be one.
func clip(email string) string {
	if len(email) > 4*maxEmail {
		return email[:4*maxEmail]
	}
	return email
}

// subjectOf names an address in the table of attempts: a hash of its blind index, so that the two cannot be joined.
func subjectOf(n newMember) string { return hashToken("attempt" + string(n.indexes[0])) }

// attempt counts an attempt and reads the member, zero if there is none. Both happen for every address alike.
func (s *Service) attempt(ctx context.Context, op string, n newMember) (have memberRow, err error) {
	subject := subjectOf(n)
	var wait time.Duration
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		wait = 0
		row, err := memberByIndex(tx, n.indexes)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		have = row
		count, since, err := countAttempt(tx, subject, attemptWindow)
		if err != nil {
			return err
		}
		if count > accountAttempts {
			wait = since.Add(attemptWindow).Sub(tx.Now())
		}
		if count == accountAttempts+1 {
			return audit(ctx, tx, "member.sign_in_blocked", have.id)
		}
		return nil
	})
	if err == nil && wait > 0 {
		err = tooMany(wait)
	}
	return have, err
}

// begin starts a session in the organisation; without one in the member's last organisation, or the first one.
func (s *Service) begin(ctx context.Context, tx *db.Tx, member, org, token, action string) (actor.Actor, error) {
	if org == "" {
		last, err := lastOrg(tx, member)
		if err != nil {
			return actor.Actor{}, err
		}
		org = last
	}
	orgs, err := orgsOf(tx, member)
	if err != nil {
		return actor.Actor{}, err
	}
	if !slices.ContainsFunc(orgs, func(o Org) bool { return o.ID == org }) {
		org = ""
		if len(orgs) > 0 {
			org = orgs[0].ID
		}
	}
	a := actor.Actor{Kind: actor.Member, ID: member, Org: org, Session: db.NewID()}
	if org != "" {
		if a.Role, err = roleIn(tx, org, member); err != nil {
			return actor.Actor{}, err
		}
	}
	if err := insertSession(tx, a.Session, hashToken(token), member, org); err != nil {
		return actor.Actor{}, err
	}
	return a, audit(actor.With(ctx, a), tx, action, member)
}

// SignOut ends the session of a request, wherever it is in use. Without one it does nothing.
func (s *Service) SignOut(r *http.Request) error {
	a, _, err := s.Identify(r)
	if fault.Is(err, fault.Unauthenticated) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.EndSession(actor.For(actor.With(r.Context(), a), catalog.Security), a.Session)
}

// Sessions lists where the member in ctx is signed in, the newest first.
func (s *Service) Sessions(ctx context.Context) ([]Session, error) {
	const op = "account.Sessions"
	a, err := self(ctx, op)
	if err != nil {
		return nil, err
	}
	var rows []sessionRow
	err = s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		rows, err = sessionsOf(tx, a.ID)
		return err
	})
	out := make([]Session, 0, len(rows))
	for _, r := range rows {
		if now := s.now(); !now.Before(r.expiresAt) || now.Sub(r.seen) >= SessionIdle {
			continue
		}
		out = append(out, Session{ID: r.id, Current: r.id == a.Session, CreatedAt: r.created, SeenAt: r.seen, EndsAt: r.expiresAt})
	}
	return out, err
}

// EndSession ends one of the member's own sessions on every node. One that is not there is not an error.
func (s *Service) EndSession(ctx context.Context, id string) error {
	const op = "account.EndSession"
	a, err := self(ctx, op)
	if err != nil {
		return err
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		ended, err := deleteSession(tx, a.ID, id)
		if err != nil || !ended {
			return err
		}
		s.revoke(tx, Revocation{Member: a.ID, Session: id})
		return audit(ctx, tx, "member.signed_out", id)
	})
}

// self returns the member who acts.
func self(ctx context.Context, op string) (actor.Actor, error) {
	a := actor.From(ctx)
	if a.Kind != actor.Member {
		return a, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
	}
	return a, nil
}

// SwitchOrganisation moves the session in ctx to another organisation of the member, whose sockets reconnect there.
func (s *Service) SwitchOrganisation(ctx context.Context, org string) (actor.Actor, error) {
	const op = "account.SwitchOrganisation"
	a, err := self(ctx, op)
	if err != nil {
		return a, err
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		role, err := roleIn(tx, org, a.ID)
		if err != nil {
			return err
		}
		if err := setSessionOrg(tx, a.Session, org); err != nil {
			return err
		}
		a.Org, a.Role = org, role
		s.revoke(tx, Revocation{Member: a.ID, Session: a.Session})
		return audit(actor.With(ctx, a), tx, "member.switched_organisation", org)
	})
	return a, err
}

// Current shows the member in ctx who they are and where.
func (s *Service) Current(ctx context.Context) (View, error) {
	const op = "account.Current"
	a, err := self(ctx, op)
	if err != nil {
		return View{}, err
	}
	v := View{Role: a.Role}
	var row memberRow
	err = s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		if row, err = memberByID(tx, a.ID); err != nil {
			return err
		}
		v.Organisations, err = orgsOf(tx, a.ID)
		return err
	})
	if err != nil {
		return View{}, err
	}
	for _, o := range v.Organisations {
		if o.ID == a.Org {
			v.Organisation = o
		}
	}
	v.Member = Person{ID: a.ID}
	if v.Member.Email, err = s.open(ctx, op, row.email, FieldEmail, a.ID); err != nil {
		return View{}, err
	}
	v.Member.Name, err = s.open(ctx, op, row.name, FieldName, a.ID)
	return v, err
}

// open reads one value of a member, "" where there is none.
func (s *Service) open(ctx context.Context, op string, v vault.Sealed, field catalog.FieldID, member string) (string, error) {
	if v.Zero() {
		return "", nil
	}
	t, err := s.vault.Open(ctx, v.Bind(vault.Install, field, member))
	if err != nil {
		return "", fault.Wrap(fault.Internal, op, err)
	}
	return t.Text(), nil
}

// SetPassword gives a member a password and ends all of their sessions. The operator may, and the member themselves.
func (s *Service) SetPassword(ctx context.Context, member, password string) error {
	const op = "account.SetPassword"
	if a := actor.From(ctx); a.Kind != actor.System && (a.Kind != actor.Member || a.ID != member) {
		return fault.New(fault.NotFound, op, "member_unknown", "There is no such member.")
	}
	words, err := s.wordsOf(ctx, op, member)
	if err != nil {
		return err
	}
	if err := checkPassword(op, password, words...); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, err := memberByID(tx, member); err != nil {
			return err
		}
		if err := setPassword(tx, member, hash); err != nil {
			return err
		}
		if _, err := useSetups(tx, member); err != nil {
			return err
		}
		if err := deleteSessions(tx, member); err != nil {
			return err
		}
		s.revoke(tx, Revocation{Member: member})
		return audit(ctx, tx, "member.password_set", member)
	})
}

// wordsOf returns what a member's password must not be built from.
func (s *Service) wordsOf(ctx context.Context, op, member string) ([]string, error) {
	ctx = system(ctx, catalog.Security)
	var row memberRow
	var orgs []Org
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		if row, err = memberByID(tx, member); err != nil {
			return err
		}
		orgs, err = orgsOf(tx, member)
		return err
	})
	if err != nil {
		return nil, err
	}
	email, err := s.open(ctx, op, row.email, FieldEmail, member)
	if err != nil {
		return nil, err
	}
	name, err := s.open(ctx, op, row.name, FieldName, member)
	words := []string{email, name}
	for _, o := range orgs {
		words = append(words, o.Name)
	}
	return words, err
}

// SetName gives a member a name, for seeding and for the member themselves.
func (s *Service) SetName(ctx context.Context, member, name string) error {
	const op = "account.SetName"
	if a := actor.From(ctx); a.Kind != actor.System && (a.Kind != actor.Member || a.ID != member) {
		return fault.New(fault.NotFound, op, "member_unknown", "There is no such member.")
	}
	name, err := cleanName(op, "name", name)
	if err != nil {
		return err
	}
	sealed, err := s.vault.Seal(ctx, memberKey(member), FieldName, member, name, vault.Provenance{Source: "self", Stage: "profile"})
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, err := memberByID(tx, member); err != nil {
			return err
		}
		return setName(tx, member, sealed)
	})
	s.names.forget()
	return err
}
