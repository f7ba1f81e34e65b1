package account_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"parley/account"
	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

// site is a real server with a client that keeps cookies.
type site struct {
	*httptest.Server
	t      *testing.T
	client *http.Client
}

type reply struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func serve(t *testing.T, s *account.Service, change func(*api.Options)) *site {
	t.Helper()
	cat, err := catalog.New(account.Data, api.Data)
	if err != nil {
		t.Fatal(err)
	}
	opt := api.Options{Title: "Parley", Version: "test", Members: s.Authenticate,
		Cookie: func(name string) bool { _, ok := cat.Cookie(name); return ok }}
	if change != nil {
		change(&opt)
	}
	a, err := api.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	a.Mount(account.Routes(s)...)
	srv := httptest.NewServer(a.Handler())
	t.Cleanup(srv.Close)
	return (&site{Server: srv, t: t}).fresh()
}

// fresh is the same server seen by another browser.
func (s *site) fresh() *site {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &site{Server: s.Server, t: s.t, client: &http.Client{Jar: jar}}
}

func (s *site) call(method, path string, body any, header ...string) reply {
	s.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.URL+"/api/v1"+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	out := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, path, err, raw)
		}
	}
	return out
}

func (s *site) want(status int, code string, r reply) {
	s.t.Helper()
	if got, _ := r.body["code"].(string); r.status != status || got != code {
		s.t.Errorf("want %d %s, got %d %s", status, code, r.status, r.raw)
	}
}

type fields = map[string]any

var first = fields{"organisation": "Harbour Books", "name": "Ada", "email": "ada@example.com", "password": good}

func TestFirstRunSignInAndOut(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := serve(t, w.Service, nil)
		if r := s.call("GET", "/setup", nil); r.body["needed"] != true || r.body["code_required"] != false {
			t.Errorf("%s", r.raw)
		}
		weak := fields{"organisation": "Harbour Books", "name": "Ada", "email": "ada@example.com", "password": "password1"}
		s.want(422, "password_short", s.call("POST", "/setup", weak))
		r := s.call("POST", "/setup", first)
		if r.status != 201 || r.body["role"] != "owner" || r.body["member"].(fields)["email"] != "ada@example.com" || r.body["organisation"].(fields)["name"] != "Harbour Books" {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		org := r.body["organisation"].(fields)["id"].(string)
		if rt := r.body["realtime"].(fields); rt["org_channel"] != "org:"+org || rt["member_channel"] != "member:"+r.body["member"].(fields)["id"].(string) {
			t.Errorf("%v", rt)
		}
		if again := s.call("GET", "/session", nil); again.status != 200 || again.raw != r.raw {
			t.Errorf("%d %s", again.status, again.raw)
		}
		s.want(409, "setup_done", s.fresh().call("POST", "/setup", first))
		if r := s.call("GET", "/setup", nil); r.body["needed"] != false {
			t.Errorf("%s", r.raw)
		}
		if r := s.call("GET", "/organisation", nil); r.body["name"] != "Harbour Books" {
			t.Errorf("%s", r.raw)
		}
		if r := s.call("GET", "/members", nil); len(r.body["items"].([]any)) != 1 {
			t.Errorf("%s", r.raw)
		}
		out := s.call("DELETE", "/session", nil)
		if out.status != 204 || out.header.Get("Clear-Site-Data") != `"cookies", "storage"` {
			t.Errorf("%d %v", out.status, out.header)
		}
		s.want(401, "signed_out", s.call("GET", "/session", nil))
		if r := s.call("DELETE", "/session", nil); r.status != 204 {
			t.Errorf("signing out twice: %d", r.status)
		}
		if r := s.call("POST", "/session", fields{"email": " ADA@example.com", "password": good}); r.status != 200 {
			t.Errorf("%d %s", r.status, r.raw)
		}
	})
}

func TestFirstRunFromElsewhereNeedsTheCode(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		code, err := w.PrepareFirstRun(context.Background())
		if err != nil || !strings.Contains(w.logs.String(), code) {
			t.Fatalf("%q %v", code, err)
		}
		s := serve(t, w.Service, func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
		far := []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "chat.example"}
		if r := s.call("GET", "/setup", nil, far...); r.body["code_required"] != true {
			t.Errorf("%s", r.raw)
		}
		with := func(code string) fields {
			out := fields{"code": code}
			maps.Copy(out, first)
			return out
		}
		s.want(403, "setup_code_needed", s.call("POST", "/setup", first, far...))
		s.want(403, "setup_code_wrong", s.call("POST", "/setup", with("2222-2222-2222"), far...))
		// A page that points its own name here is not at home either.
		s.want(403, "setup_code_needed", s.call("POST", "/setup", first, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "rebound.example"))
		if r := s.call("POST", "/setup", with(strings.ToLower(strings.ReplaceAll(code, "-", " "))), far...); r.status != 201 {
			t.Errorf("%d %s", r.status, r.raw)
		}
		if again, err := w.PrepareFirstRun(context.Background()); again != "" || err != nil {
			t.Errorf("a code for a server that is set up: %q %v", again, err)
		}
	})
}

func TestPromise_D2_D3_SessionCookie(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
	in := fields{"email": "ada@example.com", "password": good}
	s := serve(t, w.Service, func(o *api.Options) { o.BaseURL = "https://chat.example" })
	c := s.call("POST", "/session", in).header["Set-Cookie"]
	if len(c) != 1 || !strings.HasPrefix(c[0], "__Host-parley=") {
		t.Fatalf("%q", c)
	}
	for _, want := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(c[0], want) {
			t.Errorf("%q lacks %q", c[0], want)
		}
	}
	for _, not := range []string{"Max-Age", "Expires", "Domain"} {
		if strings.Contains(c[0], not) {
			t.Errorf("%q has %q", c[0], not)
		}
	}
	if again := s.call("POST", "/session", in).header["Set-Cookie"]; again[0] == c[0] {
		t.Error("two sessions have one token")
	}
	local := serve(t, w.Service, nil)
	if c := local.call("POST", "/session", in).header["Set-Cookie"]; len(c) != 1 || !strings.HasPrefix(c[0], "parley=") || strings.Contains(c[0], "Secure") {
		t.Errorf("on loopback: %q", c)
	}
	local.want(403, "https_needed", local.call("POST", "/session", in, "Host", "chat.example"))
}

func TestSignInFromAnotherSiteIsRefused(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	s := serve(t, w.Service, nil)
	s.want(403, "cross_origin", s.call("POST", "/session", fields{"email": "a@b", "password": "x"}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"))
}

func TestPromise_I3_SignOutRevokesOnTheServer(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
		s := serve(t, w.Service, nil)
		if r := s.call("POST", "/session", fields{"email": "ada@example.com", "password": good}); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		stolen := s.client.Jar.Cookies(u)[0].String()
		thief := s.fresh()
		if r := thief.call("GET", "/session", nil, "Cookie", stolen); r.status != 200 {
			t.Fatalf("%d", r.status)
		}
		s.call("DELETE", "/session", nil)
		thief.want(401, "signed_out", thief.call("GET", "/session", nil, "Cookie", stolen))
		if d := <-w.dropped; d.Session == "" {
			t.Errorf("sockets of %+v were dropped", d)
		}
	})
}

func TestSessionsAreSeenAndEnded(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
	s := serve(t, w.Service, nil)
	phone := s.fresh()
	for _, b := range []*site{s, phone} {
		w.clock.add(time.Second)
		b.call("POST", "/session", fields{"email": "ada@example.com", "password": good})
	}
	list := s.call("GET", "/sessions", nil).body["items"].([]any)
	if len(list) != 3 { // the invitation's, this one and the phone's
		t.Fatalf("%v", list)
	}
	for _, x := range list {
		if b := x.(fields); b["current"] != true {
			if r := s.call("DELETE", "/sessions/"+b["id"].(string), nil); r.status != 204 {
				t.Errorf("%d %s", r.status, r.raw)
			}
		}
	}
	phone.want(401, "signed_out", phone.call("GET", "/session", nil))
	if r := s.call("GET", "/session", nil); r.status != 200 {
		t.Errorf("%d", r.status)
	}
}

func TestPromise_I4_IdleAndAbsoluteLimits(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
		s := serve(t, w.Service, nil)
		in := func() { s.call("POST", "/session", fields{"email": "ada@example.com", "password": good}) }
		in()
		w.clock.add(account.SessionIdle - time.Minute)
		if r := s.call("GET", "/session", nil); r.status != 200 {
			t.Fatalf("before the idle limit: %d", r.status)
		}
		w.clock.add(account.SessionIdle - time.Minute)
		if r := s.call("GET", "/session", nil); r.status != 200 {
			t.Fatalf("use did not prolong it: %d", r.status)
		}
		w.clock.add(account.SessionIdle)
		s.want(401, "signed_out", s.call("GET", "/session", nil))
		in()
		for spent := time.Duration(0); spent < account.SessionLife-time.Hour; spent += time.Hour {
			if r := s.call("GET", "/session", nil); r.status != 200 {
				t.Fatalf("after %v of use: %d", spent, r.status)
			}
			w.clock.add(time.Hour)
		}
		w.clock.add(time.Hour)
		s.want(401, "signed_out", s.call("GET", "/session", nil))
		if err := w.Sweep(operator()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, w, "account_session"); n != 0 {
			t.Errorf("%d ended sessions are kept", n)
		}
	})
}

func count(t *testing.T, w *world, table string) (n int64) {
	t.Helper()
	err := w.db.Read(context.Background(), "test", func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSeenIsWrittenOnceAMinute(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
	s := serve(t, w.Service, nil)
	s.call("POST", "/session", fields{"email": "ada@example.com", "password": good})
	before := w.db.Stats().UseCases
	for range 30 {
		w.clock.add(2 * time.Second)
		s.call("GET", "/session", nil)
	}
	if n := w.db.Stats().UseCases - before; n > 1 {
		t.Errorf("%d writes in a minute of use", n)
	}
}

// bothNodes announces to every service, as the bus would.
type bothNodes []*account.Service

// Announce implements account.Announcer.
func (n *bothNodes) Announce(tx *db.Tx, r account.Revocation) {
	tx.After(func() {
		for _, s := range *n {
			s.Forget(r)
		}
	})
}

func TestSignOutReachesOtherNodesAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
		nodes := &bothNodes{}
		one, two := w.service(t, nodes), w.service(t, nodes)
		*nodes = append(*nodes, one, two)
		a, b := serve(t, one, nil), serve(t, two, nil)
		a.call("POST", "/session", fields{"email": "ada@example.com", "password": good})
		u, err := url.Parse(a.URL)
		if err != nil {
			t.Fatal(err)
		}
		cookie := a.client.Jar.Cookies(u)[0].String()
		if r := b.call("GET", "/session", nil, "Cookie", cookie); r.status != 200 {
			t.Fatalf("%d", r.status)
		}
		a.call("DELETE", "/session", nil)
		b.want(401, "signed_out", b.call("GET", "/session", nil, "Cookie", cookie))
	})
}

func TestUnknownAddressesAnswerLikeWrongPasswords(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	org := w.org(t, "Harbour Books")
	w.member(t, org.ID, "ada@example.com", actor.Owner)
	if _, _, err := w.CreateMember(operator(), org.ID, "invited@example.com", actor.Agent); err != nil {
		t.Fatal(err)
	}
	s := serve(t, w.Service, nil)
	// Time is measured by what takes it, so that a busy machine cannot blur the answer: the memory that hashing a password
	// goes through, and the use cases of the database.
	work := func(email string) (hashed, writes uint64, body string) {
		var before, after runtime.MemStats
		stats := w.db.Stats()
		runtime.ReadMemStats(&before)
		r := s.call("POST", "/session", fields{"email": email, "password": "wrong-" + good})
		runtime.ReadMemStats(&after)
		s.want(401, "sign_in_failed", r)
		delete(r.body, "request")
		b, err := json.Marshal(r.body)
		if err != nil {
			t.Fatal(err)
		}
		return (after.TotalAlloc - before.TotalAlloc) >> 20 / 40, w.db.Stats().UseCases - stats.UseCases, string(b)
	}
	for _, email := range []string{"ada@example.com", "nobody@example.com", "invited@example.com", "no address at all"} {
		hashed, writes, body := work(email)
		if hashed != 1 || writes != 1 {
			t.Errorf("%s: %d hashes and %d writes", email, hashed, writes)
		}
		if _, _, known := work("ada@example.com"); body != known {
			t.Errorf("%s: %s is not %s", email, body, known)
		}
	}
}

func TestPromise_I5_Throttles(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
		s := serve(t, w.Service, func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
		try := func(email, password, from string) reply {
			return s.fresh().call("POST", "/session", fields{"email": email, "password": password}, "X-Forwarded-For", from)
		}
		for _, email := range []string{"ada@example.com", "nobody@example.com"} {
			for i := range 10 {
				s.want(401, "sign_in_failed", try(email, "wrong", "198.51.100."+string(rune('1'+i%9))))
			}
			r := try(email, good, "203.0.113.200")
			s.want(429, "too_many_attempts", r)
			if r.header.Get("Retry-After") == "" || r.body["retry_after"].(float64) > 900 {
				t.Errorf("%v %s", r.header, r.raw)
			}
		}
		w.clock.add(16 * time.Minute)
		if r := try("ada@example.com", good, "203.0.113.200"); r.status != 200 {
			t.Errorf("after a quarter of an hour: %d %s", r.status, r.raw)
		}
		// One address, many accounts: the twentieth consecutive failure blocks it. IPv6 counts by network.
		for i := range 20 {
			s.want(401, "sign_in_failed", try("x"+string(rune('a'+i))+"@example.com", "wrong", "2001:db8:0:1::"+string(rune('a'+i%6))))
		}
		s.want(429, "too_many_attempts", try("ada@example.com", good, "2001:db8:0:1:ffff::1"))
		if r := try("ada@example.com", good, "2001:db8:0:2::1"); r.status != 200 {
			t.Errorf("the next network: %d %s", r.status, r.raw)
		}
		w.clock.add(16 * time.Minute)
		for range 2 { // success resets
			for range 9 {
				s.want(401, "sign_in_failed", try("ada@example.com", "wrong", "203.0.113.5"))
			}
			if r := try("ada@example.com", good, "203.0.113.5"); r.status != 200 {
				t.Errorf("%d %s", r.status, r.raw)
			}
		}
		if strings.Contains(w.logs.String(), "203.0.113") {
			t.Error("an address is in the log")
		}
	})
}

func TestSwitchOrganisation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one, two, three := w.org(t, "Harbour Books"), w.org(t, "Night Clinic"), w.org(t, "Not Mine")
		w.member(t, one.ID, "ada@example.com", actor.Owner)
		if _, _, err := w.CreateMember(operator(), two.ID, "ada@example.com", actor.Agent); err != nil {
			t.Fatal(err)
		}
		s := serve(t, w.Service, nil)
		if r := s.call("POST", "/session", fields{"email": "ada@example.com", "password": good}); r.body["role"] != "owner" || len(r.body["organisations"].([]any)) != 2 {
			t.Fatalf("%s", r.raw)
		}
		r := s.call("PUT", "/session/organisation", fields{"id": two.ID})
		if r.status != 200 || r.body["role"] != "agent" || r.body["organisation"].(fields)["id"] != two.ID {
			t.Errorf("%d %s", r.status, r.raw)
		}
		if r := s.call("GET", "/session", nil); r.body["organisation"].(fields)["id"] != two.ID {
			t.Errorf("%s", r.raw)
		}
		s.want(403, "role_needed", s.call("GET", "/audit", nil))
		s.want(404, "organisation_unknown", s.call("PUT", "/session/organisation", fields{"id": three.ID}))
		if r := s.fresh().call("POST", "/session", fields{"email": "ada@example.com", "password": good}); r.body["organisation"].(fields)["id"] != two.ID {
			t.Errorf("the last organisation was not kept: %s", r.raw)
		}
	})
}

func TestInviteOverHTTP(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
	s := serve(t, w.Service, nil)
	s.call("POST", "/session", fields{"email": "ada@example.com", "password": good})
	r := s.call("POST", "/members", fields{"email": "bo@example.com", "role": "agent"})
	link, _ := r.body["link"].(string)
	if r.status != 201 || !strings.HasPrefix(link, s.URL+"/app/#/invite/") {
		t.Fatalf("%d %s", r.status, r.raw)
	}
	token := link[strings.LastIndex(link, "/")+1:]
	bo := s.fresh()
	if r := bo.call("GET", "/invitations/"+token, nil); r.body["email"] != "bo@example.com" || r.body["organisation"] != "Harbour Books" {
		t.Errorf("%s", r.raw)
	}
	if r := bo.call("POST", "/invitations/"+token, fields{"name": "Bo", "password": good}); r.status != 200 || r.body["role"] != "agent" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	bo.want(404, "invitation_unknown", bo.call("GET", "/invitations/"+token, nil))
	bo.want(403, "role_needed", bo.call("POST", "/members", fields{"email": "cy@example.com", "role": "agent"}))
	if r := s.call("GET", "/audit?limit=2", nil); len(r.body["items"].([]any)) != 2 || r.body["next"] == nil {
		t.Errorf("%s", r.raw)
	}
	s.want(422, "cursor_invalid", s.call("GET", "/audit?cursor=x", nil))
	s.want(422, "invalid", s.call("GET", "/audit?limit=101", nil))
	if r := bo.call("GET", "/members", nil); r.status != 200 || len(r.body["items"].([]any)) != 2 {
		t.Errorf("%s", r.raw)
	}
}

// fillDisk lets the database grow no further, as a full disk does.
func fillDisk(t *testing.T, d *db.DB, full bool) {
	t.Helper()
	pages := "4294967294"
	if full {
		pages = "1" // less than there are: no further page
	}
	err := d.Do(context.Background(), "test", func(tx *db.Tx) error {
		rows, err := tx.Query("PRAGMA max_page_count = " + pages)
		if err != nil {
			return err
		}
		return rows.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFullDiskKeepsReadingAuditable(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	org := w.org(t, "Harbour Books")
	owner := w.member(t, org.ID, "ada@example.com", actor.Owner)
	fillDisk(t, w.db, true)
	var err error
	for range 10_000 { // until the pages that were there are used up
		if err = w.db.Do(context.Background(), "fill", func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO account_org (id, name, created_at) VALUES ($1, $2, 1)`, db.NewID(), strings.Repeat("x", 3000))
			return err
		}); err != nil {
			break
		}
	}
	if !fault.Is(err, fault.Full) {
		t.Fatalf("the disk is not full: %v", err)
	}
	for range 300 {
		if err := w.Audit(as(owner), "conversation.read", "c1"); err != nil {
			t.Fatalf("reading is refused: %v", err)
		}
	}
	if _, err := w.Members(as(owner), org.ID); err != nil {
		t.Error(err)
	}
	// A crash here loses nothing: another process finds what waits.
	again := w.service(t, nil)
	fillDisk(t, w.db, false)
	n, err := again.ReplayAudit(operator())
	if err != nil || n == 0 {
		t.Fatalf("%d replayed: %v", n, err)
	}
	if n, err := again.ReplayAudit(operator()); n != 0 || err != nil {
		t.Errorf("replayed again: %d %v", n, err)
	}
	if got := count(t, w, "account_audit WHERE action = 'conversation.read'"); got != 300 {
		t.Errorf("%d of 300 entries", got)
	}
}
