package chat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/language"

	"parley/internal/actor"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/person"
	"parley/vault"
)

// Limits on what the widget says about the page that it stands on; longer values are cut.
const (
	maxPageURL   = 500
	maxPageTitle = 200
)

// Start is a visitor's first message.
type Start struct {
	Site      string
	ClientID  string
	Body      string
	Locale    string // BCP 47; only the language is kept
	PageURL   string // kept without query and fragment
	PageTitle string
	Profile   person.Profile
}

// Started is the answer to it.
type Started struct {
	Token        string // only for a visitor that did not bring one
	ExpiresAt    time.Time
	Person       string
	Conversation Conversation
	Message      Message
	Repeated     bool // the client id was seen before: this is what it made then
}

// visitorScope is the scope of a visitor whose person is about to exist or was just found.
func visitorScope(org, person string) scope {
	return scope{org: org, person: person, kind: ByVisitor}
}

// Begin opens a conversation with its first message. Without a visitor in ctx it makes a new person and a token. The same
// client id within ten minutes answers with what it made the first time, so that a lost answer costs no second conversation.
func (s *Service) Begin(ctx context.Context, in Start) (Started, error) {
	const op = "chat.Begin"
	st, err := s.Site(ctx, in.Site)
	if err != nil {
		return Started{}, err
	}
	if err := checkStart(&in); err != nil {
		return Started{}, err
	}
	visitor := ""
	if a := actor.From(ctx); a.Kind == actor.Visitor {
		if a.Org != st.Org {
			return Started{}, siteUnknown(op)
		}
		visitor = a.ID
	}
	if again, found, err := s.started(ctx, st, in.ClientID, visitor); err != nil || found {
		return again, err
	}
	ctx = actor.With(ctx, actor.Actor{Kind: actor.Visitor, Org: st.Org, ID: visitor})
	draft, err := s.prepareStart(ctx, st, in, visitor)
	if err != nil {
		return Started{}, err
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error { return s.insertStart(tx, st, hashClientID(in.ClientID), &draft) })
	if errors.Is(err, errStoredBefore) { // a race with the same client id
		again, _, err := s.started(ctx, st, in.ClientID, visitor)
		return again, err
	}
	if err != nil {
		return Started{}, err
	}
	return draft.Started, nil
}

func checkStart(in *Start) (err error) {
	if err = CheckClientID(in.ClientID); err != nil {
		return err
	}
	if in.Body, err = CheckBody(in.Body); err != nil {
		return err
	}
	if err = person.CheckProfile(&in.Profile, "visitor."); err != nil {
		return err
	}
	if tag, err := language.Parse(in.Locale); err == nil {
		base, _ := tag.Base()
		in.Locale = base.String()
	} else {
		in.Locale = "en"
	}
	in.PageURL, in.PageTitle = cleanPage(in.PageURL), cut(in.PageTitle, maxPageTitle)
	return nil
}

// cleanPage keeps scheme, host and path: queries and fragments carry what nobody meant to tell (promise E3).
func cleanPage(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return ""
	}
	return cut((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), maxPageURL)
}

func cut(s string, runes int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > runes {
		return string(r[:runes])
	}
	return s
}

// startDraft is a beginning whose keys are durable and whose values are sealed.
type startDraft struct {
	Started
	person    person.Draft
	newPerson bool
	tokenID   string
	tokenHash []byte
}

func (s *Service) prepareStart(ctx context.Context, st Site, in Start, visitor string) (d startDraft, err error) {
	d.Person, d.newPerson = visitor, visitor == ""
	if d.newPerson {
		d.Person = db.NewID()
	}
	c := Conversation{Org: st.Org, ID: db.NewID(), Site: st.ID, Person: d.Person, State: Open}
	keys := []vault.New{{Key: keyOf(st.Org, c.ID), Parent: person.Key(st.Org, d.Person)}}
	if d.newPerson {
		keys = append([]vault.New{{Key: person.Key(st.Org, d.Person)}}, keys...)
	}
	if err := s.vault.CreateMany(ctx, keys); err != nil { // durable before the rows that use them
		return d, err
	}
	if d.newPerson {
		if d.person, err = s.persons.Seal(ctx, st.Org, d.Person, "widget", in.Locale, in.Profile); err != nil {
			return d, err
		}
		d.Token, d.tokenID, d.tokenHash = newToken()
	}
	from := provenance(ByVisitor)
	if in.PageURL != "" {
		if c.PageURL, err = s.vault.Seal(ctx, keyOf(st.Org, c.ID), FieldPageURL, c.ID, in.PageURL, from); err != nil {
			return d, err
		}
	}
	if in.PageTitle != "" {
		if c.PageTitle, err = s.vault.Seal(ctx, keyOf(st.Org, c.ID), FieldPageTitle, c.ID, in.PageTitle, from); err != nil {
			return d, err
		}
	}
	m := Message{Org: st.Org, Conversation: c.ID, ID: db.NewID(), ClientID: in.ClientID, AuthorKind: ByVisitor}
	m.Body, err = s.vault.Seal(ctx, keyOf(st.Org, c.ID), FieldBody, m.ID, in.Body, from)
	d.Conversation, d.Message = c, m
	return d, err
}

func newToken() (token, id string, hash []byte) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: it ends the program instead
	token = base64.RawURLEncoding.EncodeToString(raw)
	return token, db.NewID(), hashToken(token)
}

// hashToken is what the database keeps of a token. Tokens are random, so the hash needs no salt.
func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func hashClientID(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:]
}

func (s *Service) insertStart(tx *db.Tx, st Site, hash []byte, d *startDraft) error {
	if d.newPerson {
		if err := s.persons.Insert(tx, d.person); err != nil {
			return err
		}
		if err := insertToken(tx, st, *d); err != nil {
			return err
		}
	}
	c, m := d.Conversation, d.Message
	c.CreatedAt, c.LastMessageAt, c.LastSeq = tx.Now(), tx.Now(), 1
	if err := insertConversation(tx, c); err != nil {
		return err
	}
	if _, err := s.append(tx, visitorScope(c.Org, c.Person), &m); err != nil {
		return err
	}
	n, err := tx.Exec(`INSERT INTO chat_start (org, site, client_hash, person, conversation, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (org, site, client_hash) DO NOTHING`, st.Org, st.ID, hash, d.Person, c.ID, db.Micros(tx.Now()))
	if err != nil {
		return err
	}
	if n == 0 {
		return errStoredBefore
	}
	d.Conversation, d.Message, d.ExpiresAt = c, m, tx.Now().Add(TokenLife)
	tx.After(func() {
		s.fan.admit(actor.Visitor, c.Person, convChannel(c.ID))
		s.fan.created(c)
		s.inbox.touch(c.Org, c.ID)
	})
	return nil
}

func insertToken(tx *db.Tx, st Site, d startDraft) error {
	now := tx.Now()
	_, err := tx.Exec(`INSERT INTO chat_visitor_token (org, id, token_hash, person, site, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)`,
		st.Org, d.tokenID, d.tokenHash, d.Person, st.ID, db.Micros(now), db.Micros(now.Add(TokenLife)))
	return err
}

// minVoucher is how long a client id has to be to vouch for a visitor: two programs that count from 1 are not one person.
const minVoucher = 16

// started finds what a client id made before. A visitor without a token gets one for the same person while the answer may
// still be on its way; the client id, a secret of that browser (agents are not shown it), vouches for it.
func (s *Service) started(ctx context.Context, st Site, clientID, visitor string) (out Started, found bool, err error) {
	hash := hashClientID(clientID)
	var who string
	var conversation string
	var at int64
	err = s.db.Read(ctx, "chat.started", func(tx *db.Tx) error {
		err := tx.QueryRow(`SELECT person, conversation, created_at FROM chat_start WHERE org = $1 AND site = $2 AND client_hash = $3`,
			st.Org, st.ID, hash).Scan(&who, &conversation, &at)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		sc := visitorScope(st.Org, who)
		var ok bool
		if out.Conversation, ok, err = conversationByID(tx, sc, conversation); err != nil || !ok {
			return errors.Join(err, unknown("chat.started"))
		}
		first, err := messages(tx, st.Org, conversation, 2, 0, 1)
		if err == nil && len(first) == 1 {
			out.Message = first[0]
		}
		return err
	})
	if err != nil || !found {
		return out, false, err
	}
	guessable := visitor == "" && len(clientID) < minVoucher
	if guessable || time.Since(db.FromMicros(at)) > startReplay || (visitor != "" && visitor != who) {
		return out, true, clientIDUsed("chat.Begin")
	}
	out.Person, out.Repeated = who, true
	if visitor == "" {
		d := startDraft{Started: out}
		d.Token, d.tokenID, d.tokenHash = newToken()
		err = s.db.Do(ctx, "chat.restart", func(tx *db.Tx) error { return insertToken(tx, st, d) })
		out.Token, out.ExpiresAt = d.Token, time.Now().Add(TokenLife)
	}
	return out, true, err
}

// BearerVisitor returns who holds the token. Its kind of error is Unauthenticated, with the code token_expired or token_unknown.
func (s *Service) BearerVisitor(ctx context.Context, token string) (actor.Actor, error) {
	const op = "chat.BearerVisitor"
	if len(token) != 43 {
		return actor.Actor{}, fault.New(fault.Unauthenticated, op, "token_unknown", "The token is not one of ours.")
	}
	var a actor.Actor
	var seen, expires int64
	err := s.db.Read(ctx, op, func(tx *db.Tx) error {
		a = actor.Actor{Kind: actor.Visitor}
		return tx.QueryRow(`SELECT org, id, person, seen_at, expires_at FROM chat_visitor_token WHERE token_hash = $1`, hashToken(token)).
			Scan(&a.Org, &a.Session, &a.ID, &seen, &expires)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return actor.Actor{}, fault.New(fault.Unauthenticated, op, "token_unknown", "The token is not one of ours, or was given up.")
	}
	if err != nil {
		return actor.Actor{}, err
	}
	now := time.Now()
	if db.Micros(now) >= expires {
		return actor.Actor{}, fault.New(fault.Unauthenticated, op, "token_expired", "The token has expired. Write again to start afresh.")
	}
	if now.Sub(db.FromMicros(seen)) > 24*time.Hour { // sliding, without a write per request
		err = s.db.Do(ctx, op, func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE chat_visitor_token SET seen_at = $3, expires_at = $4 WHERE org = $1 AND id = $2`,
				a.Org, a.Session, db.Micros(now), db.Micros(now.Add(TokenLife)))
			return err
		})
		if fault.Is(err, fault.Full) {
			err = nil // a full disk must not lock people out of reading
		}
	}
	return a, err
}

// eventRevoked says on the bus that a visitor's token holds no longer: {person, session}.
const eventRevoked = "chat.token.revoked.v1"

// Forget revokes the token that the visitor came with, and ends its sockets; a call that was entered with it hears so on the bus.
func (s *Service) Forget(ctx context.Context) error {
	const op = "chat.Forget"
	a := actor.From(ctx)
	data, err := json.Marshal(map[string]string{"person": a.ID, "session": a.Session})
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		if s.bus != nil {
			s.bus.Emit(tx, bus.Event{ID: db.NewID(), Type: eventRevoked, Org: a.Org, Time: tx.Now(), Data: data})
		}
		_, err := tx.Exec(`DELETE FROM chat_visitor_token WHERE org = $1 AND id = $2`, a.Org, a.Session)
		tx.After(func() { s.fan.dropSession(actor.Visitor, a.ID, a.Session) })
		return err
	})
}
