package account

import (
	"context"
	"crypto/rand"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// SetupStatus says whether somebody has yet to set this server up, and whether that takes the code in its log.
type SetupStatus struct{ Needed, CodeRequired bool }

// SetupStatus answers for the client in ctx.
func (s *Service) SetupStatus(ctx context.Context) (SetupStatus, error) {
	var st SetupStatus
	err := s.db.Read(ctx, "account.SetupStatus", func(tx *db.Tx) (err error) {
		st.Needed, err = setupNeeded(tx)
		return err
	})
	st.CodeRequired = st.Needed && !athome(ctx)
	return st, err
}

// athome reports whether a first run may do without the code: the client sits at this machine or its private network, and
// asked for it by such an address. A page on the web that got a name to point here did not, nor did a proxy that nobody declared.
func athome(ctx context.Context) bool {
	u, err := url.Parse(api.PublicURLOf(ctx))
	if err != nil || !api.Nearby(ctx) {
		return false
	}
	if loopbackName(u.Hostname()) {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsPrivate()
}

func loopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// codeLetters leaves out what is read for something else.
const codeLetters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

// PrepareFirstRun makes a setup code and writes it to the log, while nobody has set this server up; afterwards it does nothing and
// returns "". Each node prints its own; any of them does.
func (s *Service) PrepareFirstRun(ctx context.Context) (string, error) {
	const op = "account.PrepareFirstRun"
	code := newCode()
	var needed bool
	err := s.db.Do(ctx, op, func(tx *db.Tx) (err error) {
		if needed, err = setupNeeded(tx); err != nil || !needed {
			return err
		}
		return insertSetup(tx, hashCode(code), "", "", tx.Now().Add(CodeLife))
	})
	if err != nil || !needed {
		return "", err
	}
	s.log.InfoContext(ctx, "this server is not set up yet: open /app/ in a browser and enter the setup code", "setup_code", code)
	return code, nil
}

// newCode returns 60 random bits as XXXX-XXXX-XXXX.
func newCode() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	var out strings.Builder
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(codeLetters[int(c)%len(codeLetters)]) // 32 letters: no bias
	}
	return out.String()
}

// hashCode forgives what people do to codes when they copy them.
func hashCode(code string) string {
	code = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(strings.TrimSpace(code)))
	return hashToken("first-run" + code)
}

// FirstRun is what the first member gives.
type FirstRun struct{ Organisation, Name, Email, Password, Code string }

// FirstRunSetup makes the first organisation and its owner, who is signed in. Conflict (setup_done) when that has happened;
// Forbidden (setup_code_needed, setup_code_wrong) for clients from elsewhere without the code in the log.
func (s *Service) FirstRunSetup(ctx context.Context, in FirstRun) (actor.Actor, string, error) {
	const op = "account.FirstRunSetup"
	client := ctx
	ctx = system(ctx, catalog.Service)
	if err := s.mayFirstRun(client, op, in.Code); err != nil {
		return actor.Actor{}, "", err
	}
	org, err := cleanName(op, "organisation", in.Organisation)
	if err != nil {
		return actor.Actor{}, "", err
	}
	name, err := cleanName(op, "name", in.Name)
	if err != nil {
		return actor.Actor{}, "", err
	}
	if _, err := cleanEmail(op, in.Email); err != nil {
		return actor.Actor{}, "", err
	}
	if err := checkPassword(op, in.Password, in.Email, name, org); err != nil {
		return actor.Actor{}, "", err
	}
	hash, err := s.hasher.hash(ctx, in.Password)
	if err != nil {
		return actor.Actor{}, "", err
	}
	o := Org{ID: db.NewID(), Name: org}
	if err := s.vault.EnsureOrg(ctx, o.ID); err != nil {
		return actor.Actor{}, "", fault.Wrap(fault.Internal, op, err)
	}
	n, err := s.prepareMember(ctx, op, in.Email, name, vault.Provenance{Source: "self", Stage: "setup"})
	if err != nil {
		return actor.Actor{}, "", err
	}
	token := newToken()
	var a actor.Actor
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		a, err = s.firstRun(ctx, tx, o, n, hash, token)
		return err
	})
	return a, token, err
}

func (s *Service) firstRun(ctx context.Context, tx *db.Tx, o Org, n newMember, hash, token string) (actor.Actor, error) {
	done := fault.New(fault.Conflict, "account.FirstRunSetup", "setup_done", "Parley is already set up. Sign in instead.")
	needed, err := setupNeeded(tx)
	if err != nil {
		return actor.Actor{}, err
	}
	if first, err := finishSetup(tx); err != nil || !first || !needed {
		if err == nil {
			err = done
		}
		return actor.Actor{}, err
	}
	if err := deleteSetupCodes(tx); err != nil {
		return actor.Actor{}, err
	}
	o.CreatedAt = tx.Now()
	if err := insertOrg(tx, o); err != nil {
		return actor.Actor{}, err
	}
	have, err := ensureMember(tx, n)
	if err != nil {
		return actor.Actor{}, err
	}
	if err := setPassword(tx, have.id, hash); err != nil {
		return actor.Actor{}, err
	}
	if _, err := insertMembership(tx, o.ID, have.id, actor.Owner); err != nil {
		return actor.Actor{}, err
	}
	return s.begin(ctx, tx, have.id, o.ID, token, "install.set_up")
}

// mayFirstRun checks that the server is new and the client may set it up. Guesses at the code count like failed sign-ins.
func (s *Service) mayFirstRun(ctx context.Context, op, code string) error {
	addr, now := api.ClientAddrOf(ctx), s.now()
	needCode := !athome(ctx)
	if needCode && code != "" {
		if err := s.doors.enter(addr, now); err != nil {
			return err
		}
	}
	var needed, holds bool
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		if needed, err = setupNeeded(tx); err != nil {
			return err
		}
		holds, err = setupCodeHolds(tx, hashCode(code))
		return err
	})
	switch {
	case err != nil:
		return err
	case !needed:
		return fault.New(fault.Conflict, op, "setup_done", "Parley is already set up. Sign in instead.")
	case !needCode:
		return nil
	case code == "":
		return &fault.Error{Kind: fault.Forbidden, Op: op, Code: "setup_code_needed", Field: "code", Text: "Enter the setup code from the server's log."}
	case !holds:
		return &fault.Error{Kind: fault.Forbidden, Op: op, Code: "setup_code_wrong", Field: "code", Text: "That is not the setup code from the server's log."}
	}
	s.doors.succeed(addr, now)
	return nil
}

// InviteURL makes the link of an invitation. The token stands behind the #: browsers do not send it to any server or log.
func InviteURL(base, token string) string { return base + "/app/#/invite/" + token }

// Invitation is what its holder is shown before accepting.
type Invitation struct{ Email, Name, Organisation string }

// Invitation returns what a token invites to. NotFound (invitation_unknown) when it was used or has expired.
func (s *Service) Invitation(ctx context.Context, token string) (Invitation, error) {
	const op = "account.Invitation"
	ctx = system(ctx, catalog.Service)
	row, org, err := s.invited(ctx, op, token)
	if err != nil {
		return Invitation{}, err
	}
	in := Invitation{Organisation: org.Name}
	if in.Email, err = s.open(ctx, op, row.email, FieldEmail, row.id); err != nil {
		return Invitation{}, err
	}
	in.Name, err = s.open(ctx, op, row.name, FieldName, row.id)
	return in, err
}

func (s *Service) invited(ctx context.Context, op, token string) (row memberRow, org Org, err error) {
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		member, orgID, err := setupByToken(tx, hashToken(token))
		if err != nil {
			return err
		}
		if row, err = memberByID(tx, member); err != nil {
			return err
		}
		org, err = orgByID(tx, orgID)
		return err
	})
	return row, org, err
}

// AcceptInvitation gives the invited member a name and a password and signs them in. A token works once.
func (s *Service) AcceptInvitation(ctx context.Context, token, name, password string) (actor.Actor, string, error) {
	const op = "account.AcceptInvitation"
	ctx = system(ctx, catalog.Service)
	row, org, err := s.invited(ctx, op, token)
	if err != nil {
		return actor.Actor{}, "", err
	}
	if name, err = cleanName(op, "name", name); err != nil {
		return actor.Actor{}, "", err
	}
	words, err := s.wordsOf(ctx, op, row.id)
	if err != nil {
		return actor.Actor{}, "", err
	}
	if err := checkPassword(op, password, append(words, name)...); err != nil {
		return actor.Actor{}, "", err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return actor.Actor{}, "", err
	}
	sealed, err := s.vault.Seal(ctx, memberKey(row.id), FieldName, row.id, name, vault.Provenance{Source: "self", Stage: "invitation"})
	if err != nil {
		return actor.Actor{}, "", fault.Wrap(fault.Internal, op, err)
	}
	session := newToken()
	var a actor.Actor
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, _, err := setupByToken(tx, hashToken(token)); err != nil {
			return err
		}
		if used, err := useSetups(tx, row.id); err != nil {
			return err
		} else if !used {
			return fault.New(fault.NotFound, op, "invitation_unknown", "This invitation is not valid: it was used, withdrawn or has expired. Ask for a new one.")
		}
		if err := setPassword(tx, row.id, hash); err != nil {
			return err
		}
		if err := setName(tx, row.id, sealed); err != nil {
			return err
		}
		a, err = s.begin(ctx, tx, row.id, org.ID, session, "member.accepted_invitation")
		return err
	})
	s.names.forget()
	return a, session, err
}

// Reinvite makes a new invitation token for a member without a password and ends the earlier ones; "" when they have a password.
func (s *Service) Reinvite(ctx context.Context, org, member string) (string, error) {
	const op = "account.Reinvite"
	if err := mayManage(ctx, op, org); err != nil {
		return "", err
	}
	token, needed := newToken(), false
	err := s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, err := roleIn(tx, org, member); err != nil {
			return fault.New(fault.NotFound, op, "member_unknown", "There is no such member.")
		}
		row, err := memberByID(tx, member)
		if err != nil {
			return err
		}
		if needed = row.hash == ""; !needed {
			return nil
		}
		if _, err := useSetups(tx, member); err != nil {
			return err
		}
		if err := insertSetup(tx, hashToken(token), member, org, tx.Now().Add(InviteLife)); err != nil {
			return err
		}
		return audit(actor.With(ctx, scoped(ctx, org)), tx, "member.reinvited", member)
	})
	if err != nil || !needed {
		return "", err
	}
	return token, nil
}

func sortMembers(m []Member) {
	slices.SortFunc(m, func(a, b Member) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}
