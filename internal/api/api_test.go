package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/fault"
)

type thing struct {
	Name string `json:"name" maxLength:"5" doc:"what it is called"`
	Note string `json:"note,omitempty"`
}

type thingIn struct {
	ID   string `path:"id"`
	Body thing
}

type thingOut struct{ Body thing }

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type server struct {
	*httptest.Server
	api  *api.API
	logs *logBuffer
	seen []api.Observation
}

func member(role actor.Role) api.Authenticator {
	return func(r *http.Request) (actor.Actor, error) {
		if r.Header.Get("X-Test-Member") == "" {
			return actor.Actor{}, fault.New(fault.Unauthenticated, "test", "signed_out", "Sign in first.")
		}
		return actor.Actor{Kind: actor.Member, ID: "m1", Org: "o1", Role: role}, nil
	}
}

func start(t *testing.T, change func(*api.Options), routes ...api.Route) *server {
	t.Helper()
	s := &server{logs: &logBuffer{}}
	known := map[string]bool{}
	for _, k := range api.Data.LogKeys {
		known[k.Name] = true
	}
	opt := api.Options{
		Title: "Parley", Version: "test", Members: member(actor.Agent), Visitors: member(""),
		Logger:  slog.New(api.AllowKeys(slog.NewJSONHandler(s.logs, nil), func(k string) bool { return known[k] })),
		Cookie:  func(name string) bool { return name == "parley" },
		Observe: func(o api.Observation) { s.seen = append(s.seen, o) },
	}
	if change != nil {
		change(&opt)
	}
	a, err := api.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	a.Mount(routes...)
	s.api = a
	s.Server = httptest.NewServer(a.Handler())
	t.Cleanup(s.Close)
	return s
}

func putThing(f func(context.Context, *thingIn) (*thingOut, error)) api.Route {
	return api.Op(api.Route{Method: "PUT", Path: "/things/{id}", Access: api.Public, Name: "put-thing", Summary: "Put a thing", Tag: "Things"}, f)
}

func echo(_ context.Context, in *thingIn) (*thingOut, error) { return &thingOut{in.Body}, nil }

type answer struct {
	status int
	header http.Header
	body   string
	doc    api.Document
}

func (s *server) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(b)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(b, &a.doc); err != nil {
			t.Fatalf("problem document: %v: %s", err, b)
		}
	}
	return a
}

func TestEveryErrorHasOneShape(t *testing.T) {
	const canary = "canary-tomato"
	kinds := map[fault.Kind]int{fault.Internal: 500, fault.Invalid: 422, fault.Malformed: 400, fault.Unauthenticated: 401,
		fault.Forbidden: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Gone: 410, fault.TooLarge: 413,
		fault.RateLimited: 429, fault.Unavailable: 503, fault.Full: 507}
	var give error
	s := start(t, nil, putThing(func(context.Context, *thingIn) (*thingOut, error) { return nil, give }))
	for kind, status := range kinds {
		give = &fault.Error{Kind: kind, Op: "test", Code: "some_code", Field: "name", Text: "words", RetryAfter: 1500 * time.Millisecond, Cause: errors.New(canary)}
		got := s.do(t, "PUT", "/api/v1/things/1", `{"name":"a"}`)
		if got.status != status || got.doc.Status != status || got.doc.Code != "some_code" || got.doc.Title == "" || got.doc.Request == "" {
			t.Errorf("%v: got %d %+v", kind, got.status, got.doc)
		}
		if kind != fault.Internal && (got.doc.Detail != "words" || got.doc.Field != "name") {
			t.Errorf("%v: %+v", kind, got.doc)
		}
		if got.header.Get("Retry-After") != "2" || got.doc.RetryAfter != 2 {
			t.Errorf("%v: Retry-After %q", kind, got.header.Get("Retry-After"))
		}
		if strings.Contains(got.body, canary) {
			t.Errorf("%v: the cause reached the client", kind)
		}
	}
	give = errors.New(canary)
	if got := s.do(t, "PUT", "/api/v1/things/1", `{"name":"a"}`); got.status != 500 || got.doc.Code != "internal" || got.doc.Detail == "" {
		t.Errorf("plain error: %d %+v", got.status, got.doc)
	}
	if strings.Contains(s.logs.String(), canary) {
		t.Error("the cause's message is in the log")
	}
	if !strings.Contains(s.logs.String(), `"op":"test"`) {
		t.Error("the failing operation is not in the log")
	}
}

func TestSchemaErrorsHaveTheSameShapeAndEchoNothing(t *testing.T) {
	const canary = "canary-potato"
	s := start(t, nil, putThing(echo))
	for _, c := range []struct {
		name, body   string
		status       int
		code, field  string
		extra, value string
	}{
		{"too long", `{"name":"` + canary + `"}`, 422, "invalid", "name", "", ""},
		{"missing", `{}`, 422, "invalid", "name", "", ""},
		{"unknown", `{"name":"a","other":"` + canary + `"}`, 422, "invalid", "other", "", ""},
		{"two", `{"name":5,"note":5}`, 422, "invalid", "name", "", ""},
		{"not JSON", `{"name":` + canary, 400, "malformed", "", "", ""},
		{"too large", `{"name":"` + strings.Repeat("x", api.DefaultMaxBody) + `"}`, 413, "body_too_large", "", "", ""},
		{"far too large", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "body_too_large", "", "", ""},
		{"wrong type", `<a/>`, 415, "media_type", "", "Content-Type", "text/xml"},
	} {
		header := []string{}
		if c.extra != "" {
			header = append(header, c.extra, c.value)
		}
		got := s.do(t, "PUT", "/api/v1/things/1", c.body, header...)
		if c.name == "wrong type" {
			continue // net/http joins both values; the case below sends one
		}
		if got.status != c.status || got.doc.Code != c.code || got.doc.Field != c.field || got.doc.Detail == "" {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
		if strings.Contains(got.body, canary) {
			t.Errorf("%s: what was sent came back: %s", c.name, got.body)
		}
	}
	if strings.Contains(s.logs.String(), canary) {
		t.Error("what was sent is in the log")
	}
	req, _ := http.NewRequest("PUT", s.URL+"/api/v1/things/1", strings.NewReader("<a/>"))
	req.Header.Set("Content-Type", "text/xml")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 415 {
		t.Errorf("XML: %d", res.StatusCode)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	s := start(t, nil, putThing(echo))
	if got := s.do(t, "GET", "/api/v1/nothing", ""); got.status != 404 || got.doc.Code != "route_unknown" {
		t.Errorf("unknown path: %d %s", got.status, got.body)
	}
	got := s.do(t, "DELETE", "/api/v1/things/1", "")
	if got.status != 405 || got.doc.Code != "method_not_allowed" || got.header.Get("Allow") != "PUT" {
		t.Errorf("unknown method: %d %s %v", got.status, got.body, got.header)
	}
}

func TestErrorsSpeakTheReadersLanguage(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.Texts = []api.Texts{{FS: fstest.MapFS{"de.json": {Data: []byte(`{"error_thing_cold":"Das Ding ist kalt."}`)}, "en.json": {Data: []byte(`{}`)}}}}
	}, putThing(func(context.Context, *thingIn) (*thingOut, error) {
		return nil, fault.New(fault.Conflict, "test", "thing_cold", "The thing is cold.")
	}))
	for lang, want := range map[string]string{"": "The thing is cold.", "en-GB": "The thing is cold.", "de-AT,de;q=0.9,en;q=0.5": "Das Ding ist kalt.",
		"fr": "The thing is cold.", "\x00;;": "The thing is cold."} {
		if strings.Contains(lang, "\x00") {
			continue // net/http refuses to send it
		}
		if got := s.do(t, "PUT", "/api/v1/things/1", `{"name":"a"}`, "Accept-Language", lang); got.doc.Detail != want {
			t.Errorf("%q: %q", lang, got.doc.Detail)
		}
	}
}

func TestAuthorisationIsDenyByDefault(t *testing.T) {
	var acted actor.Actor
	var purpose catalog.Purpose
	get := func(name string, access api.Access, p catalog.Purpose) api.Route {
		return api.Op(api.Route{Method: "GET", Path: "/" + name, Access: access, Purpose: p, Name: name, Summary: name, Tag: "T"},
			func(ctx context.Context, _ *struct{}) (*thingOut, error) {
				acted, purpose = actor.From(ctx), actor.PurposeOf(ctx)
				return &thingOut{thing{Name: "ok"}}, nil
			})
	}
	s := start(t, nil, get("public", api.Public, ""), get("member", api.Member, catalog.Support), get("manager", api.Manager, ""),
		get("visitor", api.Visitor, ""), get("any", api.AnyVisitor, ""),
		api.Raw(api.Route{Method: "GET", Path: "/raw", Access: api.Member, Name: "raw", Summary: "raw", Tag: "T"},
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { acted = actor.From(r.Context()) })))
	for _, c := range []struct {
		path, who string
		status    int
		kind      actor.Kind
	}{
		{"public", "", 200, ""}, {"public", "x", 200, ""}, {"member", "", 401, ""}, {"member", "x", 200, actor.Member},
		{"manager", "", 401, ""}, {"manager", "x", 403, ""}, {"visitor", "", 401, ""}, {"any", "", 200, ""},
		{"raw", "", 401, ""}, {"raw", "x", 200, actor.Member},
	} {
		acted, purpose = actor.Actor{}, ""
		got := s.do(t, "GET", "/api/v1/"+c.path, "", "X-Test-Member", c.who)
		if got.status != c.status || acted.Kind != c.kind {
			t.Errorf("%s as %q: %d, acted %q: %s", c.path, c.who, got.status, acted.Kind, got.body)
		}
	}
	s.do(t, "GET", "/api/v1/member", "", "X-Test-Member", "x")
	if purpose != catalog.Support {
		t.Errorf("purpose %q", purpose)
	}
	if got := s.do(t, "GET", "/api/v1/any", "", "Authorization", "Bearer bad"); got.status != 401 {
		t.Errorf("a bad token must not pass as none: %d", got.status)
	}
	defer func() {
		if recover() == nil {
			t.Error("a route that does not say who may call it was mounted")
		}
	}()
	s.api.Mount(get("undecided", 0, ""))
}

func TestCrossOriginIsRefused(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.BaseURL = "https://chat.example/"
		o.CrossOrigin = []string{"PUT /api/v1/open/"}
	}, putThing(echo), api.Op(api.Route{Method: "PUT", Path: "/open/{id}", Access: api.Public, Name: "open", Summary: "Open", Tag: "T"}, echo))
	for _, c := range []struct {
		name, path, site, origin string
		status                   int
	}{
		{"no browser", "/things/1", "", "", 200},
		{"own page", "/things/1", "same-origin", "https://chat.example", 200},
		{"own page, old browser", "/things/1", "", "https://chat.example", 200},
		{"other site", "/things/1", "cross-site", "https://evil.example", 403},
		{"sub-domain", "/things/1", "same-site", "https://a.chat.example", 403},
		{"other site, old browser", "/things/1", "", "https://evil.example", 403},
		{"other site, open route", "/open/1", "cross-site", "https://evil.example", 200},
	} {
		var h []string
		if c.site != "" {
			h = append(h, "Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			h = append(h, "Origin", c.origin)
		}
		if got := s.do(t, "PUT", "/api/v1"+c.path, `{"name":"a"}`, h...); got.status != c.status {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		} else if c.status == 403 && got.doc.Code != "cross_origin" {
			t.Errorf("%s: %s", c.name, got.body)
		}
	}
}

func TestPromise_D1_UndeclaredCookiesAreDropped(t *testing.T) {
	s := start(t, nil)
	set := func(w http.ResponseWriter) {
		http.SetCookie(w, &http.Cookie{Name: "parley", Value: "x"})
		http.SetCookie(w, &http.Cookie{Name: "_tracker", Value: "y"})
	}
	s.api.Mux().HandleFunc("GET /write", func(w http.ResponseWriter, r *http.Request) { set(w); _, _ = w.Write([]byte("x")) })
	s.api.Mux().HandleFunc("GET /header", func(w http.ResponseWriter, r *http.Request) { set(w); w.WriteHeader(201) })
	s.api.Mux().HandleFunc("GET /silent", func(w http.ResponseWriter, r *http.Request) { set(w) })
	s.api.Mux().HandleFunc("GET /flush", func(w http.ResponseWriter, r *http.Request) {
		set(w)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range []string{"/write", "/header", "/silent", "/flush"} {
		got := s.do(t, "GET", p, "")
		if c := got.header["Set-Cookie"]; len(c) != 1 || !strings.HasPrefix(c[0], "parley=") {
			t.Errorf("%s: %q", p, c)
		}
	}
	if !strings.Contains(s.logs.String(), "undeclared cookie dropped") || strings.Contains(s.logs.String(), "_tracker") {
		t.Error("the log should say that a cookie was dropped, and no more")
	}
}

func TestPromise_E3_AccessLogHoldsNoPerson(t *testing.T) {
	s := start(t, func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, putThing(echo))
	s.do(t, "PUT", "/api/v1/things/canary-path?q=canary-query", `{"name":"can"}`, "X-Forwarded-For", "203.0.113.77",
		"Referer", "https://x.example/?canary-referer", "User-Agent", "canary-agent", "Cookie", "parley=canary-cookie")
	s.do(t, "CANARY", "/canary-unknown", "")
	log := s.logs.String()
	for _, bad := range []string{"canary", "CANARY", "203.0.113", "127.0.0.1"} {
		if strings.Contains(log, bad) {
			t.Errorf("%q is in the log:\n%s", bad, log)
		}
	}
	if !strings.Contains(log, `"route":"PUT /api/v1/things/{id}"`) || !strings.Contains(log, `"status":200`) {
		t.Errorf("the record is not there:\n%s", log)
	}
	if len(s.seen) != 2 || s.seen[0].Route != "PUT /api/v1/things/{id}" || s.seen[0].Status != 200 || s.seen[1].Method != "OTHER" {
		t.Errorf("observed %+v", s.seen)
	}
}

func TestPanicsAreAnsweredAndTheirValueIsNotLogged(t *testing.T) {
	s := start(t, nil, putThing(func(_ context.Context, in *thingIn) (*thingOut, error) { panic("canary " + in.Body.Name) }))
	got := s.do(t, "PUT", "/api/v1/things/1", `{"name":"yam"}`)
	if got.status != 500 || got.doc.Code != "internal" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if log := s.logs.String(); strings.Contains(log, "canary") || !strings.Contains(log, "api_test.go") {
		t.Errorf("log: %s", log)
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := start(t, func(o *api.Options) {
		o.BaseURL = "https://chat.example"
		o.Policies = []api.Policy{{Prefix: "/w/", CSP: "default-src 'self'; frame-ancestors *", Framed: true}}
	}, putThing(echo))
	s.api.Mux().HandleFunc("GET /w/x", func(w http.ResponseWriter, r *http.Request) {})
	got := s.do(t, "PUT", "/api/v1/things/1", `{"name":"a"}`).header
	for k, v := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Strict-Transport-Security": "max-age=31536000", "Referrer-Policy": "no-referrer"} {
		if got.Get(k) != v {
			t.Errorf("%s: %q", k, got.Get(k))
		}
	}
	if !strings.Contains(got.Get("Content-Security-Policy"), "default-src 'none'") || got.Get("X-Request-Id") == "" {
		t.Errorf("%v", got)
	}
	w := s.do(t, "GET", "/w/x", "").header
	if w.Get("X-Frame-Options") != "" || w.Get("Content-Security-Policy") != "default-src 'self'; frame-ancestors *" {
		t.Errorf("widget: %v", w)
	}
}

// Strict-Transport-Security is for names, and over HTTPS only (promise I6).
func TestPromise_I6_OnlyNamesArePinned(t *testing.T) {
	for base, want := range map[string]string{"https://chat.example": "max-age=31536000", "https://chat.example:8443": "max-age=31536000",
		"http://chat.example": "", "https://localhost:8443": "", "https://shop.localhost": "", "https://127.0.0.1:8443": "", "https://[2001:db8::1]": ""} {
		s := start(t, func(o *api.Options) { o.BaseURL = base }, putThing(echo))
		if got := s.do(t, "GET", "/nowhere", "").header.Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: %q, want %q", base, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	var addr, base string
	var near bool
	probe := func(w http.ResponseWriter, r *http.Request) {
		addr, base, near = api.ClientAddr(r).String(), api.PublicURL(r), api.Nearby(r.Context())
	}
	trusting := func(o *api.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	}
	for _, c := range []struct {
		name      string
		opt       func(*api.Options)
		header    []string
		addr      string
		base      string
		near      bool
		otherBase bool
	}{
		{"direct", nil, nil, "127.0.0.1", "", true, true},
		{"forged", nil, []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Host", "evil.example"}, "127.0.0.1", "", false, true},
		{"behind a proxy", trusting, []string{"X-Forwarded-For", "198.51.100.1, 203.0.113.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "chat.example"}, "203.0.113.7", "https://chat.example", false, false},
		{"behind two proxies", trusting, []string{"X-Forwarded-For", "203.0.113.7, 10.1.1.1"}, "203.0.113.7", "", false, true},
		{"rubbish", trusting, []string{"X-Forwarded-For", "203.0.113.7, what"}, "127.0.0.1", "", false, true},
		{"IPv6 with port", trusting, []string{"X-Forwarded-For", "[2001:db8::1]:4711"}, "2001:db8::1", "", false, true},
		{"private client of a proxy", trusting, []string{"X-Forwarded-For", "192.168.1.5"}, "192.168.1.5", "", true, true},
		{"bad host", trusting, []string{"X-Forwarded-Host", "a/b"}, "127.0.0.1", "", true, false},
	} {
		s := start(t, c.opt)
		s.api.Mux().HandleFunc("GET /probe", probe)
		s.do(t, "GET", "/probe", "", c.header...)
		want := c.base
		if c.otherBase {
			want = s.URL
		}
		if addr != c.addr || base != want || near != c.near {
			t.Errorf("%s: %s %s near=%v", c.name, addr, base, near)
		}
	}
	for _, bad := range []string{"chat.example", "ftp://x", "https://x/path", "https://u@x", "https://"} {
		if _, err := api.New(api.Options{Title: "x", BaseURL: bad}); err == nil {
			t.Errorf("base URL %q was taken", bad)
		}
	}
}

func TestDescription(t *testing.T) {
	s := start(t, nil, putThing(echo))
	doc := s.do(t, "GET", "/openapi.json", "")
	var o struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(doc.body), &o); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(o.OpenAPI, "3.1") || o.Paths["/things/{id}"]["put"].OperationID != "put-thing" {
		t.Errorf("%+v", o)
	}
	if o.Components.Schemas["Problem"] == nil || len(o.Components.Schemas) != 3 {
		t.Errorf("schemas: %v", o.Components.Schemas)
	}
	page := s.do(t, "GET", "/api", "")
	if page.status != 200 || !strings.Contains(page.body, "put-thing") || !strings.Contains(page.body, "at most 5 characters") {
		t.Errorf("%d %s", page.status, page.body)
	}
	for _, outside := range []string{"http://", "https://", "//", "<script"} {
		if strings.Contains(page.body, outside) {
			t.Errorf("the page holds %q", outside)
		}
	}
}
