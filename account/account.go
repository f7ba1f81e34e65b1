// Package account knows who works in an organisation: organisations, members and their roles, projects (API keys),
// sign-in, sessions and the audit log.
//
// Members are installation-wide and may belong to several organisations. Their names and addresses are sealed under
// their own keys; passwords are argon2id hashes, tokens SHA-256 hashes. The package sends nothing to anybody: an
// invitation is a one-time link that whoever made it passes on. It knows nothing of the people an organisation talks with.
package account

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// How long things live.
const (
	SessionIdle = 12 * time.Hour   // a session ends when it is not used for so long
	SessionLife = 7 * catalog.Day  // and at the latest after this
	InviteLife  = 7 * catalog.Day  // an invitation link
	CodeLife    = 30 * catalog.Day // a first-run code; a restart prints a new one
	AuditLife   = 2 * catalog.Year // audit entries
	seenEvery   = time.Minute      // seen_at is written at most so often
	cacheFor    = 10 * time.Second // a session is read again after this, whatever was announced
	nameFor     = 5 * time.Second  // as long as an open key may be cached: an erased name is gone everywhere after this
	maxName     = 200              // characters
	maxEmail    = 254              // bytes
)

// Org is an organisation.
type Org struct {
	ID, Name  string
	CreatedAt time.Time
}

// Member is somebody who works in an organisation, as its other members see them.
type Member struct {
	ID     string
	Name   string // "" until the invitation is accepted
	Role   actor.Role
	Online bool
}

// Project is an API key. Secret is filled in only where it was just made or asked for.
type Project struct {
	Org, ID   string
	APIKey    int64 // at least 8 digits
	Secret    string
	Name      string
	CreatedAt time.Time
}

// Revocation says whose sessions ended or changed. Without Session all of the member's did.
type Revocation struct {
	Member  string `json:"member"`
	Session string `json:"session,omitempty"`
}

// Announcer tells every node, after tx commits, that sessions are to be read again; each calls Service.Forget.
type Announcer interface {
	Announce(tx *db.Tx, r Revocation)
}

// Dropper disconnects sockets, on every node. An empty session means all of the actor's.
type Dropper interface {
	Drop(kind actor.Kind, id, session string)
}

// Presence says which members have a socket open.
type Presence interface {
	Online(ctx context.Context, members []string) (map[string]bool, error)
}

// Links are the parts above that account wants something of. Each may be nil.
type Links struct {
	Announcer Announcer
	Dropper   Dropper
	Presence  Presence
}

// Options configure a Service. DB and Vault are required.
type Options struct {
	DB     *db.DB
	Vault  *vault.Vault
	Dir    string // where audit entries wait while the disk is full; "" refuses what cannot be audited then
	Logger *slog.Logger
	Now    func() time.Time
}

// Service is all that the domain does. Its methods check what the actor in ctx may do.
type Service struct {
	db     *db.DB
	vault  *vault.Vault
	log    *slog.Logger
	now    func() time.Time
	links  Links
	cache  *sessionCache
	names  *nameCache
	doors  *throttle // by address
	hasher *hasher
	spill  *spill
}

// New makes the service; it reads what an earlier run left in Dir. Link and Migrations come before the first use.
func New(opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Service{db: opt.DB, vault: opt.Vault, log: opt.Logger, now: opt.Now,
		cache: newSessionCache(), names: newNameCache(), doors: newThrottle(addressAttempts, attemptWindow), hasher: newHasher()}
	if opt.Dir != "" {
		sp, err := openSpill(opt.Dir)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, "account.New", err)
		}
		s.spill = sp
	}
	return s, nil
}

// Link hands over the parts that are made after the service. Call it before serving.
func (s *Service) Link(l Links) { s.links = l }

// Close releases the spill file.
func (s *Service) Close() error {
	if s.spill == nil {
		return nil
	}
	return s.spill.close()
}

// system is the context in which the package itself reads what it needs before it knows who acts.
func system(ctx context.Context, p catalog.Purpose) context.Context {
	return actor.AsSystem(ctx, "account", "", p)
}

func memberKey(id string) vault.Key { return vault.Key{Org: vault.Install, Kind: "member", ID: id} }

// mayManage allows the operator, and the organisation's owners and admins.
func mayManage(ctx context.Context, op, org string) error {
	a := actor.From(ctx)
	switch {
	case a.Kind == actor.System:
		return nil
	case a.Kind != actor.Member || a.Org != org:
		return fault.New(fault.NotFound, op, "organisation_unknown", "You do not belong to this organisation.")
	case !a.Role.Manages():
		return fault.New(fault.Forbidden, op, "role_needed", "This needs the role owner or admin.")
	}
	return nil
}

// mayRead is the vault's rule, for names that are served from memory: somebody acts, for a purpose that members' data may be read for.
func mayRead(ctx context.Context, op string) error {
	if actor.From(ctx).Zero() || !slices.Contains(memberTable.Purposes, actor.PurposeOf(ctx)) {
		return fault.New(fault.Forbidden, op, "purpose", "Names are read by somebody, for a declared purpose.")
	}
	return nil
}

func onlySystem(ctx context.Context, op string) error {
	if actor.From(ctx).Kind != actor.System {
		return fault.New(fault.Forbidden, op, "forbidden", "Only the operator may do this.")
	}
	return nil
}

// CreateOrg makes an organisation with its key. Only the operator (actor.System) may.
func (s *Service) CreateOrg(ctx context.Context, name string) (Org, error) {
	const op = "account.CreateOrg"
	if err := onlySystem(ctx, op); err != nil {
		return Org{}, err
	}
	name, err := cleanName(op, "organisation", name)
	if err != nil {
		return Org{}, err
	}
	org := Org{ID: db.NewID(), Name: name}
	if err := s.vault.EnsureOrg(ctx, org.ID); err != nil {
		return Org{}, fault.Wrap(fault.Internal, op, err)
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		org.CreatedAt = tx.Now()
		if err := insertOrg(tx, org); err != nil {
			return err
		}
		return audit(actor.With(ctx, scoped(ctx, org.ID)), tx, "org.created", org.ID)
	})
	return org, err
}

// scoped is the actor in ctx, acting in the organisation.
func scoped(ctx context.Context, org string) actor.Actor {
	a := actor.From(ctx)
	a.Org = org
	return a
}

// Organisation returns an organisation that the actor belongs to.
func (s *Service) Organisation(ctx context.Context, org string) (Org, error) {
	const op = "account.Organisation"
	if a := actor.From(ctx); a.Kind != actor.System && a.Org != org {
		return Org{}, fault.New(fault.NotFound, op, "organisation_unknown", "You do not belong to this organisation.")
	}
	var o Org
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		o, err = orgByID(tx, org)
		return err
	})
	return o, err
}

// Orgs returns all organisations, for the operator.
func (s *Service) Orgs(ctx context.Context) (out []Org, err error) {
	const op = "account.Orgs"
	if err := onlySystem(ctx, op); err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		out, err = allOrgs(tx)
		return err
	})
	return out, err
}

// CreateMember invites somebody into an organisation. The token goes into a link (InviteURL) and is shown this once; it is
// "" when they already have a password, from another organisation: then they find the new one after signing in.
// Conflict (member_exists) when they belong to the organisation. Only an owner or the operator makes owners.
func (s *Service) CreateMember(ctx context.Context, org, email string, role actor.Role) (Member, string, error) {
	const op = "account.CreateMember"
	if err := mayManage(ctx, op, org); err != nil {
		return Member{}, "", err
	}
	if !role.Valid() {
		return Member{}, "", fault.Bad(op, "role", "role_unknown", "The role is one of owner, admin and agent.")
	}
	if a := actor.From(ctx); role == actor.Owner && a.Kind == actor.Member && a.Role != actor.Owner {
		return Member{}, "", fault.New(fault.Forbidden, op, "role_needed", "Only an owner makes owners.")
	}
	n, err := s.prepareMember(ctx, op, email, "", vault.Provenance{Source: "organisation", Stage: "invitation"})
	if err != nil {
		return Member{}, "", err
	}
	token, invite := newToken(), false
	m := Member{Role: role}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, err := orgByID(tx, org); err != nil {
			return err
		}
		have, err := ensureMember(tx, n)
		if err != nil {
			return err
		}
		m.ID, invite = have.id, have.hash == ""
		if fresh, err := insertMembership(tx, org, have.id, role); err != nil {
			return err
		} else if !fresh {
			return fault.New(fault.Conflict, op, "member_exists", "Somebody with this e-mail address already belongs to the organisation.")
		}
		if invite {
			if err := insertSetup(tx, hashToken(token), have.id, org, tx.Now().Add(InviteLife)); err != nil {
				return err
			}
		}
		return audit(actor.With(ctx, scoped(ctx, org)), tx, "member.created", have.id)
	})
	if err != nil {
		return Member{}, "", err
	}
	if !invite {
		token = ""
	}
	return m, token, nil
}

// newMember is a member ready to insert: everything that needs the vault is done.
type newMember struct {
	id      string
	email   vault.Sealed
	indexes [][]byte // of every live version, the current first
	name    vault.Sealed
}

// prepareMember finds the member with the address, or makes a key and seals a new one under it.
func (s *Service) prepareMember(ctx context.Context, op, email, name string, p vault.Provenance) (newMember, error) {
	email, err := cleanEmail(op, email)
	if err != nil {
		return newMember{}, err
	}
	n, err := s.indexed(ctx, op, email)
	if err != nil {
		return n, err
	}
	var have memberRow
	err = s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		have, err = memberByIndex(tx, n.indexes)
		return err
	})
	if err == nil {
		n.id = have.id
		return n, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return n, err
	}
	n.id = db.NewID()
	if err := s.vault.Create(ctx, memberKey(n.id), vault.Key{}); err != nil {
		return n, fault.Wrap(fault.Internal, op, err)
	}
	if n.email, err = s.vault.Seal(ctx, memberKey(n.id), FieldEmail, n.id, email, p); err != nil {
		return n, fault.Wrap(fault.Internal, op, err)
	}
	if name != "" {
		if n.name, err = s.vault.Seal(ctx, memberKey(n.id), FieldName, n.id, name, p); err != nil {
			return n, fault.Wrap(fault.Internal, op, err)
		}
	}
	return n, nil
}

func (s *Service) indexed(ctx context.Context, op, email string) (n newMember, err error) {
	current, err := s.vault.Index(ctx, vault.Install, FieldEmail, email)
	if err != nil {
		return n, fault.Wrap(fault.Internal, op, err)
	}
	all, err := s.vault.IndexAll(ctx, vault.Install, FieldEmail, email)
	if err != nil {
		return n, fault.Wrap(fault.Internal, op, err)
	}
	n.indexes = append([][]byte{current}, all...)
	return n, nil
}

// Members lists who works in the actor's organisation, by name.
func (s *Service) Members(ctx context.Context, org string) ([]Member, error) {
	const op = "account.Members"
	if a := actor.From(ctx); a.Kind != actor.System && (a.Kind != actor.Member || a.Org != org) {
		return nil, fault.New(fault.NotFound, op, "organisation_unknown", "You do not belong to this organisation.")
	}
	var rows []memberRow
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		rows, err = membersOf(tx, org)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := s.openNames(ctx, rows)
	if err != nil {
		return nil, err
	}
	out, ids := make([]Member, 0, len(rows)), make([]string, 0, len(rows))
	for _, r := range rows {
		out = append(out, Member{ID: r.id, Name: names[r.id], Role: r.role})
		ids = append(ids, r.id)
	}
	if s.links.Presence != nil {
		online, err := s.links.Presence.Online(ctx, ids)
		if err != nil { // who is here is a courtesy; the list is not lost for it
			s.log.WarnContext(ctx, "presence", "op", op, "cause", fault.Of(err).Kind.String())
		}
		for i := range out {
			out[i].Online = online[out[i].ID]
		}
	}
	sortMembers(out)
	return out, nil
}

// DisplayNames returns the names of those ids that belong to members of the organisation. It is cheap to call for every page
// of a list: names are kept in memory for nameFor.
func (s *Service) DisplayNames(ctx context.Context, org string, ids []string) (map[string]string, error) {
	const op = "account.DisplayNames"
	if err := mayRead(ctx, op); err != nil {
		return nil, err
	}
	out, missing := s.names.get(org, ids, s.now())
	if len(missing) == 0 {
		return out, nil
	}
	var rows []memberRow
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		rows, err = membersByID(tx, org, missing)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := s.openNames(ctx, rows)
	if err != nil {
		return nil, err
	}
	s.names.put(org, names, s.now())
	maps.Copy(out, names)
	return out, nil
}

// openNames reads members' names. One whose key is gone has none.
func (s *Service) openNames(ctx context.Context, rows []memberRow) (map[string]string, error) {
	const op = "account.openNames"
	keys := make([]vault.Key, 0, len(rows))
	for _, r := range rows {
		keys = append(keys, memberKey(r.id))
	}
	if err := s.vault.Warm(ctx, keys); err != nil {
		return nil, fault.Wrap(fault.Internal, op, err)
	}
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.id] = ""
		if r.name.Zero() {
			continue
		}
		t, err := s.vault.Open(ctx, r.name.Bind(vault.Install, FieldName, r.id))
		switch {
		case fault.Is(err, fault.Gone):
		case err != nil:
			return nil, fault.Wrap(fault.Internal, op, err)
		default:
			out[r.id] = t.Text()
		}
	}
	return out, nil
}

// cleanName checks a name that somebody typed.
func cleanName(op, field, name string) (string, error) {
	name = strings.TrimSpace(norm.NFC.String(name))
	switch {
	case name == "":
		return "", fault.Bad(op, field, "name_empty", "Enter a name.")
	case utf8.RuneCountInString(name) > maxName:
		return "", fault.Bad(op, field, "name_too_long", "Use at most 200 characters.")
	case !utf8.ValidString(name) || strings.IndexFunc(name, unicode.IsControl) >= 0:
		return "", fault.Bad(op, field, "control_character", "Use plain text without control characters.")
	}
	return name, nil
}

// cleanEmail checks the form of an address and normalises it. Whether it exists only a message to it can show.
func cleanEmail(op, email string) (string, error) {
	email = normalEmail(email)
	if len(email) > maxEmail {
		return "", fault.Bad(op, "email", "email_too_long", "Use at most 254 characters.")
	}
	local, domain, ok := strings.Cut(email, "@")
	bad := !ok || local == "" || len(local) > 64 || domain == "" || strings.Contains(domain, "@") ||
		strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") ||
		strings.IndexFunc(email, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`<>(),;:"\`, r)
		}) >= 0
	if bad || !utf8.ValidString(email) {
		return "", fault.Bad(op, "email", "email_invalid", "Enter an e-mail address like name@example.com.")
	}
	return email, nil
}

func normalEmail(email string) string {
	return strings.ToLower(norm.NFC.String(strings.TrimSpace(email)))
}
