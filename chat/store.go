package chat

import (
	"database/sql"
	"errors"
	"strings"
	"time"

	"parley/internal/db"
)

// maxUnread is where counting unread messages stops: beyond it a badge says "99+".
const maxUnread = 100

const conversationColumns = `c.org, c.id, c.site, c.person, c.state, c.assignee, c.last_seq, c.last_message_at, c.created_at, c.closed_at,
	c.visitor_read_seq, c.agent_read_seq, c.page_url, c.page_title`

const messageColumns = `m.org, m.conversation, m.seq, m.id, m.client_id, m.sent_at, m.author_kind, m.author, m.body`

type scanner interface{ Scan(dest ...any) error }

func scanConversation(row scanner, more ...any) (Conversation, error) {
	var (
		c               Conversation
		assignee        sql.NullString
		closed          sql.NullInt64
		lastAt, created int64
		dest            []any
	)
	dest = append(dest, &c.Org, &c.ID, &c.Site, &c.Person, &c.State, &assignee, &c.LastSeq, &lastAt, &created, &closed,
		&c.VisitorReadSeq, &c.AgentReadSeq, &c.PageURL, &c.PageTitle)
	if err := row.Scan(append(dest, more...)...); err != nil {
		return Conversation{}, err
	}
	c.Assignee = assignee.String
	c.LastMessageAt, c.CreatedAt = db.FromMicros(lastAt), db.FromMicros(created)
	if closed.Valid {
		c.ClosedAt = db.FromMicros(closed.Int64)
	}
	c.PageURL = c.PageURL.Bind(c.Org, FieldPageURL, c.ID)
	c.PageTitle = c.PageTitle.Bind(c.Org, FieldPageTitle, c.ID)
	return c, nil
}

func scanMessage(row scanner) (Message, error) {
	var m Message
	var sent int64
	var author sql.NullString
	if err := row.Scan(&m.Org, &m.Conversation, &m.Seq, &m.ID, &m.ClientID, &sent, &m.AuthorKind, &author, &m.Body); err != nil {
		return Message{}, err
	}
	m.SentAt, m.Author = db.FromMicros(sent), author.String
	m.Body = m.Body.Bind(m.Org, FieldBody, m.ID)
	return m, nil
}

// visible is the condition that keeps a visitor to the own conversations; $2 is the person, "" for members.
const visible = `c.org = $1 AND ($2 = '' OR c.person = $2)`

func conversationByID(tx *db.Tx, sc scope, id string) (Conversation, bool, error) {
	c, err := scanConversation(tx.QueryRow(`SELECT `+conversationColumns+` FROM chat_conversation c WHERE `+visible+` AND c.id = $3`, sc.org, sc.person, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Conversation{}, false, nil
	}
	return c, err == nil, err
}

// advance takes the next seq for m and returns what the conversation was. A closed one is opened again.
func advance(tx *db.Tx, sc scope, m *Message) (was Conversation, ok bool, err error) {
	var assignee sql.NullString
	err = tx.QueryRow(`UPDATE chat_conversation SET last_seq = last_seq + 1, last_message_at = $4
		WHERE org = $1 AND id = $3 AND ($2 = '' OR person = $2) RETURNING last_seq, state, assignee, person`,
		sc.org, sc.person, m.Conversation, db.Micros(m.SentAt)).Scan(&m.Seq, &was.State, &assignee, &was.Person)
	if errors.Is(err, sql.ErrNoRows) {
		return was, false, nil
	}
	if err != nil {
		return was, false, err
	}
	was.Assignee = assignee.String
	if was.State == Closed {
		_, err = tx.Exec(`UPDATE chat_conversation SET state = $3, closed_at = NULL WHERE org = $1 AND id = $2`, sc.org, m.Conversation, Open)
	}
	return was, err == nil, err
}

func insertMessage(tx *db.Tx, m Message) (bool, error) {
	n, err := tx.Exec(`INSERT INTO chat_message (org, conversation, seq, id, client_id, sent_at, author_kind, author, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (org, conversation, client_id) DO NOTHING`,
		m.Org, m.Conversation, m.Seq, m.ID, m.ClientID, db.Micros(m.SentAt), m.AuthorKind, orNull(m.Author), m.Body)
	return n == 1, err
}

func orNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func messageByClient(tx *db.Tx, sc scope, conversation, clientID string) (Message, bool, error) {
	m, err := scanMessage(tx.QueryRow(`SELECT `+messageColumns+` FROM chat_message m JOIN chat_conversation c ON c.org = m.org AND c.id = m.conversation
		WHERE `+visible+` AND m.conversation = $3 AND m.client_id = $4`, sc.org, sc.person, conversation, clientID))
	if errors.Is(err, sql.ErrNoRows) {
		return Message{}, false, nil
	}
	return m, err == nil, err
}

// messages returns up to limit messages in ascending seq: after a seq, before one, or the newest.
func messages(tx *db.Tx, org, conversation string, before, after int64, limit int) ([]Message, error) {
	q := `SELECT ` + messageColumns + ` FROM chat_message m WHERE m.org = $1 AND m.conversation = $2 AND m.seq > $3 ORDER BY m.seq LIMIT $4`
	bound := after
	if after == 0 {
		bound = before
		if before == 0 {
			bound = 1<<62 - 1
		}
		q = `SELECT ` + messageColumns + ` FROM chat_message m WHERE m.org = $1 AND m.conversation = $2 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $4`
	}
	rows, err := tx.Query(q, org, conversation, bound, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Message
	for rows.Next() {
		m, err := scanMessage(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if after == 0 {
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out, rows.Err()
}

func markRead(tx *db.Tx, sc scope, conversation string, seq int64) (at int64, moved bool, err error) {
	column := "agent_read_seq"
	if sc.kind == ByVisitor {
		column = "visitor_read_seq"
	}
	err = tx.QueryRow(`UPDATE chat_conversation SET `+column+` = CASE WHEN $3 < last_seq THEN $3 ELSE last_seq END
		WHERE org = $1 AND id = $2 AND `+column+` < CASE WHEN $3 < last_seq THEN $3 ELSE last_seq END RETURNING `+column,
		sc.org, conversation, seq).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return at, err == nil, err
}

// Filter selects conversations for the inbox.
type Filter struct {
	State    State  // "" for any
	Assignee string // "" for any, "none", or a member's id
	IDs      []string
	Before   time.Time // page cursor: last message at, with BeforeID
	BeforeID string
	Limit    int
}

// unreadBy counts the messages of the other side after the mark, up to maxUnread.
func unreadBy(mark string, other AuthorKind) string {
	return `(SELECT COUNT(*) FROM (SELECT 1 FROM chat_message u WHERE u.org = c.org AND u.conversation = c.id AND u.seq > c.` + mark +
		` AND u.author_kind = '` + string(other) + `' LIMIT 100) n)`
}

func listConversations(tx *db.Tx, org string, f Filter) ([]Conversation, error) {
	var q strings.Builder
	q.WriteString(`SELECT ` + conversationColumns + `, ` + unreadBy("agent_read_seq", ByVisitor) + ` FROM chat_conversation c WHERE c.org = $1`)
	args := []any{org}
	arg := func(v any) string { args = append(args, v); return "$" + itoa(len(args)) }
	if f.State != "" {
		q.WriteString(` AND c.state = ` + arg(f.State))
	}
	switch f.Assignee {
	case "":
	case "none":
		q.WriteString(` AND c.assignee IS NULL`)
	default:
		q.WriteString(` AND c.assignee = ` + arg(f.Assignee))
	}
	if len(f.IDs) > 0 {
		q.WriteString(` AND c.id IN (`)
		for i, id := range f.IDs {
			if i > 0 {
				q.WriteString(`, `)
			}
			q.WriteString(arg(id))
		}
		q.WriteString(`)`)
	}
	if !f.Before.IsZero() {
		at := arg(db.Micros(f.Before))
		q.WriteString(` AND (c.last_message_at, c.id) < (` + at + `, ` + arg(f.BeforeID) + `)`)
	}
	q.WriteString(` ORDER BY c.last_message_at DESC, c.id DESC LIMIT ` + arg(f.Limit))
	out, err := collectConversations(tx, q.String(), args...)
	if err != nil {
		return nil, err
	}
	return out, attachLast(tx, out)
}

// conversationsOf returns a visitor's conversations, newest first, or the one with the id.
func conversationsOf(tx *db.Tx, sc scope, id string, limit int) ([]Conversation, error) {
	return collectConversations(tx, `SELECT `+conversationColumns+`, `+unreadBy("visitor_read_seq", ByAgent)+` FROM chat_conversation c
		WHERE c.org = $1 AND c.person = $2 AND ($3 = '' OR c.id = $3) ORDER BY c.created_at DESC, c.id DESC LIMIT $4`, sc.org, sc.person, id, limit)
}

func collectConversations(tx *db.Tx, q string, args ...any) ([]Conversation, error) {
	rows, err := tx.Query(q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Conversation
	for rows.Next() {
		var unread int64
		c, err := scanConversation(rows, &unread)
		if err != nil {
			return nil, err
		}
		c.Unread = min(unread, maxUnread)
		out = append(out, c)
	}
	return out, rows.Err()
}

// attachLast adds each conversation's newest message, one indexed look-up each.
func attachLast(tx *db.Tx, list []Conversation) error {
	for i := range list {
		m, err := scanMessage(tx.QueryRow(`SELECT `+messageColumns+` FROM chat_message m WHERE m.org = $1 AND m.conversation = $2 AND m.seq = $3`,
			list[i].Org, list[i].ID, list[i].LastSeq))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		list[i].Last = &m
	}
	return nil
}

// Counts are the sizes of the inbox's folders; counting stops at 1,000.
type Counts struct{ Open, Mine, Unassigned int64 }

func counts(tx *db.Tx, org, member string) (n Counts, err error) {
	count := func(dest *int64, where string, args ...any) {
		if err == nil {
			err = tx.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM chat_conversation c WHERE c.org = $1 AND c.state = 'open'`+where+` LIMIT 1000) n`,
				append([]any{org}, args...)...).Scan(dest)
		}
	}
	count(&n.Open, ``)
	count(&n.Unassigned, ` AND c.assignee IS NULL`)
	if member != "" {
		count(&n.Mine, ` AND c.assignee = $2`, member)
	}
	return n, err
}

func insertConversation(tx *db.Tx, c Conversation) error {
	_, err := tx.Exec(`INSERT INTO chat_conversation (org, id, site, person, state, assignee, last_seq, last_message_at, created_at, closed_at,
		visitor_read_seq, agent_read_seq, page_url, page_title) VALUES ($1, $2, $3, $4, $5, NULL, 0, $6, $6, NULL, 0, 0, $7, $8)`,
		c.Org, c.ID, c.Site, c.Person, Open, db.Micros(tx.Now()), c.PageURL, c.PageTitle)
	return err
}

func assign(tx *db.Tx, org, id, member string) (bool, error) {
	n, err := tx.Exec(`UPDATE chat_conversation SET assignee = $3 WHERE org = $1 AND id = $2`, org, id, orNull(member))
	return n == 1, err
}

func setState(tx *db.Tx, org, id string, to State) (bool, error) {
	var closed sql.NullInt64
	if to == Closed {
		closed = sql.NullInt64{Int64: db.Micros(tx.Now()), Valid: true}
	}
	n, err := tx.Exec(`UPDATE chat_conversation SET state = $3, closed_at = $4 WHERE org = $1 AND id = $2 AND state <> $3`, org, id, to, closed)
	return n == 1, err
}
