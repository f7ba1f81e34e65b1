package account

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// memberRow is a member as stored; role only where a membership was joined.
type memberRow struct {
	id     string
	email  vault.Sealed
	name   vault.Sealed
	hash   string // of the password; "" until one is set
	locale string
	role   actor.Role
}

// sessionRow is a session with the member's role in its organisation, "" when they no longer belong to it.
type sessionRow struct {
	id, member, org          string
	role                     actor.Role
	created, seen, expiresAt time.Time
}

// unknown turns the absence of a row into a NotFound fault of the code.
func unknown(err error, op, code, text string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, op, code, text)
	}
	return err
}

// places writes n parameters from $first on.
func places(first, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(out, ", ")
}

func insertOrg(tx *db.Tx, o Org) error {
	_, err := tx.Exec(`INSERT INTO account_org (id, name, created_at) VALUES ($1, $2, $3)`, o.ID, o.Name, db.Micros(o.CreatedAt))
	return err
}

func orgByID(tx *db.Tx, id string) (o Org, err error) {
	var at int64
	err = tx.QueryRow(`SELECT id, name, created_at FROM account_org WHERE id = $1`, id).Scan(&o.ID, &o.Name, &at)
	o.CreatedAt = db.FromMicros(at)
	return o, unknown(err, "account.org", "organisation_unknown", "There is no such organisation.")
}

func allOrgs(tx *db.Tx) ([]Org, error) {
	return orgs(tx, `SELECT id, name, created_at FROM account_org ORDER BY created_at, id`)
}

// orgsOf lists a member's organisations, the first one joined first.
func orgsOf(tx *db.Tx, member string) ([]Org, error) {
	return orgs(tx, `SELECT o.id, o.name, o.created_at FROM account_org o JOIN account_membership m ON m.org = o.id
		WHERE m.member = $1 ORDER BY m.created_at, o.id`, member)
}

func orgs(tx *db.Tx, query string, args ...any) ([]Org, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Org
	for rows.Next() {
		var o Org
		var at int64
		if err := rows.Scan(&o.ID, &o.Name, &at); err != nil {
			return nil, err
		}
		o.CreatedAt = db.FromMicros(at)
		out = append(out, o)
	}
	return out, rows.Err()
}

const memberColumns = `m.id, m.email, m.name, m.password_hash, m.locale`

func scanMember(scan func(...any) error, more ...any) (r memberRow, err error) {
	var hash, locale sql.NullString
	err = scan(append([]any{&r.id, &r.email, &r.name, &hash, &locale}, more...)...)
	r.hash, r.locale = hash.String, locale.String
	return r, err
}

// memberByIndex finds a member by any live version of the blind index of an address.
func memberByIndex(tx *db.Tx, indexes [][]byte) (memberRow, error) {
	args := make([]any, len(indexes))
	for i, x := range indexes {
		args[i] = x
	}
	row := tx.QueryRow(`SELECT `+memberColumns+` FROM account_member m WHERE m.email_index IN (`+places(1, len(args))+`)`, args...)
	r, err := scanMember(row.Scan)
	return r, unknown(err, "account.member", "member_unknown", "There is no such member.")
}

func memberByID(tx *db.Tx, id string) (memberRow, error) {
	r, err := scanMember(tx.QueryRow(`SELECT `+memberColumns+` FROM account_member m WHERE m.id = $1`, id).Scan)
	return r, unknown(err, "account.member", "member_unknown", "There is no such member.")
}

// ensureMember inserts a member unless one with the address exists; the unique index decides.
func ensureMember(tx *db.Tx, n newMember) (memberRow, error) {
	if !n.email.Zero() {
		_, err := tx.Exec(`INSERT INTO account_member (id, email, email_index, name, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (email_index) DO NOTHING`, n.id, n.email, n.indexes[0], n.name, db.Micros(tx.Now()))
		if err != nil {
			return memberRow{}, err
		}
	}
	// Writing the row locks it: a member cannot be retired between this and a new membership.
	args := []any{}
	for _, x := range n.indexes {
		args = append(args, x)
	}
	if _, err := tx.Exec(`UPDATE account_member SET locale = locale WHERE email_index IN (`+places(1, len(args))+`)`, args...); err != nil {
		return memberRow{}, err
	}
	r, err := memberByIndex(tx, n.indexes)
	if fault.Is(err, fault.NotFound) { // retired since prepareMember looked
		return r, &fault.Error{Kind: fault.Unavailable, Op: "account.ensureMember", Code: "unavailable", RetryAfter: time.Second}
	}
	return r, err
}

func membersOf(tx *db.Tx, org string) ([]memberRow, error) {
	return members(tx, `WHERE ms.org = $1`, org)
}

func membersByID(tx *db.Tx, org string, ids []string) (out []memberRow, err error) {
	for chunk := range slices.Chunk(ids, 500) {
		args := []any{org}
		for _, id := range chunk {
			args = append(args, id)
		}
		some, err := members(tx, `WHERE ms.org = $1 AND ms.member IN (`+places(2, len(chunk))+`)`, args...)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func members(tx *db.Tx, where string, args ...any) ([]memberRow, error) {
	rows, err := tx.Query(`SELECT `+memberColumns+`, ms.role FROM account_member m JOIN account_membership ms ON ms.member = m.id `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []memberRow
	for rows.Next() {
		var role actor.Role
		r, err := scanMember(rows.Scan, &role)
		if err != nil {
			return nil, err
		}
		r.role = role
		out = append(out, r)
	}
	return out, rows.Err()
}

// insertMembership reports false when the member already belongs to the organisation.
func insertMembership(tx *db.Tx, org, member string, role actor.Role) (bool, error) {
	n, err := tx.Exec(`INSERT INTO account_membership (org, member, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (org, member) DO NOTHING`,
		org, member, string(role), db.Micros(tx.Now()))
	return n == 1, err
}

func roleIn(tx *db.Tx, org, member string) (role actor.Role, err error) {
	err = tx.QueryRow(`SELECT role FROM account_membership WHERE org = $1 AND member = $2`, org, member).Scan(&role)
	return role, unknown(err, "account.role", "organisation_unknown", "You do not belong to this organisation.")
}

func setRole(tx *db.Tx, org, member string, role actor.Role) error {
	_, err := tx.Exec(`UPDATE account_membership SET role = $3 WHERE org = $1 AND member = $2`, org, member, string(role))
	return err
}

func deleteMembership(tx *db.Tx, org, member string) error {
	_, err := tx.Exec(`DELETE FROM account_membership WHERE org = $1 AND member = $2`, org, member)
	return err
}

func lockOrg(tx *db.Tx, org string) error {
	_, err := tx.Exec(`UPDATE account_org SET name = name WHERE id = $1`, org)
	return err
}

func countOwners(tx *db.Tx, org string) (n int64, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM account_membership WHERE org = $1 AND role = $2`, org, string(actor.Owner)).Scan(&n)
	return n, err
}

// retireMember lets go of the address and the password of a member who belongs nowhere any more: the address may be invited
// anew, as somebody else.
func retireMember(tx *db.Tx, member string) error {
	if _, err := tx.Exec(`UPDATE account_member SET locale = locale WHERE id = $1`, member); err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE account_member SET email_index = $2, password_hash = NULL
		WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM account_membership m WHERE m.member = $1)`, member, []byte(member))
	if err != nil || n == 0 {
		return err
	}
	if _, err := useSetups(tx, member); err != nil {
		return err
	}
	return deleteSessions(tx, member)
}

func retiredMembers(tx *db.Tx) (ids []string, err error) {
	rows, err := tx.Query(`SELECT m.id FROM account_member m WHERE NOT EXISTS (SELECT 1 FROM account_membership ms WHERE ms.member = m.id)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func deleteMember(tx *db.Tx, id string) error {
	_, err := tx.Exec(`DELETE FROM account_member WHERE id = $1`, id)
	return err
}

func setPassword(tx *db.Tx, member, hash string) error {
	_, err := tx.Exec(`UPDATE account_member SET password_hash = $2 WHERE id = $1`, member, hash)
	return err
}

func setName(tx *db.Tx, member string, name vault.Sealed) error {
	_, err := tx.Exec(`UPDATE account_member SET name = $2 WHERE id = $1`, member, name)
	return err
}

// --- projects

// insertProject reports false when another project has the API key.
func insertProject(tx *db.Tx, p Project, secret vault.Sealed, by string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO account_project (org, id, api_key, secret, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (api_key) DO NOTHING`, p.Org, p.ID, p.APIKey, secret, p.Name, sql.NullString{String: by, Valid: by != ""}, db.Micros(tx.Now()))
	return n == 1, err
}

func projectByKey(tx *db.Tx, apiKey int64) (p Project, secret vault.Sealed, err error) {
	var at int64
	err = tx.QueryRow(`SELECT org, id, api_key, secret, name, created_at FROM account_project WHERE api_key = $1`, apiKey).
		Scan(&p.Org, &p.ID, &p.APIKey, &secret, &p.Name, &at)
	p.CreatedAt = db.FromMicros(at)
	return p, secret, unknown(err, "account.project", "project_unknown", "There is no such API key.")
}

// --- sessions

func insertSession(tx *db.Tx, id, tokenHash, member, org string) error {
	now := tx.Now()
	_, err := tx.Exec(`INSERT INTO account_session (id, token_hash, member, org, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $5, $6)`,
		id, tokenHash, member, org, db.Micros(now), db.Micros(now.Add(SessionLife)))
	return err
}

const sessionColumns = `SELECT s.id, s.member, s.org, s.created_at, s.seen_at, s.expires_at, m.role FROM account_session s
	LEFT JOIN account_membership m ON m.org = s.org AND m.member = s.member `

func scanSession(scan func(...any) error) (r sessionRow, err error) {
	var created, seen, expires int64
	var role sql.NullString
	err = scan(&r.id, &r.member, &r.org, &created, &seen, &expires, &role)
	r.created, r.seen, r.expiresAt = db.FromMicros(created), db.FromMicros(seen), db.FromMicros(expires)
	r.role = actor.Role(role.String)
	return r, err
}

func sessionByToken(tx *db.Tx, tokenHash string) (sessionRow, error) {
	r, err := scanSession(tx.QueryRow(sessionColumns+`WHERE s.token_hash = $1`, tokenHash).Scan)
	return r, unknown(err, "account.session", "signed_out", "Sign in first.")
}

func sessionsOf(tx *db.Tx, member string) ([]sessionRow, error) {
	rows, err := tx.Query(sessionColumns+`WHERE s.member = $1 ORDER BY s.created_at DESC, s.id`, member)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []sessionRow
	for rows.Next() {
		r, err := scanSession(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// lastOrg returns the organisation of the member's newest session, "" without one.
func lastOrg(tx *db.Tx, member string) (org string, err error) {
	err = tx.QueryRow(`SELECT org FROM account_session WHERE member = $1 ORDER BY created_at DESC LIMIT 1`, member).Scan(&org)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return org, err
}

// touchSession writes when a session was last used, unless somebody else just did.
func touchSession(tx *db.Tx, id string) error {
	now := tx.Now()
	_, err := tx.Exec(`UPDATE account_session SET seen_at = $2 WHERE id = $1 AND seen_at <= $3`, id, db.Micros(now), db.Micros(now.Add(-seenEvery)))
	return err
}

func setSessionOrg(tx *db.Tx, id, org string) error {
	_, err := tx.Exec(`UPDATE account_session SET org = $2 WHERE id = $1`, id, org)
	return err
}

func deleteSession(tx *db.Tx, member, id string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM account_session WHERE id = $1 AND member = $2`, id, member)
	return n > 0, err
}

func deleteSessions(tx *db.Tx, member string) error {
	_, err := tx.Exec(`DELETE FROM account_session WHERE member = $1`, member)
	return err
}

// --- one-time tokens

func insertSetup(tx *db.Tx, tokenHash, member, org string, expires time.Time) error {
	null := func(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
	_, err := tx.Exec(`INSERT INTO account_setup (token_hash, member, org, expires_at) VALUES ($1, $2, $3, $4)`,
		tokenHash, null(member), null(org), db.Micros(expires))
	return err
}

// setupByToken returns the member and organisation of an invitation that still holds.
func setupByToken(tx *db.Tx, tokenHash string) (member, org string, err error) {
	err = tx.QueryRow(`SELECT member, org FROM account_setup WHERE token_hash = $1 AND member IS NOT NULL AND expires_at > $2`,
		tokenHash, db.Micros(tx.Now())).Scan(&member, &org)
	return member, org, unknown(err, "account.invitation", "invitation_unknown", "This invitation is not valid: it was used, withdrawn or has expired. Ask for a new one.")
}

// useSetups spends every invitation of a member and reports whether there was one: of two callers only one gets it.
func useSetups(tx *db.Tx, member string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM account_setup WHERE member = $1`, member)
	return n > 0, err
}

func setupCodeHolds(tx *db.Tx, tokenHash string) (bool, error) {
	var n int64
	err := tx.QueryRow(`SELECT COUNT(*) FROM account_setup WHERE token_hash = $1 AND member IS NULL AND expires_at > $2`,
		tokenHash, db.Micros(tx.Now())).Scan(&n)
	return n > 0, err
}

func deleteSetupCodes(tx *db.Tx) error {
	_, err := tx.Exec(`DELETE FROM account_setup WHERE member IS NULL`)
	return err
}

// setupNeeded reports whether nobody has set this server up yet.
func setupNeeded(tx *db.Tx) (bool, error) {
	var n int64
	err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM account_install) + (SELECT COUNT(*) FROM (SELECT id FROM account_member LIMIT 1) m)`).Scan(&n)
	return n == 0, err
}

// finishSetup reports false when somebody else finished it before.
func finishSetup(tx *db.Tx) (bool, error) {
	n, err := tx.Exec(`INSERT INTO account_install (id, done_at) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, db.Micros(tx.Now()))
	return n == 1, err
}

// --- attempts

// countAttempt adds an attempt to a subject's window and returns how many there are and when the window began.
func countAttempt(tx *db.Tx, subject string, window time.Duration) (attempts int64, since time.Time, err error) {
	now := db.Micros(tx.Now())
	var at int64
	err = tx.QueryRow(`INSERT INTO account_attempt (subject, attempts, since) VALUES ($1, 1, $2)
		ON CONFLICT (subject) DO UPDATE SET
			attempts = CASE WHEN account_attempt.since <= $3 THEN 1 ELSE account_attempt.attempts + 1 END,
			since = CASE WHEN account_attempt.since <= $3 THEN $2 ELSE account_attempt.since END
		RETURNING attempts, since`, subject, now, db.Micros(tx.Now().Add(-window))).Scan(&attempts, &at)
	return attempts, db.FromMicros(at), err
}

func clearAttempts(tx *db.Tx, subject string) error {
	_, err := tx.Exec(`DELETE FROM account_attempt WHERE subject = $1`, subject)
	return err
}

// --- audit

func insertAudit(tx *db.Tx, e Entry) error {
	_, err := tx.Exec(`INSERT INTO account_audit (org, id, at, actor_kind, actor, action, object, purpose) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (org, id) DO NOTHING`, e.Org, e.ID, db.Micros(e.At), string(e.ActorKind), e.Actor, e.Action, e.Object, string(e.Purpose))
	return err
}

func auditPage(tx *db.Tx, org, beforeID string, limit int) ([]Entry, error) {
	rows, err := tx.Query(`SELECT org, id, at, actor_kind, actor, action, object, purpose FROM account_audit
		WHERE org = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3`, org, beforeID, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&e.Org, &e.ID, &at, &e.ActorKind, &e.Actor, &e.Action, &e.Object, &e.Purpose); err != nil {
			return nil, err
		}
		e.At = db.FromMicros(at)
		out = append(out, e)
	}
	return out, rows.Err()
}

// sweep deletes what has outlived its time.
func sweep(tx *db.Tx) error {
	now := tx.Now()
	for _, s := range []struct {
		query  string
		before time.Time
	}{
		{`DELETE FROM account_session WHERE expires_at <= $1`, now},
		{`DELETE FROM account_session WHERE seen_at <= $1`, now.Add(-SessionIdle)},
		{`DELETE FROM account_setup WHERE expires_at <= $1`, now},
		{`DELETE FROM account_attempt WHERE since <= $1`, now.Add(-attemptWindow)},
		{`DELETE FROM account_audit WHERE at <= $1`, now.Add(-AuditLife)},
	} {
		if _, err := tx.Exec(s.query, db.Micros(s.before)); err != nil {
			return err
		}
	}
	return nil
}
