package account

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
)

// The session cookie's names. The __Host- prefix makes browsers insist on Secure, on the whole host and on no Domain; a
// server on http://localhost cannot have it.
const (
	CookieSecure   = "__Host-parley"
	CookieLoopback = "parley"
)

const tokenLen = 43 // characters of a token

// Authenticate says which member sent a request, by its cookie. It reads the database at most once, and not at all within
// cacheFor of the last time; a session that ended here, or was announced by another node, is refused at once. Unauthenticated
// (signed_out) when there is no cookie or the session ended, was idle for SessionIdle or is older than SessionLife;
// Forbidden (organisation_needed) when the member no longer belongs to its organisation.
func (s *Service) Authenticate(r *http.Request) (actor.Actor, error) {
	a, _, err := s.Identify(r)
	if err == nil && a.Org == "" {
		err = fault.New(fault.Forbidden, "account.Authenticate", "organisation_needed", "You belong to no organisation. Ask an owner to invite you.")
	}
	return a, err
}

// Identify is Authenticate, and tells when the session ends at the latest, for sockets that outlive a request. The actor's Org is
// empty when the member does not belong to the session's organisation.
func (s *Service) Identify(r *http.Request) (actor.Actor, time.Time, error) {
	const op = "account.Authenticate"
	out := fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
	token := tokenOf(r, api.Secure(r.Context()))
	if token == "" {
		return actor.Actor{}, time.Time{}, out
	}
	ctx, hash, now := r.Context(), hashToken(token), s.now()
	row, ok := s.cache.get(hash, now)
	if !ok {
		asked := s.cache.clock()
		err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
			row, err = sessionByToken(tx, hash)
			return err
		})
		if fault.Is(err, fault.NotFound) {
			return actor.Actor{}, time.Time{}, out
		}
		if err != nil {
			return actor.Actor{}, time.Time{}, err
		}
		s.cache.put(hash, row, now, asked)
	}
	if !now.Before(row.expiresAt) || now.Sub(row.seen) >= SessionIdle {
		s.cache.forget(Revocation{Member: row.member, Session: row.id})
		return actor.Actor{}, time.Time{}, out
	}
	if now.Sub(row.seen) >= seenEvery {
		s.touch(ctx, hash, row, now)
	}
	a := actor.Actor{Kind: actor.Member, ID: row.member, Session: row.id}
	if row.role != "" {
		a.Org, a.Role = row.org, row.role
	}
	return a, row.expiresAt, nil
}

// touch notes that a session is in use. A failure - the disk is full - ends nobody's request.
func (s *Service) touch(ctx context.Context, hash string, row sessionRow, now time.Time) {
	if !s.cache.touch(hash, now) {
		return // another request is at it
	}
	err := s.db.Do(ctx, "account.touch", func(tx *db.Tx) error { return touchSession(tx, row.id) })
	if err != nil {
		f := fault.Of(err)
		s.log.DebugContext(ctx, "session not touched", "op", f.Op, "kind", f.Kind.String())
	}
}

// Forget makes this node read sessions again; what another node announced arrives here.
func (s *Service) Forget(r Revocation) { s.cache.forget(r) }

// revoke ends sessions on every node once tx commits: the cache forgets, the others are told, sockets are closed.
func (s *Service) revoke(tx *db.Tx, r Revocation) {
	if s.links.Announcer != nil {
		s.links.Announcer.Announce(tx, r)
	}
	tx.After(func() {
		s.cache.forget(r)
		if s.links.Dropper != nil {
			go s.links.Dropper.Drop(actor.Member, r.Member, r.Session)
		}
	})
}

// tokenOf returns the token in the session cookie, "" without a well-formed one. Two different ones are none: somebody else set one of them.
func tokenOf(r *http.Request, secure bool) string {
	name := CookieLoopback
	if secure {
		name = CookieSecure
	}
	return cookieToken(r.Header["Cookie"], name)
}

func cookieToken(headers []string, name string) string {
	found := ""
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ";") {
			n, v, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok || n != name {
				continue
			}
			if !wellFormed(v) || (found != "" && found != v) {
				return ""
			}
			found = v
		}
	}
	return found
}

// wellFormed reports whether a text could be a token: 43 characters of base64url.
func wellFormed(s string) bool {
	if len(s) != tokenLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// sessionCookie makes the cookie for the address under which the client came. It has no Max-Age: it ends with the browser, and
// the server's own limits hold in any case (promise D2). Plain HTTP is refused except on loopback.
func sessionCookie(ctx context.Context, token string) (c http.Cookie, err error) {
	base := api.PublicURLOf(ctx)
	if strings.HasPrefix(base, "https://") {
		return cookie(CookieSecure, token, true), nil
	}
	u, err := url.Parse(base)
	if err != nil || !loopbackName(u.Hostname()) {
		return c, fault.New(fault.Forbidden, "account.cookie", "https_needed",
			"Signing in needs https. Behind a proxy, tell the server its public address or which proxy to trust.")
	}
	return cookie(CookieLoopback, token, false), nil
}

func cookie(name, token string, secure bool) http.Cookie {
	//nolint:gosec // without Secure only by plain HTTP on loopback, where sessionCookie says so
	return http.Cookie{Name: name, Value: token, Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// endCookie deletes the cookie.
func endCookie(ctx context.Context) string {
	secure := api.Secure(ctx)
	name := CookieLoopback
	if secure {
		name = CookieSecure
	}
	c := cookie(name, "", secure) //nolint:gosec // with the attributes that it was set with, or browsers keep it
	c.MaxAge = -1
	return c.String()
}

// sessionCache keeps sessions by the hash of their token.
type sessionCache struct {
	mu   sync.Mutex
	tick uint64 // counts what was forgotten, to order it with reads
	rows map[string]*cachedSession
	gone map[Revocation]uint64
}

type cachedSession struct {
	row  sessionRow
	read time.Time
}

// maxCached bounds the sessions in memory, and the notes of what was forgotten.
const maxCached = 20_000

func newSessionCache() *sessionCache {
	return &sessionCache{rows: map[string]*cachedSession{}, gone: map[Revocation]uint64{}}
}

func (c *sessionCache) get(hash string, now time.Time) (sessionRow, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.rows[hash]
	if s == nil || now.Sub(s.read) >= cacheFor || now.Before(s.read) {
		return sessionRow{}, false
	}
	return s.row, true
}

// clock returns the moment before a read, in the cache's own time.
func (c *sessionCache) clock() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tick
}

// put keeps what was read, unless it was forgotten since the read began: the row may be older than its end.
func (c *sessionCache) put(hash string, row sessionRow, now time.Time, asked uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone[Revocation{Member: row.member}] > asked || c.gone[Revocation{row.member, row.id}] > asked {
		return
	}
	if len(c.rows) >= maxCached {
		c.drop(func(s *cachedSession) bool { return now.Sub(s.read) >= cacheFor })
	}
	if len(c.rows) >= maxCached {
		clear(c.rows)
	}
	c.rows[hash] = &cachedSession{row: row, read: now}
}

// touch moves the time of last use in memory; of many requests at once it returns true to one.
func (c *sessionCache) touch(hash string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.rows[hash]
	if s == nil {
		return true
	}
	if now.Sub(s.row.seen) < seenEvery {
		return false
	}
	s.row.seen = now
	return true
}

func (c *sessionCache) forget(r Revocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick++
	if len(c.gone) >= maxCached {
		clear(c.gone) // reads that began before are rare, and cacheFor is short
		clear(c.rows)
	}
	c.gone[r] = c.tick
	c.drop(func(s *cachedSession) bool {
		return s.row.member == r.Member && (r.Session == "" || s.row.id == r.Session)
	})
}

func (c *sessionCache) drop(which func(*cachedSession) bool) {
	for hash, s := range c.rows {
		if which(s) {
			delete(c.rows, hash)
		}
	}
}

// nameCache keeps members' names for nameFor.
type nameCache struct {
	mu   sync.Mutex
	seen map[nameKey]cachedName
}

type nameKey struct{ org, member string }

type cachedName struct {
	name string
	read time.Time
}

func newNameCache() *nameCache { return &nameCache{seen: map[nameKey]cachedName{}} }

func (c *nameCache) get(org string, ids []string, now time.Time) (have map[string]string, missing []string) {
	have = map[string]string{}
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := map[string]bool{}
	for _, id := range ids {
		if id == "" || asked[id] {
			continue
		}
		asked[id] = true
		if n, ok := c.seen[nameKey{org, id}]; ok && now.Sub(n.read) < nameFor && !now.Before(n.read) {
			have[id] = n.name
			continue
		}
		missing = append(missing, id)
	}
	return have, missing
}

func (c *nameCache) put(org string, names map[string]string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) > maxCached {
		clear(c.seen)
	}
	for id, name := range names {
		c.seen[nameKey{org, id}] = cachedName{name, now}
	}
}

func (c *nameCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.seen)
}
