package prove

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"parley/account"
	"parley/internal/db"
)

// weakPasswords tries passwords on an invitation that must be refused (I1), and whether the invitation alone opens anything (I2).
func (r *run) weakPasswords(ctx context.Context, invitation, name string) error {
	guest := r.local()
	for _, weak := range [][2]string{{"a short one", "Xk7#q"}, {"a common one", "password1234"}, {"one made of the name", name}} {
		a, err := guest.call(ctx, "POST", "/api/v1/invitations/"+invitation, map[string]string{"name": name, "password": weak[1]}, nil)
		if err != nil {
			return err
		}
		r.found.check("I1", a.status == 422, "refused as a password: "+weak[0], a)
	}
	for _, path := range []string{"/api/v1/conversations", "/api/v1/members", "/api/v1/session"} {
		a, err := guest.with("Authorization", "Bearer "+invitation).with("Cookie", account.CookieLoopback+"="+invitation).call(ctx, "GET", path, nil, nil)
		if err != nil {
			return err
		}
		r.found.check("I2", a.status == 401, "a one-time link opens no data before its holder has chosen a password", a)
	}
	return nil
}

// usedInvitation checks that a one-time link works once.
func (r *run) usedInvitation(ctx context.Context, invitation string) error {
	a, err := r.local().call(ctx, "GET", "/api/v1/invitations/"+invitation, nil, nil)
	if err == nil {
		r.found.check("I2", a.is(404, "invitation_unknown"), "a one-time link works once; no password is ever made for anybody or sent", a)
	}
	return err
}

// signIn signs the agent in as another browser.
func (r *run) signIn(ctx context.Context, c *client) error {
	return c.must(ctx, "POST", "/api/v1/session", map[string]string{"email": r.agentEmail(), "password": r.people.password}, nil)
}

func (r *run) agentEmail() string {
	for _, c := range r.canaries {
		if strings.HasSuffix(c.value, "@agents.example") {
			return c.value
		}
	}
	return ""
}

// agedSession is a sign-in whose times are changed later, as if they had passed.
type agedSession struct {
	*client
	id string
}

// sessions checks what sign-in and sign-out do (D2, D3, I3), and makes the sessions that will have aged (I4).
func (r *run) sessions(ctx context.Context) error {
	values := map[string]bool{}
	for range 2 {
		s := agedSession{client: r.browser("an agent's other browser")}
		if err := r.signIn(ctx, s.client); err != nil {
			return err
		}
		var list struct {
			Items []struct {
				ID      string
				Current bool
			}
		}
		if err := s.must(ctx, "GET", "/api/v1/sessions", nil, &list); err != nil {
			return err
		}
		for _, item := range list.Items {
			if item.Current {
				s.id = item.ID
			}
		}
		_, value, _ := strings.Cut(s.cookie, "=")
		values[value] = true
		r.found.check("D3", len(value) == 43 && strings.HasPrefix(s.cookie, account.CookieSecure+"="), "a session's cookie has the prefix __Host- and 256 random bits")
		r.aged = append(r.aged, s)
	}
	r.found.check("D3", len(values) == 2, "two sign-ins have nothing in common; visitors, who belong to one organisation, get no cookie at all")
	return r.signOut(ctx)
}

// signOut signs out and tries to go on with the old cookie.
func (r *run) signOut(ctx context.Context) error {
	c := r.browser("an agent who signs out")
	if err := r.signIn(ctx, c); err != nil {
		return err
	}
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(r)
	a, err := c.call(ctx, "DELETE", "/api/v1/session", nil, nil)
	if err != nil {
		return err
	}
	r.found.check("D5", strings.Contains(a.header.Get("Clear-Site-Data"), `"storage"`), "signing out clears what the browser stored")
	r.found.check("I3", a.status < 300 && s.ended(), "signing out ends the session's open sockets")
	again, err := c.call(ctx, "GET", "/api/v1/session", nil, nil)
	if err != nil {
		return err
	}
	r.found.check("I3", again.status == 401, "the cookie of a session that was signed out is refused", again)
	if s, err := c.open(ctx); err == nil {
		s.close(r)
		r.found.breaks("I3", "the cookie of a session that was signed out still opens the socket")
	}
	return nil
}

// backInTime lets two sessions age while the server is stopped: one was idle for too long, one is too old. It also makes sure that the
// restored data knows the erased visitor again: otherwise the next start would prove nothing.
func (r *run) backInTime(ctx context.Context) error {
	return r.dataStore(ctx, r.data, func(d *db.DB) error {
		recs, err := records(ctx, d, `SELECT id FROM person WHERE id = $1`, r.people.gone.id)
		if err != nil {
			return err
		}
		if !r.found.check("F8", len(recs) == 1, "the restored data holds the erased visitor's rows again, before the server starts") || len(r.aged) < 2 {
			return nil
		}
		return d.Do(ctx, "prove.age", func(tx *db.Tx) error {
			if _, err := tx.Exec(`UPDATE account_session SET seen_at = $2 WHERE id = $1`, r.aged[0].id, db.Micros(tx.Now().Add(-account.SessionIdle-time.Minute))); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE account_session SET expires_at = $2 WHERE id = $1`, r.aged[1].id, db.Micros(tx.Now().Add(-time.Minute)))
			return err
		})
	})
}

// limited checks that the aged sessions are over.
func (r *run) limited(ctx context.Context) error {
	if len(r.aged) < 2 {
		return nil
	}
	for i, what := range []string{fmt.Sprintf("a session that was idle for %v is over", account.SessionIdle), fmt.Sprintf("a session is over after %v, whatever the browser keeps", account.SessionLife)} {
		a, err := r.aged[i].call(ctx, "GET", "/api/v1/session", nil, nil)
		if err != nil {
			return err
		}
		r.found.check("I4", a.status == 401, what, a)
		r.found.check("D2", a.status == 401, what, a)
	}
	a, err := r.people.agent.call(ctx, "GET", "/api/v1/session", nil, nil)
	if err == nil {
		r.found.check("I4", a.status == 200, "a session within its limits goes on", a)
	}
	return err
}

// lockout is the limit of I5.
const lockout = 20

// failures blocks an address by wrong passwords, and shows that success resets the count.
func (r *run) failures(ctx context.Context) error {
	thief := r.browser("somebody who guesses")
	if err := r.guess(ctx, thief, lockout); err != nil {
		return err
	}
	neighbour := r.browser("a neighbour in the network of somebody who guesses")
	b := thief.from.addr.As16()
	b[15] ^= 0x55
	neighbour.from.addr = netip.AddrFrom16(b)
	neighbour.from.token = neighbour.from.addr.String()
	a, err := r.guessOnce(ctx, neighbour)
	if err != nil {
		return err
	}
	r.found.check("I5", a.is(429, "too_many_attempts") && a.header.Get("Retry-After") != "", fmt.Sprintf("after %d failures in a row the address is blocked, with its IPv6 network", lockout), a)
	a, err = r.guessOnce(ctx, r.browser("somebody elsewhere"))
	if err != nil {
		return err
	}
	r.found.check("I5", a.is(401, "sign_in_failed"), "an address elsewhere is not blocked", a)
	clumsy := r.browser("an agent who mistypes")
	if err := r.guess(ctx, clumsy, lockout-1); err != nil {
		return err
	}
	if err := r.signIn(ctx, clumsy); err != nil {
		return err
	}
	for range 2 {
		if a, err = r.guessOnce(ctx, clumsy); err != nil {
			return err
		}
		r.found.check("I5", a.is(401, "sign_in_failed"), "a sign-in that succeeds resets the count", a)
	}
	return nil
}

// guess fails n times in a row; each time another account, since accounts have a limit of their own.
func (r *run) guess(ctx context.Context, c *client, n int) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for range n {
		g.Go(func() error {
			a, err := r.guessOnce(gctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && !a.is(401, "sign_in_failed") {
				r.found.breaks("I5", "a failed sign-in before the limit is answered with %s", a)
			}
			return err
		})
	}
	return g.Wait()
}

func (r *run) guessOnce(ctx context.Context, c *client) (answer, error) {
	return c.call(ctx, "POST", "/api/v1/session", map[string]string{"email": clientID() + "@guess.example", "password": "lantern-gravel-otter"}, nil)
}

// operation is what the API's own description says of a call.
type operation struct {
	Security []map[string][]string `json:"security"`
}

// defaultDeny calls every operation as nobody: what is not declared public is refused. Then strangers try to see what is not theirs.
func (r *run) defaultDeny(ctx context.Context) error {
	var doc struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	a, err := r.local().call(ctx, "GET", "/openapi.json", nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		return fmt.Errorf("the API's description: %w", err)
	}
	closed, public := 0, 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			open := len(op.Security) == 0
			for _, s := range op.Security {
				open = open || len(s) == 0
			}
			if open {
				public++
				continue
			}
			full := path
			if !strings.HasPrefix(full, "/api/") {
				full = "/api/v1" + full
			}
			for strings.Contains(full, "{") {
				full = full[:strings.Index(full, "{")] + "some-id" + full[strings.Index(full, "}")+1:]
			}
			var body any
			if method != "get" && method != "delete" {
				body = "{}"
			}
			a, err := r.local().call(ctx, strings.ToUpper(method), full, body, nil)
			if err != nil {
				return err
			}
			closed++
			if a.status != 401 {
				r.found.breaks("I8", "%s is answered to nobody with %s", a.call, a)
			}
		}
	}
	r.found.check("I8", closed > 20, fmt.Sprintf("%d operations refuse a caller without credentials; %d are public by declaration", closed, public))
	return r.strangers(ctx)
}

func (r *run) strangers(ctx context.Context) error {
	p := &r.people
	conversation := p.gone.conversations[0]
	for _, q := range []struct {
		who    string
		as     *client
		method string
		path   string
		status int
	}{
		{"another organisation's owner", p.stranger, "GET", "/api/v1/conversations/" + conversation, 404},
		{"another organisation's owner", p.stranger, "GET", "/api/v1/conversations/" + conversation + "/messages", 404},
		{"another organisation's owner", p.stranger, "GET", "/api/v1/persons/" + p.gone.id, 404},
		{"another organisation's owner", p.stranger, "DELETE", "/api/v1/persons/" + p.stays.id, 404},
		{"another visitor", p.stays.client, "GET", "/api/v1/widget/conversations/" + conversation, 404},
		{"another visitor", p.stays.client, "GET", "/api/v1/widget/conversations/" + conversation + "/messages", 404},
		{"a visitor's token", p.stays.client, "GET", "/api/v1/conversations", 401},
		{"an agent", p.agent, "GET", "/api/v1/audit", 403},
	} {
		a, err := q.as.call(ctx, q.method, q.path, nil, nil)
		if err != nil {
			return err
		}
		r.found.check("I8", a.status == q.status, fmt.Sprintf("%s gets %d for %s", q.who, q.status, a.call), a)
	}
	return nil
}

// watched checks that reads by staff leave a trace: who, which conversation, for what.
func (r *run) watched(ctx context.Context) error {
	var log struct {
		Items []struct {
			Actor, Action, Object, Purpose string
		}
	}
	if err := r.people.owner.must(ctx, "GET", "/api/v1/audit?limit=100", nil, &log); err != nil {
		return err
	}
	reads := 0
	for _, e := range log.Items {
		if e.Actor == r.people.agentID && e.Action == "chat.conversation.read" && e.Object == r.people.gone.conversations[0] && e.Purpose == "support" {
			reads++
		}
	}
	r.found.check("B3", reads == 1, "an agent's reading of a conversation is in the audit log, once a sitting: who, which conversation, for support", reads)
	return nil
}
