package chat

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

var clientIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// CheckBody normalises line ends and refuses what a message cannot hold. It never repeats the text in its error.
func CheckBody(body string) (string, error) {
	const op = "chat.CheckBody"
	if len(body) > MaxBody {
		return "", &fault.Error{Kind: fault.TooLarge, Op: op, Code: "message_too_long", Field: "body", Text: "A message has at most 8,192 bytes."}
	}
	if !utf8.ValidString(body) {
		return "", fault.Bad(op, "body", "message_not_utf8", "A message is text in UTF-8.")
	}
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	if strings.IndexFunc(body, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) >= 0 {
		return "", fault.Bad(op, "body", "message_control_character", "A message has no control characters but line breaks and tabs.")
	}
	if strings.TrimSpace(body) == "" {
		return "", fault.Bad(op, "body", "message_empty", "Write something first.")
	}
	return body, nil
}

// CheckClientID refuses a client id that is not 1–64 characters of [A-Za-z0-9._-].
func CheckClientID(id string) error {
	if !clientIDForm.MatchString(id) {
		return fault.Bad("chat.CheckClientID", "client_id", "client_id_invalid", "A client id has 1 to 64 letters, digits, dots, dashes or underscores; best a UUID.")
	}
	return nil
}

func clientIDUsed(op string) error {
	return fault.New(fault.Conflict, op, "client_id_used", "This client id was used before, for something else. Use a new one.")
}

var errStoredBefore = errors.New("this client id was stored before")

// Send stores a message and, after it is durable, tells everyone in the conversation. The same client id a second time
// returns the message that was stored the first time, and false. A message to a closed conversation opens it again.
func (s *Service) Send(ctx context.Context, conversation, clientID, body string) (Message, bool, error) {
	const op = "chat.Send"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return Message{}, false, err
	}
	if err := CheckClientID(clientID); err != nil {
		return Message{}, false, err
	}
	if body, err = CheckBody(body); err != nil {
		return Message{}, false, err
	}
	m := Message{Org: sc.org, Conversation: conversation, ID: db.NewID(), ClientID: clientID, AuthorKind: sc.kind, Author: sc.member}
	m.Body, err = s.vault.Seal(ctx, keyOf(sc.org, conversation), FieldBody, m.ID, body, provenance(sc.kind))
	if err != nil && (fault.Of(err).Code == noKey || fault.Is(err, fault.Gone)) {
		return Message{}, false, unknown(op) // no key: no such conversation here, or it was erased
	}
	if err != nil {
		return Message{}, false, err
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		was, err := s.append(tx, sc, &m)
		if err != nil {
			return err
		}
		s.afterMessage(tx, m, was)
		return nil
	})
	if errors.Is(err, errStoredBefore) {
		m, err = s.byClientID(ctx, sc, conversation, clientID)
		if err == nil && (m.AuthorKind != sc.kind || m.Author != sc.member) { // what is sent now is not what is stored
			return Message{}, false, clientIDUsed(op)
		}
		return m, false, err
	}
	if err != nil {
		return Message{}, false, err
	}
	return m, true, nil
}

func provenance(kind AuthorKind) vault.Provenance {
	if kind == ByVisitor {
		return vault.Provenance{Source: "person", Stage: "conversation"}
	}
	return vault.Provenance{Source: "agent", Stage: "conversation"}
}

// append gives m its place in the conversation. It returns what the conversation was before.
func (s *Service) append(tx *db.Tx, sc scope, m *Message) (was Conversation, err error) {
	m.SentAt = tx.Now()
	was, ok, err := advance(tx, sc, m)
	if err != nil {
		return was, err
	}
	if !ok {
		return was, unknown("chat.Send")
	}
	inserted, err := insertMessage(tx, *m)
	if err == nil && !inserted {
		err = errStoredBefore // rolls the seq back
	}
	return was, err
}

func (s *Service) afterMessage(tx *db.Tx, m Message, was Conversation) {
	tx.After(func() {
		s.fan.message(m, was.Person)
		if was.State == Closed {
			s.fan.updated(m.Org, m.Conversation, Open, was.Assignee)
		}
		s.inbox.touch(m.Org, m.Conversation)
	})
}

func (s *Service) byClientID(ctx context.Context, sc scope, conversation, clientID string) (m Message, err error) {
	err = s.db.Read(ctx, "chat.byClientID", func(tx *db.Tx) error {
		var ok bool
		if m, ok, err = messageByClient(tx, sc, conversation, clientID); err == nil && !ok {
			err = unknown("chat.Send")
		}
		return err
	})
	return m, err
}

// Page is a run of messages in ascending seq.
type Page struct {
	Items []Message
	More  bool // there are further ones in the direction that was asked for
}

// Messages returns the messages before or after a seq (0: not given), or the newest page. limit is 1–100.
func (s *Service) Messages(ctx context.Context, conversation string, before, after int64, limit int) (Page, error) {
	const op = "chat.Messages"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return Page{}, err
	}
	if before != 0 && after != 0 {
		return Page{}, fault.Bad(op, "before", "before_and_after", "Give before or after, not both.")
	}
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	var p Page
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		p = Page{}
		if _, ok, err := conversationByID(tx, sc, conversation); err != nil || !ok {
			if err == nil {
				err = unknown(op)
			}
			return err
		}
		p.Items, err = messages(tx, sc.org, conversation, before, after, limit+1)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	if len(p.Items) > limit {
		p.More = true
		if after > 0 {
			p.Items = p.Items[:limit]
		} else {
			p.Items = p.Items[1:] // the extra one is the oldest
		}
	}
	return p, s.auditRead(ctx, sc, conversation)
}

// MarkRead moves the reader's mark forward; it never goes back, and never past the last message.
func (s *Service) MarkRead(ctx context.Context, conversation string, seq int64) error {
	const op = "chat.MarkRead"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return err
	}
	if seq < 1 {
		return fault.Bad(op, "seq", "seq_invalid", "seq is the number of a message, from 1.")
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, ok, err := conversationByID(tx, sc, conversation); err != nil || !ok {
			if err == nil {
				err = unknown(op)
			}
			return err
		}
		at, moved, err := markRead(tx, sc, conversation, seq)
		if err != nil || !moved {
			return err
		}
		tx.After(func() {
			s.fan.read(sc.org, conversation, sc.kind, at)
			s.inbox.touch(sc.org, conversation)
		})
		return nil
	})
}

// Typing tells the others in the conversation that somebody is writing. Nothing is stored.
func (s *Service) Typing(ctx context.Context, conversation string, on bool) error {
	sc, err := scopeOf(ctx, "chat.Typing")
	if err != nil {
		return err
	}
	who := sc.member
	if sc.kind == ByVisitor {
		who = sc.person
	}
	if _, err := s.find(ctx, sc, conversation, "chat.Typing"); err != nil {
		return err
	}
	s.fan.typing(sc.org, conversation, sc.kind, who, on)
	return nil
}
