package chat

import (
	"context"
	"database/sql"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
)

// Limits on a site's settings.
const (
	MaxSiteName = 100 // characters
	MaxOrigins  = 20
)

// Site is a website that the widget stands on.
type Site struct {
	Org, ID, Project, Name string
	Accent                 string // "#rrggbb", or "" for Parley's own
	Origins                []string
	CreatedAt              time.Time
}

// Snippet is what a site owner pastes into a page; base is Parley's public address.
func (s Site) Snippet(base string) string {
	return `<script src="` + html.EscapeString(base) + `/widget.js" data-site="` + s.ID + `" async></script>`
}

// Allows reports whether pages of the origin may show the widget.
func (s Site) Allows(origin string) bool { return slices.Contains(s.Origins, origin) }

var accentForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// CheckOrigin returns the origin in its serialised form (RFC 6454, section 6.2). Plain HTTP is for loopback alone.
func CheckOrigin(s string) (string, error) {
	bad := fault.Bad("chat.CheckOrigin", "origins", "origin_invalid",
		"An origin is scheme and host, such as https://shop.example; plain http only for localhost and 127.0.0.1.")
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return "", bad
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	// It goes into a policy header, and browsers name hosts in ASCII.
	if strings.ContainsAny(host, " ;,'\"*\\") || strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 || u.Hostname() == "" {
		return "", bad
	}
	switch name := strings.ToLower(u.Hostname()); {
	case scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case scheme == "http" && (name == "localhost" || name == "127.0.0.1" || name == "::1" || strings.HasSuffix(name, ".localhost")):
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", bad
	}
	return scheme + "://" + host, nil
}

func checkSite(st *Site) error {
	const op = "chat.checkSite"
	st.Name = strings.Join(strings.Fields(st.Name), " ")
	if n := utf8.RuneCountInString(st.Name); n == 0 || n > MaxSiteName || strings.IndexFunc(st.Name, unicode.IsControl) >= 0 {
		return fault.Bad(op, "name", "site_name_invalid", "A site has a name of 1 to 100 characters.")
	}
	if st.Accent != "" && !accentForm.MatchString(st.Accent) {
		return fault.Bad(op, "accent", "accent_invalid", "An accent is a colour such as #0f5e5c, or empty.")
	}
	if len(st.Origins) == 0 || len(st.Origins) > MaxOrigins {
		return fault.Bad(op, "origins", "origins_missing", "Name 1 to 20 origins whose pages may show the widget.")
	}
	for i, o := range st.Origins {
		clean, err := CheckOrigin(o)
		if err != nil {
			return err
		}
		st.Origins[i] = clean
	}
	slices.Sort(st.Origins)
	st.Origins = slices.Compact(st.Origins)
	return nil
}

// CreateSite adds a site to a project of the actor's organisation. An empty project means the organisation's oldest. With an
// Idempotency-Key in ctx a second call returns what the first one made.
func (s *Service) CreateSite(ctx context.Context, st Site) (Site, error) {
	const op = "chat.CreateSite"
	st.Org, st.ID = actor.From(ctx).Org, db.NewID()
	if err := checkSite(&st); err != nil {
		return Site{}, err
	}
	var err error
	if st.Project == "" {
		if st.Project, err = s.account.DefaultProject(ctx, st.Org); err != nil {
			return Site{}, err
		}
	}
	var made string
	var again bool
	err = s.db.Do(ctx, op, func(tx *db.Tx) (err error) {
		made, again, err = api.Once(ctx, tx, "create-site", st.ID, func() error { return insertSite(tx, &st) })
		return err
	})
	if err == nil && again {
		return s.Site(ctx, made)
	}
	return st, err
}

func insertSite(tx *db.Tx, st *Site) error {
	st.CreatedAt = tx.Now()
	if _, err := tx.Exec(`INSERT INTO chat_site (org, id, project, name, accent, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		st.Org, st.ID, st.Project, st.Name, st.Accent, db.Micros(st.CreatedAt)); err != nil {
		return err
	}
	return putOrigins(tx, *st)
}

// UpdateSite changes name, accent and origins.
func (s *Service) UpdateSite(ctx context.Context, st Site) (Site, error) {
	const op = "chat.UpdateSite"
	st.Org = actor.From(ctx).Org
	if err := checkSite(&st); err != nil {
		return Site{}, err
	}
	err := s.db.Do(ctx, op, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE chat_site SET name = $3, accent = $4 WHERE org = $1 AND id = $2`, st.Org, st.ID, st.Name, st.Accent)
		if err != nil {
			return err
		}
		if n == 0 {
			return siteUnknown(op)
		}
		if _, err := tx.Exec(`DELETE FROM chat_site_origin WHERE org = $1 AND site = $2`, st.Org, st.ID); err != nil {
			return err
		}
		return putOrigins(tx, st)
	})
	if err != nil {
		return Site{}, err
	}
	s.sites.forget(st.ID)
	return s.Site(ctx, st.ID)
}

func putOrigins(tx *db.Tx, st Site) error {
	for _, o := range st.Origins {
		if _, err := tx.Exec(`INSERT INTO chat_site_origin (org, site, origin) VALUES ($1, $2, $3)`, st.Org, st.ID, o); err != nil {
			return err
		}
	}
	return nil
}

// Sites returns the organisation's sites, oldest first.
func (s *Service) Sites(ctx context.Context) (out []Site, err error) {
	org := actor.From(ctx).Org
	err = s.db.Read(ctx, "chat.Sites", func(tx *db.Tx) error {
		out, err = sites(tx, `s.org = $1`, org)
		return err
	})
	return out, err
}

func siteUnknown(op string) error {
	return fault.New(fault.NotFound, op, "site_unknown", "There is no such site.")
}

// Site returns a site by its public id. It is the one look-up that needs no organisation: the widget has none.
func (s *Service) Site(ctx context.Context, id string) (Site, error) {
	const op = "chat.Site"
	if st, ok := s.sites.get(id); ok {
		return st, nil
	}
	var found []Site
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		found, err = sites(tx, `s.id = $1`, id)
		return err
	})
	if err != nil {
		return Site{}, err
	}
	if len(found) == 0 {
		return Site{}, siteUnknown(op)
	}
	s.sites.put(found[0])
	return found[0], nil
}

func sites(tx *db.Tx, where string, arg string) ([]Site, error) {
	rows, err := tx.Query(`SELECT s.org, s.id, s.project, s.name, s.accent, s.created_at, o.origin FROM chat_site s
		LEFT JOIN chat_site_origin o ON o.org = s.org AND o.site = s.id WHERE `+where+` ORDER BY s.created_at, s.id, o.origin`, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Site
	for rows.Next() {
		var st Site
		var created int64
		var origin sql.NullString
		if err := rows.Scan(&st.Org, &st.ID, &st.Project, &st.Name, &st.Accent, &created, &origin); err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].ID != st.ID {
			st.CreatedAt = db.FromMicros(created)
			out = append(out, st)
		}
		if origin.Valid {
			last := &out[len(out)-1]
			last.Origins = append(last.Origins, origin.String)
		}
	}
	return out, rows.Err()
}

// siteCache keeps sites for a few seconds: every page view of every shop asks for one.
type siteCache struct {
	mu   sync.Mutex
	byID map[string]cachedSite
}

type cachedSite struct {
	Site
	until time.Time
}

const (
	siteCacheLife = 5 * time.Second
	siteCacheSize = 4096
)

func (c *siteCache) get(id string) (Site, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	return e.Site, ok && time.Now().Before(e.until)
}

func (c *siteCache) put(st Site) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil || len(c.byID) >= siteCacheSize {
		c.byID = map[string]cachedSite{}
	}
	c.byID[st.ID] = cachedSite{st, time.Now().Add(siteCacheLife)}
}

func (c *siteCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}
