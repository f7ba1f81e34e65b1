package egress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"parley/catalog"
	"parley/egress"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

// declared are the recipients of these tests: "hook" must be public, "store" may be at home.
var declared = []catalog.Recipient{
	{ID: "hook", Doc: "a customer's endpoint", Class: "customer-endpoint", Purposes: catalog.For(catalog.Service)},
	{ID: "store", Doc: "a store", Class: "store", Private: true, Purposes: catalog.For(catalog.Service)},
}

func gate(t *testing.T, opt egress.Options, allow map[string][]string) *egress.Gate {
	t.Helper()
	opt.Recipients = append(opt.Recipients, declared...)
	g := egress.New(opt)
	for id, hosts := range allow {
		if err := g.Allow(id, hosts...); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// listen counts the connections that reach a loopback port and closes them.
func listen(t *testing.T) (addr string, reached *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	reached = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), reached
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != fault.Forbidden || f.Code != "egress_refused" {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestOnlyDeclaredRecipientsAtAllowedHosts(t *testing.T) {
	addr, reached := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	g := gate(t, egress.Options{}, map[string][]string{"store": {addr}})

	conn, err := g.Dialer("store")(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, c := range []struct{ id, network, addr string }{
		{"nobody", "tcp", addr},
		{"store", "tcp", "127.0.0.1:1"},
		{"store", "tcp", "localhost:" + port},
		{"store", "tcp", ":" + port},
		{"store", "tcp", "127.0.0.1"},
		{"store", "udp", addr},
		{"store", "unix", "/run/some.sock"},
		{"hook", "tcp", addr},
	} {
		_, err := g.Dialer(c.id)(t.Context(), c.network, c.addr)
		wantRefused(t, err)
	}
	if n := reached.Load(); n > 1 {
		t.Errorf("%d connections arrived, want 1", n)
	}
	var opened, refused int64
	for _, c := range g.Observed() {
		opened, refused = opened+c.Opened, refused+c.Refused
	}
	if opened != 1 || refused != 8 {
		t.Errorf("observed %d opened and %d refused: %+v", opened, refused, g.Observed())
	}
}

// TestPrivateAddressesAreUnreachable resolves names by a real DNS server to places where a customer's endpoint may not be.
func TestPrivateAddressesAreUnreachable(t *testing.T) {
	dns, resolver := serveNames(t)
	addr, reached := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	var logged bytes.Buffer
	g := gate(t, egress.Options{Resolver: resolver, Logger: slog.New(slog.NewTextHandler(&logged, nil))},
		map[string][]string{"hook": {"*.hook.test", "hook.test:443"}})
	for i, to := range []string{"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "10.0.0.1", "192.168.1.1", "172.20.0.1", "169.254.169.254",
		"::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "100.64.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"} {
		name := fmt.Sprintf("h%d.hook.test", i)
		dns.set(name, to)
		_, err := g.Dialer("hook")(t.Context(), "tcp", name+":"+port)
		wantRefused(t, err)
		if strings.Contains(fmt.Sprint(err), to) {
			t.Errorf("the error tells the resolved address: %v", err)
		}
	}
	dns.set("both.hook.test", "127.0.0.1", "::1", "10.1.2.3")
	_, err := g.Dialer("hook")(t.Context(), "tcp", "both.hook.test:"+port)
	wantRefused(t, err)
	if reached.Load() != 0 {
		t.Error("a connection arrived on loopback")
	}
	if !strings.Contains(logged.String(), "recipient=hook") || strings.Contains(logged.String(), "127.") {
		t.Errorf("log:\n%s", logged.String())
	}
}

// TestRebinding: a name that was public when somebody looked leads home when the socket connects.
func TestRebinding(t *testing.T) {
	dns, resolver := serveNames(t)
	addr, reached := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	g := gate(t, egress.Options{Resolver: resolver}, map[string][]string{"hook": {"rebind.test"}})
	dns.set("rebind.test", "93.184.216.34")
	first, err := resolver.LookupNetIP(t.Context(), "ip", "rebind.test")
	if err != nil || len(first) != 1 || !egress.Public(first[0]) {
		t.Fatalf("first answer: %v, %v", first, err)
	}
	dns.set("rebind.test", "127.0.0.1")
	_, err = g.Dialer("hook")(t.Context(), "tcp", "rebind.test:"+port)
	wantRefused(t, err)
	_, err = g.Client("hook", time.Second).Get("https://rebind.test:" + port)
	wantRefused(t, err)
	if reached.Load() != 0 {
		t.Error("a connection arrived on loopback")
	}
}

func TestPrivateRecipientsStayAwayFromMetadata(t *testing.T) {
	dns, resolver := serveNames(t)
	g := gate(t, egress.Options{Resolver: resolver}, map[string][]string{"store": {"db.test"}})
	for _, to := range []string{"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::", "ff02::1"} {
		dns.set("db.test", to)
		_, err := g.Dialer("store")(t.Context(), "tcp", "db.test:5432")
		wantRefused(t, err)
	}
	addr, reached := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	dns.set("db.test", "127.0.0.1")
	conn, err := g.Dialer("store")(t.Context(), "tcp", "DB.Test.:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
	if reached.Load() != 1 {
		t.Error("the private recipient was not reached")
	}
}

func TestOtherErrorsStayTheNetworks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	g := gate(t, egress.Options{}, map[string][]string{"store": {addr}})
	if _, err := g.Dialer("store")(t.Context(), "tcp", addr); err == nil || fault.Is(err, fault.Forbidden) {
		t.Errorf("a closed port gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Dialer("store")(ctx, "tcp", addr); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gave %v", err)
	}
}

func TestAllow(t *testing.T) {
	for _, c := range []struct{ id, host, code string }{
		{"hook", "example.com", ""}, {"hook", "EXAMPLE.com.:443", ""}, {"hook", "*.example.com:8443", ""}, {"hook", "8.8.8.8:53", ""},
		{"hook", "[2606:4700::1]:443", ""}, {"hook", "2606:4700::1", ""}, {"hook", "xn--bcher-kva.example", ""},
		{"store", "localhost:5432", ""}, {"store", "10.0.0.7", ""}, {"store", "unix:/run/postgresql/.s.PGSQL.5432", ""}, {"store", "[::1]:6379", ""},
		{"nobody", "example.com", "recipient_unknown"},
		{"hook", "", "host_invalid"}, {"hook", "*", "host_invalid"}, {"hook", "*.com", "host_invalid"}, {"hook", "a..b", "host_invalid"},
		{"hook", "https://example.com", "host_invalid"}, {"hook", "example.com:0", "host_invalid"}, {"hook", "example.com:070", "host_invalid"},
		{"hook", "example.com:65536", "host_invalid"}, {"hook", "user@example.com", "host_invalid"}, {"hook", "bücher.example", "host_invalid"},
		{"store", "unix:relative.sock", "host_invalid"}, {"store", "fe80::1%eth0", "host_invalid"},
		{"hook", "127.0.0.1:80", "address_not_public"}, {"hook", "[::ffff:10.0.0.1]:80", "address_not_public"}, {"hook", "unix:/run/x", "address_not_public"},
		{"store", "169.254.169.254", "address_not_public"},
	} {
		err := gate(t, egress.Options{}, nil).Allow(c.id, c.host)
		if got := fault.Of(err); (got == nil) != (c.code == "") || (got != nil && got.Code != c.code) {
			t.Errorf("Allow(%q, %q) = %v, want %q", c.id, c.host, err, c.code)
		}
	}
}

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"127.0.0.1": false, "10.1.1.1": false, "172.16.0.1": false, "192.168.0.1": false, "169.254.0.1": false, "100.64.0.1": false, "0.1.2.3": false,
		"192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "ff02::1": false, "2001:db8::1": false, "2001::1": false,
		"2002:a00:1::": false, "3fff::1": false, "4000::1": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false, "::ffff:192.168.0.1": false,
	} {
		if got := egress.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v", addr, got)
		}
	}
	if egress.Public(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	g := gate(t, egress.Options{}, map[string][]string{"store": {"unix:" + path}})
	conn, err := g.Dialer("store")(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, err = g.Dialer("store")(t.Context(), "unix", path+"2")
	wantRefused(t, err)
}

// server is an HTTP server with the answers that a client must be careful with.
func server(t *testing.T, elsewhere string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	mux.HandleFunc("/home", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/exact", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1000)) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1001)) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestClient(t *testing.T) {
	addr, reached := listen(t)
	s := server(t, "http://"+addr+"/")
	host := strings.TrimPrefix(s.URL, "http://")
	// Even a host that the recipient may have is not redirected to.
	g := gate(t, egress.Options{MaxResponse: 1000}, map[string][]string{"store": {host, addr}})
	c := g.Client("store", 5*time.Second)
	defer c.CloseIdleConnections()
	for path, want := range map[string]string{"/ok": "fine", "/home": "fine", "/exact": strings.Repeat("x", 1000)} {
		if body, err := get(c, s.URL+path); err != nil || body != want {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	for path, code := range map[string]string{"/away": "egress_refused", "/loop": "too_many_redirects", "/long": "response_too_large"} {
		if _, err := get(c, s.URL+path); err == nil || fault.Of(err).Code != code {
			t.Errorf("%s: %v, want %s", path, err, code)
		}
	}
	if reached.Load() != 0 {
		t.Error("a redirect elsewhere was followed")
	}
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestClientCarriesSockets: a WebSocket is an answer whose body is the connection.
func TestClientCarriesSockets(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		_ = ws.Write(r.Context(), websocket.MessageText, bytes.Repeat([]byte("x"), 2000))
		_, _, _ = ws.Read(r.Context())
	}))
	t.Cleanup(s.Close)
	g := gate(t, egress.Options{MaxResponse: 1000}, map[string][]string{"store": {strings.TrimPrefix(s.URL, "http://")}})
	ws, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: g.Client("store", 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if _, text, err := ws.Read(t.Context()); err != nil || len(text) != 2000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestClientOfAPublicRecipientWantsHTTPS(t *testing.T) {
	g := gate(t, egress.Options{}, map[string][]string{"hook": {"hook.test"}})
	_, err := g.Client("hook", time.Second).Post("http://hook.test/", "text/plain", strings.NewReader("x"))
	wantRefused(t, err)
}

func TestClientReadsNoProxySettings(t *testing.T) {
	addr, reached := listen(t)
	t.Setenv("HTTP_PROXY", "http://"+addr)
	t.Setenv("http_proxy", "http://"+addr)
	s := server(t, "")
	g := gate(t, egress.Options{}, map[string][]string{"store": {strings.TrimPrefix(s.URL, "http://")}})
	if _, err := get(g.Client("store", 5*time.Second), s.URL+"/ok"); err != nil {
		t.Error(err)
	}
	if reached.Load() != 0 {
		t.Error("the proxy was asked")
	}
}

func TestObservedIsBounded(t *testing.T) {
	g := gate(t, egress.Options{}, nil)
	for i := range 3000 {
		_, _ = g.Dialer("hook")(t.Context(), "tcp", fmt.Sprintf("h%d.test:443", i))
	}
	if n := len(g.Observed()); n > 1100 {
		t.Errorf("%d entries are kept", n)
	}
}

func TestRelay(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	g := gate(t, egress.Options{}, map[string][]string{"store": {echo.Addr().String()}})
	addr, stop, err := g.Relay("store", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(bytes.Repeat([]byte("parley"), 10000)); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // the end of one direction is passed on, the other still answers
	if back, err := io.ReadAll(conn); err != nil || len(back) != 60000 {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	open, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the relay")
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the relay still listens")
	}
	_, _, err = g.Relay("store", "127.0.0.1:1")
	wantRefused(t, err)
	_, _, err = g.Relay("hook", "127.0.0.1:1")
	wantRefused(t, err)
}

// TestStores connects the clients of both declared stores to real servers, as app does.
func TestStores(t *testing.T) {
	if _, err := catalog.New(egress.Data); err != nil {
		t.Fatal(err)
	}
	g := egress.New(egress.Options{Recipients: egress.Data.Recipients})
	pgURL, redisURL := testdb.Postgres(t), testdb.Redis(t)
	cfg, err := pgx.ParseConfig(pgURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = g.Dialer("postgres")
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	if _, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
		t.Fatal("PostgreSQL was reached before it was allowed")
	}
	for id, raw := range map[string]string{"postgres": pgURL, "redis": redisURL} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Allow(id, u.Host); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	opt, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	opt.Dialer = g.Dialer("redis")
	client := redis.NewClient(opt)
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Observed() {
		if c.Opened == 0 {
			t.Errorf("%s at %s was never opened", c.Recipient, c.Host)
		}
	}
}

func FuzzAllow(f *testing.F) {
	for _, s := range []string{"example.com", "*.example.com:443", "[::1]:80", "unix:/run/x", "1.2.3.4:5", "a..b", "*", ":", "[", "%", "x:y:z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		g := egress.New(egress.Options{Recipients: declared})
		if g.Allow("hook", host) != nil || !strings.Contains(host, ":") {
			return
		}
		// What was allowed by its own words is never a loopback address.
		if h, _, err := net.SplitHostPort(host); err == nil {
			if a, err := netip.ParseAddr(h); err == nil && a.Unmap().IsLoopback() {
				t.Errorf("%q was allowed", host)
			}
		}
	})
}
