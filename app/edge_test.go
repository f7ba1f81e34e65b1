package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/app"
	"parley/internal/parleytest"
)

// get asks without following redirects.
func get(t *testing.T, method, url string, headers http.Header) parleytest.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, headers)
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return parleytest.Response{Status: res.StatusCode, Header: res.Header, Body: body}
}

func TestUnknownPaths(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	for _, path := range []string{"/nope", "/api/v1/nope", "/api/v2/setup", "/api/v1", "/app/assets/nope.js", "/app/assets/", "/w/assets/../../nope", "/w/assets/",
		"/w/018f0000-0000-7000-8000-000000000000", "/w/", "/w", "/w/a/b", "/.env", "/.git/config", "/ws/nope", "/debug/pprof/", "/healthz/", "/metrics/x", "/widget.js.map"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			res := get(t, method, s.URL+path, nil)
			if res.Status == 307 || res.Status == 301 { // the mux cleans a path first
				continue
			}
			var doc struct {
				Title, Code, Request string
				Status               int
			}
			if err := json.Unmarshal(res.Body, &doc); err != nil || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d %s", method, path, res.Status, res.Body)
				continue
			}
			if res.Status != 404 || doc.Status != 404 || doc.Code == "" || doc.Title != "Not Found" || doc.Request == "" {
				t.Errorf("%s %s: %d %s", method, path, res.Status, res.Body)
			}
		}
	}
	for _, path := range []string{"//evil.example/app", "/\\evil.example/app", "/app//evil.example/.."} {
		if to := get(t, "GET", s.URL+path, nil).Header.Get("Location"); strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") || strings.Contains(to, "://") {
			t.Errorf("%s leads to %s", path, to)
		}
	}
	if res := get(t, "PUT", s.URL+"/api/v1/setup", nil); res.Status != 405 && res.Status != 404 {
		t.Errorf("PUT where there is no PUT: %d %s", res.Status, res.Body)
	} else if res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("PUT where there is no PUT: %s %s", res.Header.Get("Content-Type"), res.Body)
	}
}

func TestHead(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	tenant := s.Tenant(t, "acme")
	for _, path := range []string{"/", "/app", "/app/", "/app/conversations/x", "/widget.js", "/w/" + tenant.Site, "/healthz", "/readyz", "/metrics", "/openapi.json", "/api",
		"/api/v1/setup", "/api/v1/widget/sites/" + tenant.Site, "/nope", "/api/v1/session"} {
		whole, head := get(t, "GET", s.URL+path, nil), get(t, "HEAD", s.URL+path, nil)
		if head.Status != whole.Status || len(head.Body) != 0 {
			t.Errorf("%s: HEAD answers %d with %d bytes, GET %d", path, head.Status, len(head.Body), whole.Status)
		}
		for _, h := range []string{"Content-Type", "Content-Security-Policy", "X-Content-Type-Options", "Location", "Cache-Control"} {
			if head.Header.Get(h) != whole.Header.Get(h) {
				t.Errorf("%s: %s is %q for HEAD, %q for GET", path, h, head.Header.Get(h), whole.Header.Get(h))
			}
		}
		if whole.Header.Get("X-Content-Type-Options") != "nosniff" || whole.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: headers %v", path, whole.Header)
		}
		if c := whole.Header.Get("Set-Cookie"); c != "" {
			t.Errorf("%s sets a cookie: %s", path, c)
		}
	}
}

// policy reads a Content-Security-Policy into its directives.
func policy(t *testing.T, r parleytest.Response) map[string]string {
	t.Helper()
	out := map[string]string{}
	for part := range strings.SplitSeq(r.Header.Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), " ")
		out[name] = value
	}
	return out
}

func TestPagesArePolicied(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	tenant := s.Tenant(t, "acme")
	for path, frames := range map[string]string{"/app/": "'none'", "/app/conversations/x": "'none'", "/w/" + tenant.Site: "'self' https://acme.example", "/w/check": "'none'", "/widget.js": "'none'", "/api": "'none'",
		"/openapi.json": "'none'", "/api/v1/setup": "'none'", "/nope": "'none'", "/w/018f0000-0000-7000-8000-000000000000": "'none'"} {
		res := get(t, "GET", s.URL+path, nil)
		csp := policy(t, res)
		if csp["default-src"] != "'none'" || csp["frame-ancestors"] != frames {
			t.Errorf("%s: %q", path, res.Header.Get("Content-Security-Policy"))
		}
		for name, value := range csp {
			if strings.Contains(value, "unsafe-inline") || strings.Contains(value, "unsafe-eval") || strings.Contains(value, "*") ||
				(name != "frame-ancestors" && strings.Contains(value, "://")) {
				t.Errorf("%s: %s %s", path, name, value)
			}
		}
		framed := strings.HasPrefix(path, "/w/") && path != "/w/check"
		if res.Header.Get("X-Frame-Options") == "" != framed {
			t.Errorf("%s: X-Frame-Options %q", path, res.Header.Get("X-Frame-Options"))
		}
	}
	loader := get(t, "GET", s.URL+"/widget.js", http.Header{"Origin": {"https://anyone.example"}})
	if loader.Status == 503 {
		loader.WantCode(t, 503, "web_not_built")
		return
	}
	if loader.Status != 200 || loader.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" || !strings.HasPrefix(loader.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("loader: %d %v", loader.Status, loader.Header)
	}
	assets := regexp.MustCompile(`"[./a-z]*/assets/[A-Za-z0-9._-]+"`)
	for _, p := range []string{"/app/", "/w/" + tenant.Site, "/w/check"} {
		page := get(t, "GET", s.URL+p, nil).Want(t, 200)
		if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", p, page.Header)
		}
		names := assets.FindAllString(string(page.Body), -1)
		if len(names) == 0 {
			t.Errorf("%s names no assets", p)
		}
		for _, name := range names {
			room, _, _ := strings.Cut(p[1:], "/")
			name = "/" + room + name[strings.Index(name, "/assets/"):len(name)-1]
			if a := get(t, "GET", s.URL+name, nil); a.Status != 200 || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d %v", name, a.Status, a.Header)
			}
		}
		noOtherHost(t, p, page.Body)
	}
}

// loads finds what makes a browser ask another host: attributes, style sheets' url() and @import.
var loads = regexp.MustCompile(`(?i)(?:(?:src|href|srcset|action|poster|data)\s*=\s*["']?\s*|url\(\s*["']?|@import\s+["'])(?:https?:)?//[^\s"')>]*`)

func noOtherHost(t *testing.T, name string, body []byte) {
	t.Helper()
	for _, hit := range loads.FindAll(body, -1) {
		t.Errorf("%s asks another host: %s", name, hit)
	}
}

func TestAPIPage(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.BaseURL = "https://chat.example" }})
	res := get(t, "GET", s.URL+"/openapi.json", nil).Want(t, 200)
	if ct := res.Header.Get("Content-Type"); !strings.Contains(ct, "json") {
		t.Errorf("Content-Type %q", ct)
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Responses   map[string]any
		}
	}
	if err := json.Unmarshal(res.Body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title != "Parley" || doc.Info.Version != "test" {
		t.Errorf("openapi %q, info %+v", doc.OpenAPI, doc.Info)
	}
	ids := map[string]bool{}
	page := get(t, "GET", s.URL+"/api", nil).Want(t, 200)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			ids[op.OperationID] = true
			if !bytes.Contains(page.Body, []byte(html.EscapeString(op.Summary))) {
				t.Errorf("the page does not show %s %s", method, path)
			}
		}
	}
	if len(ids) < 20 {
		t.Errorf("%d operations", len(ids))
	}
	if ct := page.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") {
		t.Errorf("Content-Type %q", ct)
	}
	noOtherHost(t, "/api", page.Body)
	if bytes.Contains(page.Body, []byte("<script")) && policy(t, page)["script-src"] == "" {
		t.Error("the page has a script that its policy does not allow")
	}
}

func TestMetricsAreForNeighbours(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	get(t, "GET", s.URL+"/healthz", nil).Want(t, 200)
	res := get(t, "GET", s.URL+"/metrics", nil).Want(t, 200)
	for _, want := range []string{"parley_db_commits_total", "parley_socket_connections", "parley_http_request_seconds", "go_goroutines"} {
		if !bytes.Contains(res.Body, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
	// Somebody forwards for somebody, and nobody declared that proxy.
	for _, h := range []http.Header{{"X-Forwarded-For": {"127.0.0.1"}}, {"X-Forwarded-For": {"203.0.113.9"}}, {"Forwarded": {"for=127.0.0.1"}}, {"X-Forwarded-For": {""}}} {
		if res := get(t, "GET", s.URL+"/metrics", h); res.Status != 404 {
			t.Errorf("%v: %d", h, res.Status)
		}
	}
}

// Without --base-url the address under which the client came is the public one - but only plain http, and it opens nothing:
// who signs in under a name that is not this machine's needs https.
func TestPublicURLOfTheRequest(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	tenant := s.Tenant(t, "acme")
	port := s.URL[strings.LastIndex(s.URL, ":")+1:]
	snippet := func(headers http.Header) string {
		t.Helper()
		from := &parleytest.Client{URL: s.URL, HTTP: &http.Client{Jar: tenant.Client.HTTP.Jar, Transport: withHeaders{http.DefaultTransport, headers}}}
		return string(from.Do(t, "GET", "/api/v1/sites", nil, nil).Want(t, 200).Body)
	}
	for host, want := range map[string]string{"127.0.0.1:" + port: `http://127.0.0.1:` + port + `/widget.js`, "LOCALHOST:" + port: `http://localhost:` + port + `/widget.js`} {
		if got := snippet(http.Header{"Host": {host}}); !strings.Contains(got, want) {
			t.Errorf("Host %s: %s", host, got)
		}
	}
	if got := snippet(http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"host=evil.example"}}); strings.Contains(got, "evil.example") || strings.Contains(got, "https://127") {
		t.Errorf("anybody's X-Forwarded-Host is believed: %s", got)
	}
	named := &parleytest.Client{URL: s.URL, HTTP: &http.Client{Transport: withHeaders{http.DefaultTransport, http.Header{"Host": {"chat.example"}}}}}
	named.Do(t, "POST", "/api/v1/session", map[string]string{"email": tenant.Email, "password": tenant.Password}, nil).WantCode(t, 403, "https_needed")
}

func TestBaseURL(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.BaseURL = "https://chat.example/" }})
	admin := s.Admin(t)
	org, err := admin.CreateOrg(context.Background(), app.OrgInput{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := admin.CreateMember(context.Background(), app.MemberInput{Org: org.ID, Email: "ada@acme.example", Role: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(m.SetupURL, "https://chat.example/app/") {
		t.Errorf("setup link %s", m.SetupURL)
	}
	// The request's own idea of the address does not count.
	res := s.Client(t).Do(t, "POST", "/api/v1/invitations/"+m.SetupURL[strings.LastIndex(m.SetupURL, "/")+1:], map[string]string{"name": "Ada", "password": parleytest.Password}, nil).Want(t, 200)
	if cookie := res.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-parley=") || !strings.Contains(cookie, "Secure") {
		t.Errorf("cookie %q", cookie)
	}
}

// gate is a writer that can hold up whoever writes, and tells what came.
type gate struct {
	mu    sync.Mutex
	text  string
	seen  map[string]chan struct{} // closed when the text has it
	pause chan struct{}            // a write of a text that has pauseAt waits for it
	at    string
}

func newGate(want ...string) *gate {
	g := &gate{seen: map[string]chan struct{}{}, pause: make(chan struct{})}
	for _, w := range want {
		g.seen[w] = make(chan struct{})
	}
	return g
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	g.text += string(b)
	for w, ch := range g.seen {
		if strings.Contains(g.text, w) {
			close(ch)
			delete(g.seen, w)
		}
	}
	wait := g.at != "" && strings.Contains(g.text, g.at)
	g.mu.Unlock()
	if wait {
		<-g.pause
	}
	return len(b), nil
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text
}

func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not happen within a minute", what)
	}
}

// While it starts and while it stops a server is alive but not ready, so that a load balancer sends nobody.
func TestReadiness(t *testing.T) {
	stdout, stderr := newGate("Console"), newGate("stopping")
	stdout.at = "Console" // the demo prints where to look before the server calls itself ready
	printed, stopping := stdout.seen["Console"], stderr.seen["stopping"]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- app.Serve(ctx, app.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Demo: true, DemoListen: "127.0.0.1:0", OnReady: func(string) { close(ready) }}, stdout, stderr)
	}()
	wait(t, "the start", printed)
	url := regexp.MustCompile(`Console\s+(http://[0-9.:]+)`).FindStringSubmatch(stdout.String())[1]
	get(t, "GET", url+"/healthz", nil).Want(t, 200)
	get(t, "GET", url+"/readyz", nil).Want(t, 503)
	close(stdout.pause)
	wait(t, "readiness", ready)
	get(t, "GET", url+"/readyz", nil).Want(t, 200)

	// A client that went away without a word keeps its socket open for a while; meanwhile the server answers, with the truth.
	silent, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	fmt.Fprint(silent, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	hello := make([]byte, 12)
	if _, err := io.ReadFull(silent, hello); err != nil || string(hello) != "HTTP/1.1 101" {
		t.Fatalf("%q %v", hello, err)
	}
	cancel()
	wait(t, "the stop", stopping)
	// While it still listens it says that it is not ready; when the silent client is gone before we ask, nobody answers.
	if res, err := http.Get(url + "/readyz"); err == nil {
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("while it stops it says %s", res.Status)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the server stopped with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the server did not stop")
	}
}
