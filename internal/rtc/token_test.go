package rtc_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/internal/fault"
	"parley/internal/rtc"
)

// ask answers a request for the path as the engine does.
func (w *world) ask(path, token string, change ...func(*http.Request)) (status int, text string, header http.Header) {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, path+"?access_token="+token, nil)
	for _, f := range change {
		f(r)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	res := rec.Result()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestTokensThatAreNotGood(t *testing.T) {
	var c clock
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Now = c.now })
	other := newWorld(t, nil)
	w.open("room")
	other.open("room")
	good := w.token("room", "anna", rtc.Publisher)
	header, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	bigger := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"anna"`, `"ben"`, 1)))
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS512, jwt.MapClaims{"sub": "anna"}).SignedString([]byte("guess"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		token  string
		status int
	}{
		"good":             {good, http.StatusOK},
		"none":             {"", http.StatusUnauthorized},
		"garbage":          {"garbage", http.StatusUnauthorized},
		"no signature":     {header + "." + body + ".", http.StatusUnauthorized},
		"algorithm none":   {none + "." + body + ".", http.StatusUnauthorized},
		"other claims":     {header + "." + bigger + "." + signature, http.StatusUnauthorized},
		"other algorithm":  {foreign, http.StatusUnauthorized},
		"other process":    {other.token("room", "anna", rtc.Publisher), http.StatusUnauthorized},
		"room not open":    {w.token("elsewhere", "anna", rtc.Publisher), http.StatusNotFound},
		"very long":        {strings.Repeat("a", 100_000), http.StatusUnauthorized},
		"good, once again": {good, http.StatusOK},
	} {
		for _, path := range []string{"/rtc/validate", "/rtc"} {
			status, text, _ := w.ask(path, tc.token)
			if want := tc.status; path == "/rtc/validate" && status != want {
				t.Errorf("%s: status %d (%s), want %d", name, status, text, want)
			} else if path == "/rtc" && tc.status != http.StatusOK && status != tc.status {
				t.Errorf("%s: the socket answers %d, want %d", name, status, tc.status)
			}
			if tc.status != http.StatusOK && len(text) < 20 {
				t.Errorf("%s: %q says nothing", name, text)
			}
		}
	}
	c.forward(rtc.DefaultLife + time.Minute)
	if status, _, _ := w.ask("/rtc/validate", good); status != http.StatusUnauthorized {
		t.Errorf("an expired token is answered with %d", status)
	}
	c.forward(-24 * time.Hour)
	if status, _, _ := w.ask("/rtc/validate", good); status != http.StatusUnauthorized {
		t.Errorf("a token from the future is answered with %d", status)
	}
}

func TestGrantsThatMakeNoSense(t *testing.T) {
	w := newWorld(t, nil)
	for name, g := range map[string]rtc.Grant{
		"no room":     {Identity: "anna"},
		"no identity": {Room: "room"},
		"a name":      {Room: "room", Identity: "Anna Müller"},
		"long":        {Room: strings.Repeat("r", 200), Identity: "anna"},
		"role":        {Room: "room", Identity: "anna", Role: 9},
		"source":      {Room: "room", Identity: "anna", Sources: []rtc.Source{"kitchen"}},
	} {
		if _, err := w.Token(g); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.OpenRoom("no good", 0); !fault.Is(err, fault.Invalid) {
		t.Errorf("a room with a space: %v", err)
	}
}

func TestTheEdge(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	good := w.token("room", "anna", rtc.Publisher)
	for path, want := range map[string]int{"/rtc/v1": 404, "/rtc/v1/validate": 404, "/twirp": 404, "/rtc": 426, "/rtc/": 426, "/rtc/validate/": 200} {
		if status, _, _ := w.ask(path, good); status != want {
			t.Errorf("%s answers %d, want %d", path, status, want)
		}
	}
	foreign := func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") }
	if status, _, h := w.ask("/rtc/validate", good, foreign); status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page is answered with %d", status)
	}
	own := func(r *http.Request) { r.Header.Set("Origin", "http://"+r.Host) }
	if status, _, h := w.ask("/rtc/validate", good, own); status != 200 || h.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("the own page is answered with %d and %v", status, h)
	}
	if status, _, _ := w.ask("/rtc/validate", good, func(r *http.Request) { r.Method = http.MethodPost }); status != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d", status)
	}
	bearer := func(r *http.Request) {
		r.URL.RawQuery = ""
		r.Header.Set("Authorization", "Bearer "+good)
	}
	if status, _, _ := w.ask("/rtc/validate", "", bearer); status != 200 {
		t.Errorf("a bearer token is answered with %d", status)
	}
}

func TestJoinsFromOneAddressAreLimited(t *testing.T) {
	var c clock
	addr := netip.MustParseAddr("2001:db8::1")
	w := newWorld(t, func(cfg *rtc.Config) {
		cfg.Now = c.now
		cfg.ClientAddr = func(*http.Request) netip.Addr { return addr }
		cfg.Limits.JoinsPerSecond, cfg.Limits.JoinBurst = 5, 10
	})
	w.open("room")
	good := w.token("room", "anna", rtc.Publisher)
	refused := 0
	for i := range 1000 {
		addr = netip.MustParseAddr("2001:db8::" + strconv.FormatInt(int64(i+1), 16)) // the same network
		status, _, h := w.ask("/rtc/validate", good)
		switch {
		case status == http.StatusTooManyRequests:
			refused++
			if s, err := strconv.Atoi(h.Get("Retry-After")); err != nil || s < 1 {
				t.Fatalf("Retry-After is %q", h.Get("Retry-After"))
			}
		case status != 200:
			t.Fatalf("status %d", status)
		}
	}
	if refused < 950 {
		t.Errorf("of 1,000 joins %d were refused", refused)
	}
	addr = netip.MustParseAddr("2001:db8:0:1::1")
	if status, _, _ := w.ask("/rtc/validate", good); status != 200 {
		t.Errorf("another network is answered with %d", status)
	}
	addr = netip.MustParseAddr("2001:db8::7")
	c.forward(time.Second)
	if status, _, _ := w.ask("/rtc/validate", good); status != 200 {
		t.Errorf("a second later the answer is %d", status)
	}
	if w.Stats().RefusedJoins != int64(refused) {
		t.Errorf("%d refusals were counted as %d", refused, w.Stats().RefusedJoins)
	}
}
