package prove

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"parley/catalog"
	"parley/internal/api"
)

// page is an address that anybody may ask for, and that the browser shows or runs.
type page struct{ what, path string }

// pages are the public ones. The scripts that they load are found in them.
func (r *run) pages() []page {
	return []page{{"the console", "/app/"}, {"the widget's frame", "/w/" + r.people.site}, {"the loader", "/widget.js"},
		{"the page that tries a device", "/w/check"}, {"the API's page", "/api"}, {"the front door", "/"}, {"the widget's call", "/api/v1/widget/sites/" + r.people.site}, {"the setup's state", "/api/v1/setup"}}
}

// publicPages asks for every public page as a browser without cookies, twice (A2, D11, G14), and looks at what they load (D5).
func (r *run) publicPages(ctx context.Context) error {
	var scripts, shown []string
	for _, p := range r.pages() {
		first, err := r.browser("somebody who looks at "+p.what).call(ctx, "GET", p.path, nil, nil)
		if err != nil {
			return err
		}
		second, err := r.browser("somebody else who looks at "+p.what).call(ctx, "GET", p.path, nil, nil)
		if err != nil {
			return err
		}
		if first.code() == "web_not_built" {
			r.found.holds("A2", "%s is not built into this program; its address was asked all the same", p.what)
		} else {
			shown = append(shown, p.what)
			r.must("A2", first.status < 400, p.what+" needs no registration", first)
			r.must("A2", bytes.Equal(first.body, second.body), "two people who look at "+p.what+" get the same bytes")
		}
		r.must("A2", len(first.header["Set-Cookie"])+len(second.header["Set-Cookie"]) == 0, p.what+" sets no cookie")
		r.contentPolicy(p, first)
		r.must("G14", slices.Contains(quietReferrers, first.header.Get("Referrer-Policy")),
			p.what+" tells other sites at most the server's name (Referrer-Policy)", first.header.Get("Referrer-Policy"))
		scripts = append(scripts, loaded(p.path, first.body)...)
	}
	all := strings.Join(shown, ", ")
	r.found.holds("A2", "asked for without cookies, as different people: %s. Nobody had to register, no cookie was set, everybody got the same bytes", all)
	r.found.holds("D11", "the Content-Security-Policy of %s forbids what it does not name, and names no host but this server and the sites that show the widget", all)
	r.found.holds("G14", "%s tell other sites at most the server's name (Referrer-Policy)", all)
	return r.scripts(ctx, append(scripts, "/widget.js"))
}

// quietReferrers are the policies under which other sites learn the server's name at most.
var quietReferrers = []string{"no-referrer", "strict-origin-when-cross-origin", "same-origin", "strict-origin"}

// must notes what is wrong; that it is right is said elsewhere, for many together.
func (r *run) must(id string, ok bool, what string, instead ...any) {
	if !ok {
		r.found.check(id, ok, what, instead...)
	}
}

// contentPolicy checks that a page's policy lets the browser speak to nobody but this server: no recipient is declared for browsers.
func (r *run) contentPolicy(p page, a answer) {
	policy := a.header.Get("Content-Security-Policy")
	r.must("D11", strings.Contains(policy, "default-src 'none'"), p.what+": what its Content-Security-Policy does not name is forbidden", policy)
	for directive := range strings.SplitSeq(policy, ";") {
		words := strings.Fields(directive)
		for i, w := range words {
			own := w == siteOrigin && words[0] == "frame-ancestors" // the organisation's own site, which shows the widget
			if i > 0 && !own && !strings.HasPrefix(w, "'") && w != "data:" && w != "blob:" {
				r.found.breaks("D11", "%s: its Content-Security-Policy lets %s go to %s, and no recipient is declared for browsers", p.what, words[0], w)
			}
			if w == "'unsafe-inline'" || w == "'unsafe-eval'" {
				r.found.breaks("D11", "%s: its Content-Security-Policy allows %s", p.what, w)
			}
		}
	}
}

var sourceLink = regexp.MustCompile(`(?:src|href)="([^"]+\.(?:js|css))"`)

// loaded returns the scripts and styles that a page loads from this server.
func loaded(base string, body []byte) (paths []string) {
	for _, m := range sourceLink.FindAllSubmatch(body, -1) {
		path := string(m[1])
		switch {
		case strings.HasPrefix(path, "/"):
		case strings.Contains(path, "//"):
			continue
		default:
			path = base[:strings.LastIndex(base, "/")+1] + strings.TrimPrefix(path, "./")
		}
		paths = append(paths, path)
	}
	return paths
}

var (
	ownKey      = regexp.MustCompile("[\"'`](parley\\.[a-z][a-z.]*)[\"'`]")
	otherKey    = regexp.MustCompile("\\.setItem\\(\\s*[\"'`]([^\"'`]+)[\"'`]")
	cookieWrite = regexp.MustCompile(`document\.cookie\s*=`)
	blankTarget = regexp.MustCompile(`target\s*[:=]\s*\\?["']_blank`)
	imported    = regexp.MustCompile("[\"'`](\\.{0,2}/[A-Za-z0-9._/-]+\\.js)[\"'`]")
)

// scripts reads the front ends' scripts, and those that they load, for what they keep in a browser (D5) and for links out (G14).
func (r *run) scripts(ctx context.Context, paths []string) error {
	declared := map[string]bool{}
	for _, b := range r.catalog.Browser() {
		declared[b.Name] = true
	}
	seen, read, keys := map[string]bool{}, 0, map[string]bool{}
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		if seen[path] || !strings.HasSuffix(path, ".js") {
			continue
		}
		seen[path] = true
		a, err := r.local().call(ctx, "GET", path, nil, nil)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			continue
		}
		read++
		for _, m := range imported.FindAllSubmatch(a.body, -1) {
			paths = append(paths, resolve(path, string(m[1])))
		}
		for _, m := range ownKey.FindAllSubmatch(a.body, -1) {
			keys[string(m[1])] = true
			r.must("D5", declared[string(m[1])], "the front ends' key "+string(m[1])+" is declared in the catalogue")
		}
		for _, m := range otherKey.FindAllSubmatch(a.body, -1) {
			r.must("D5", declared[string(m[1])], "the front ends' key "+string(m[1])+" is declared in the catalogue")
		}
		r.found.check("D5", !bytes.Contains(a.body, []byte("indexedDB")) && !cookieWrite.Match(a.body), "no script writes a cookie or uses IndexedDB")
		if blankTarget.Match(a.body) {
			r.found.check("G14", bytes.Contains(a.body, []byte("noopener")), "links that open a window keep it from its opener (noopener)", path)
		}
	}
	r.found.holds("D5", "%d scripts of the front ends were read; what they keep in a browser is declared: %s", read, names(keys))
	r.found.holds("G14", "%d scripts were read for links that open a window", read)
	return nil
}

func resolve(from, to string) string {
	if strings.HasPrefix(to, "/") {
		return to
	}
	dir := from[:strings.LastIndex(from, "/")]
	for {
		switch {
		case strings.HasPrefix(to, "./"):
			to = to[2:]
		case strings.HasPrefix(to, "../"):
			to, dir = to[3:], dir[:max(strings.LastIndex(dir, "/"), 0)]
		default:
			return dir + "/" + to
		}
	}
}

// cookieGate checks every cookie that the server gave during the proof (D1, D2), and that one which nobody declared is dropped.
func (r *run) cookieGate() {
	names := map[string]bool{}
	for _, set := range r.cookies {
		c, err := http.ParseSetCookie(set.line)
		if err != nil {
			r.found.breaks("D1", "%s sets a cookie that cannot be read", set.call)
			continue
		}
		names[c.Name] = true
		_, ok := r.catalog.Cookie(c.Name)
		r.found.check("D1", ok, "the cookie "+c.Name+" is declared in the catalogue", set.call)
		if c.Value == "" {
			continue // it takes the cookie away
		}
		r.found.check("D2", c.MaxAge == 0 && c.Expires.IsZero(), "the cookie "+c.Name+" ends with the browser: it has no Max-Age", set.call)
		r.found.check("D2", c.HttpOnly && c.SameSite >= http.SameSiteLaxMode && c.Path == "/" && c.Domain == "", "the cookie "+c.Name+" is HttpOnly, SameSite and of this host alone", set.call)
		r.found.check("D2", c.Secure == strings.HasPrefix(c.Name, "__Host-"), "the cookie "+c.Name+" is Secure wherever the server is reached by HTTPS", set.call)
	}
	r.found.check("D1", len(names) > 0, fmt.Sprintf("%d Set-Cookie headers were seen during the proof, of %d cookies", len(r.cookies), len(names)))
	w := &blank{header: http.Header{}}
	api.CookieGate(func(name string) bool { _, ok := r.catalog.Cookie(name); return ok }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "_ga", Value: "1"}) //nolint:gosec // it must not come out
		w.WriteHeader(http.StatusOK)
	})).ServeHTTP(w, &http.Request{})
	r.found.check("D1", len(w.header["Set-Cookie"]) == 0, "a cookie that nobody declared is dropped on its way out")
}

// blank is a response that goes nowhere.
type blank struct{ header http.Header }

func (b *blank) Header() http.Header         { return b.header }
func (b *blank) Write(p []byte) (int, error) { return len(p), nil }
func (b *blank) WriteHeader(int)             {}

// withoutCookies notes what the visitors' journeys have shown: none of them had a cookie to send, and none was given one.
func (r *run) withoutCookies() {
	for _, set := range r.cookies {
		if strings.Contains(set.call, "/widget/") || strings.Contains(set.call, "/w/") {
			r.found.breaks("D4", "%s sets a cookie", set.call)
		}
	}
	r.found.holds("D4", "visitors wrote, were answered, corrected their profile and came back without a cookie")
	for _, b := range r.catalog.Browser() {
		r.must("A2", b.Who != "visitor" || b.Where != "cookie" && b.When != "", "what the widget keeps in a browser is no cookie, and is written only after the visitor acts: "+b.Name)
	}
}

// optional checks that nothing is refused for want of what may be left out (A1).
func (r *run) optional(ctx context.Context) error {
	full := [][2]string{{"page", `{"url":"https://shop.example/","title":"Shop"}`}, {"locale", `"en"`}, {"visitor", `{"name":"Vera","email":"vera@visitors.example"}`}}
	for _, field := range full {
		left := field[0]
		var body strings.Builder
		body.WriteString(`{"client_id":"` + clientID() + `","body":"hello"`)
		for _, f := range full {
			if f[0] != left {
				body.WriteString(`,"` + f[0] + `":` + f[1])
			}
		}
		a, err := r.people.bare.call(ctx, "POST", "/api/v1/widget/sites/"+r.people.site+"/conversations", body.String()+"}", nil)
		if err != nil {
			return err
		}
		r.found.check("A1", a.status < 300, "a conversation begins without "+left, a)
	}
	for _, body := range []string{`{"name":"","email":""}`, `{"name":"Bea"}`, `{"email":"bea@visitors.example"}`, `{"name":"","email":""}`} {
		a, err := r.people.bare.call(ctx, "PATCH", "/api/v1/widget/visitor", body, nil)
		if err != nil {
			return err
		}
		r.found.check("A1", a.status == 200, "a visitor may give a name or an e-mail, neither, and take both back", a)
		r.found.check("F1", a.status == 200, "a visitor changes and empties name and e-mail", a)
	}
	n := 0
	for _, t := range r.catalog.Tables() {
		for _, c := range t.Columns {
			if c.Optional && (c.Kind == catalog.KindSealed || c.Kind == catalog.KindIndex || c.Kind == catalog.KindPlain) {
				n++
			}
		}
	}
	r.found.holds("A1", "%d declared columns are optional", n)
	return nil
}
