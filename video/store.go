package video

import (
	"database/sql"
	"errors"
	"time"

	"parley/internal/db"
)

const sessionColumns = `org, id, conversation, person, state, media, started_by, starter, answerer, client_id, created_at, ring_until,
	answered_at, ended_at, end_reason, node, alive_until`

const participantColumns = `identity, kind, member, role, sign_in, issued_at, joined_at, left_at, departure`

type scanner interface{ Scan(dest ...any) error }

func scanSession(row scanner) (Session, error) {
	var (
		c                         Session
		starter, answerer         sql.NullString
		reason, node              sql.NullString
		created, ring, alive      int64
		answeredMicros, endMicros sql.NullInt64
	)
	err := row.Scan(&c.Org, &c.ID, &c.Conversation, &c.Person, &c.State, &c.Medium, &c.StartedBy, &starter, &answerer, &c.ClientID, &created, &ring,
		&answeredMicros, &endMicros, &reason, &node, &alive)
	if err != nil {
		return Session{}, err
	}
	c.Starter, c.Answerer, c.EndReason, c.node = starter.String, answerer.String, Reason(reason.String), node.String
	c.CreatedAt, c.RingUntil, c.aliveUntil = db.FromMicros(created), db.FromMicros(ring), db.FromMicros(alive)
	c.AnsweredAt, c.EndedAt = fromNull(answeredMicros), fromNull(endMicros)
	return c, nil
}

func fromNull(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return db.FromMicros(n.Int64)
}

func orNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// one reads a session that may not be there.
func one(row scanner) (Session, bool, error) {
	c, err := scanSession(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, false, nil
	}
	return c, err == nil, err
}

// visible keeps a visitor to the own calls; $2 is the person, "" for members and the system.
const visible = `org = $1 AND ($2 = '' OR person = $2)`

func sessionByID(tx *db.Tx, org, person, id string) (Session, bool, error) {
	return one(tx.QueryRow(`SELECT `+sessionColumns+` FROM video_session WHERE `+visible+` AND id = $3`, org, person, id))
}

// lock reads a session for as long as the use case lasts: another that wants the same one waits, and sees what this one did.
func lock(tx *db.Tx, org, person, id string) (Session, bool, error) {
	return one(tx.QueryRow(`UPDATE video_session SET state = state WHERE `+visible+` AND id = $3 RETURNING `+sessionColumns, org, person, id))
}

// lockRunning is lock for the call that a conversation has now.
func lockRunning(tx *db.Tx, org, conversation string) (Session, bool, error) {
	return one(tx.QueryRow(`UPDATE video_session SET state = state WHERE org = $1 AND conversation = $2 AND state <> 'ended' RETURNING `+sessionColumns,
		org, conversation))
}

func sessionByClient(tx *db.Tx, org, conversation, clientID string) (Session, bool, error) {
	return one(tx.QueryRow(`SELECT `+sessionColumns+` FROM video_session WHERE org = $1 AND conversation = $2 AND client_id = $3`, org, conversation, clientID))
}

// insertSession stores a call that rings. False: the conversation has one already, or the client id was used.
func insertSession(tx *db.Tx, c Session) (bool, error) {
	n, err := tx.Exec(`INSERT INTO video_session (org, id, conversation, person, state, media, started_by, starter, answerer, client_id, created_at,
		ring_until, answered_at, ended_at, end_reason, node, alive_until)
		VALUES ($1, $2, $3, $4, 'ringing', $5, $6, $7, NULL, $8, $9, $10, NULL, NULL, NULL, NULL, 0) ON CONFLICT DO NOTHING`,
		c.Org, c.ID, c.Conversation, c.Person, c.Medium, c.StartedBy, orNull(c.Starter), c.ClientID, db.Micros(c.CreatedAt), db.Micros(c.RingUntil))
	return n == 1, err
}

func countRunning(tx *db.Tx, org string, limit int) (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM video_session WHERE org = $1 AND state <> 'ended' LIMIT $2) n`, org, limit).Scan(&n)
	return n, err
}

func setLive(tx *db.Tx, c Session) (bool, error) {
	n, err := tx.Exec(`UPDATE video_session SET state = 'live', answered_at = $3, answerer = $4 WHERE org = $1 AND id = $2 AND state = 'ringing'`,
		c.Org, c.ID, db.Micros(c.AnsweredAt), orNull(c.Answerer))
	return n == 1, err
}

func setEnded(tx *db.Tx, c Session) (bool, error) {
	n, err := tx.Exec(`UPDATE video_session SET state = 'ended', ended_at = $3, end_reason = $4 WHERE org = $1 AND id = $2 AND state <> 'ended'`,
		c.Org, c.ID, db.Micros(c.EndedAt), c.EndReason)
	return n == 1, err
}

// setNode says which process carries the call.
func setNode(tx *db.Tx, c Session, node string, aliveUntil time.Time) error {
	_, err := tx.Exec(`UPDATE video_session SET node = $3, alive_until = $4 WHERE org = $1 AND id = $2`, c.Org, c.ID, node, db.Micros(aliveUntil))
	return err
}

// renew says that the process is there, and returns the calls that it still carries.
func renew(tx *db.Tx, node string, aliveUntil time.Time) (map[string]bool, error) {
	rows, err := tx.Query(`UPDATE video_session SET alive_until = $2 WHERE node = $1 AND state <> 'ended' RETURNING id`, node, db.Micros(aliveUntil))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	open := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		open[id] = true
	}
	return open, rows.Err()
}

func collect(tx *db.Tx, query string, args ...any) ([]Session, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Session
	for rows.Next() {
		c, err := scanSession(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// ofConversation returns its latest calls, newest first.
func ofConversation(tx *db.Tx, org, conversation string, limit int) ([]Session, error) {
	return collect(tx, `SELECT `+sessionColumns+` FROM video_session WHERE org = $1 AND conversation = $2 ORDER BY created_at DESC, id DESC LIMIT $3`,
		org, conversation, limit)
}

// running returns the calls of an organisation that ring or are live, newest first.
func running(tx *db.Tx, org string, limit int) ([]Session, error) {
	return collect(tx, `SELECT `+sessionColumns+` FROM video_session WHERE org = $1 AND state <> 'ended' ORDER BY created_at DESC, id DESC LIMIT $2`, org, limit)
}

// carried returns the live calls of a process, or of all of them.
func carried(tx *db.Tx, node string, limit int) ([]Session, error) {
	return collect(tx, `SELECT `+sessionColumns+` FROM video_session WHERE state = 'live' AND node IS NOT NULL AND ($1 = '' OR node = $1) LIMIT $2`, node, limit)
}

// overdue returns calls that nobody brings to an end any more: unanswered and no longer ringing, carried by a process that is
// gone, or answered and never entered.
func overdue(tx *db.Tx, empty time.Duration, limit int) ([]Session, error) {
	now := tx.Now()
	return collect(tx, `SELECT `+sessionColumns+` FROM video_session WHERE state <> 'ended' AND (
			(state = 'ringing' AND ring_until < $1) OR (state = 'live' AND node IS NOT NULL AND alive_until < $1)
			OR (state = 'live' AND node IS NULL AND answered_at < $2)) LIMIT $3`, db.Micros(now), db.Micros(now.Add(-empty)), limit)
}

func participants(tx *db.Tx, org, session string) ([]Participant, error) {
	rows, err := tx.Query(`SELECT `+participantColumns+` FROM video_participant WHERE org = $1 AND session = $2 ORDER BY issued_at, identity`, org, session)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Participant
	for rows.Next() {
		var (
			p                         Participant
			member, signIn, departure sql.NullString
			issued                    int64
			joined, left              sql.NullInt64
		)
		if err := rows.Scan(&p.Identity, &p.Kind, &member, &p.role, &signIn, &issued, &joined, &left, &departure); err != nil {
			return nil, err
		}
		p.Member, p.signIn, p.Departure = member.String, signIn.String, Departure(departure.String)
		p.IssuedAt, p.JoinedAt, p.LeftAt = db.FromMicros(issued), fromNull(joined), fromNull(left)
		out = append(out, p)
	}
	return out, rows.Err()
}

// attach adds the participants of each call, one indexed look-up each.
func attach(tx *db.Tx, list []Session) (err error) {
	for i := range list {
		if list[i].Participants, err = participants(tx, list[i].Org, list[i].ID); err != nil {
			return err
		}
	}
	return nil
}

func insertParticipant(tx *db.Tx, c Session, p Participant) error {
	_, err := tx.Exec(`INSERT INTO video_participant (org, session, identity, person, kind, member, role, sign_in, issued_at, joined_at, left_at, departure)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL, NULL)`,
		c.Org, c.ID, p.Identity, c.Person, p.Kind, orNull(p.Member), p.role, orNull(p.signIn), db.Micros(p.IssuedAt))
	return err
}

// setJoined notes that somebody is in the room: for the first time, or again after the connection was lost. Whoever left in another
// way, or has come anew since, is not let in: false.
func setJoined(tx *db.Tx, org, session, identity string) (bool, error) {
	n, err := tx.Exec(`UPDATE video_participant SET joined_at = COALESCE(joined_at, $4), left_at = NULL, departure = NULL
		WHERE org = $1 AND session = $2 AND identity = $3 AND (left_at IS NULL OR departure = 'left')`, org, session, identity, db.Micros(tx.Now()))
	return n == 1, err
}

// setLeft notes that somebody is out. Who left already left as they did, except that nobody comes back after how says more than "left".
func setLeft(tx *db.Tx, org, session, identity string, how Departure) (bool, error) {
	n, err := tx.Exec(`UPDATE video_participant SET left_at = COALESCE(left_at, $4), departure = $5
		WHERE org = $1 AND session = $2 AND identity = $3 AND (left_at IS NULL OR (departure = 'left' AND $5 <> 'left'))`,
		org, session, identity, db.Micros(tx.Now()), how)
	return n == 1, err
}

// allLeft ends every participation with the call.
func allLeft(tx *db.Tx, c Session) error {
	_, err := tx.Exec(`UPDATE video_participant SET left_at = $3, departure = $4 WHERE org = $1 AND session = $2 AND left_at IS NULL`,
		c.Org, c.ID, db.Micros(tx.Now()), Over)
	return err
}
