package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/app"
	"parley/internal/fault"
	"parley/internal/parleytest"
)

// freePort returns an address of this machine where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	// Below the range that the system takes ports from when it is asked for any: nobody else gets one of these meanwhile.
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// The plain port knows the way to HTTPS and nothing else.
func TestPromise_I6_PlainHTTPIsRedirected(t *testing.T) {
	a := newAuthority(t)
	plain := freePort(t)
	s, _, _ := startTLS(t, a, func(c *app.Config) { c.HTTPRedirect = plain })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	c := &parleytest.Client{URL: "http://" + publicHost, HTTP: a.browser(t, &parleytest.Server{URL: "http://" + plain}, "").HTTP}
	for _, q := range []struct {
		method, path, to string
		status           int
	}{
		{"GET", "/", "/", 301}, {"HEAD", "/app/x?y=z&k=%2F", "/app/x?y=z&k=%2F", 301}, {"POST", "/api/v1/session", "/api/v1/session", 308},
		{"GET", "/healthz", "/healthz", 301}, {"GET", "/metrics", "/metrics", 301}, {"GET", "/ws", "/ws", 301}, {"GET", "//evil.example/x", "//evil.example/x", 301},
		{"GET", "/.well-known/other", "/.well-known/other", 301},
	} {
		res := c.Do(t, q.method, q.path, nil, nil)
		if got := res.Header.Get("Location"); res.Status != q.status || got != "https://"+publicHost+":"+port+q.to {
			t.Errorf("%s %s: %d to %s", q.method, q.path, res.Status, got)
		}
		if len(res.Body) > 0 || res.Header.Get("Set-Cookie") != "" || res.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s %s says more: %v %s", q.method, q.path, res.Header, res.Body)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:80", "chat.example.evil.example", ""} {
		req, err := http.NewRequest("GET", "http://"+publicHost+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if host == "" {
			req.Host = "chat_example"
		}
		res, err := c.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusMisdirectedRequest || res.Header.Get("Location") != "" {
			t.Errorf("as %q: %s to %s", host, res.Status, res.Header.Get("Location"))
		}
	}
	s.Stop(t)
	if conn, err := net.Dial("tcp", plain); err == nil {
		_ = conn.Close()
		t.Error("the plain port outlives the server")
	}
}

// With a base URL that is where the plain port leads, under whatever name it was called.
func TestRedirectToTheBaseURL(t *testing.T) {
	a, plain := newAuthority(t), freePort(t)
	startTLS(t, a, func(c *app.Config) { c.HTTPRedirect, c.BaseURL = plain, "https://"+publicHost })
	c := &parleytest.Client{URL: "http://evil.example", HTTP: a.browser(t, &parleytest.Server{URL: "http://" + plain}, "").HTTP}
	if got := c.Do(t, "GET", "/app/", nil, nil).Want(t, 301).Header.Get("Location"); got != "https://"+publicHost+"/app/" {
		t.Errorf("it leads to %s", got)
	}
}

// Whatever is asked for in plain HTTP, the way leads to this server.
func FuzzWayTo(f *testing.F) {
	for _, target := range []string{"/", "/app/?x=y", "//evil.example/", "http://evil.example/a", "/\\evil.example", "*", "evil.example:443", "/%0d%0aSet-Cookie:%20x", "/?\"x#y", "/@evil.example", "mailto:x"} {
		f.Add("GET", target)
		f.Add("CONNECT", target)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		text := method + " " + target + " HTTP/1.1\r\nHost: chat.example\r\n\r\n"
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		got := app.WayTo("https://"+publicHost, req.URL)
		u, err := url.Parse(got)
		if !strings.HasPrefix(got, "https://"+publicHost+"/") || strings.ContainsAny(got, "\r\n") || (err == nil && (u.Host != publicHost || u.User != nil)) {
			t.Errorf("%q leads to %q", target, got)
		}
	})
}

// Whoever connects and says nothing, or says it slowly, is sent away: on all ports.
func TestSlowClientsAreSentAway(t *testing.T) {
	a, plain := newAuthority(t), freePort(t)
	s, _, _ := startTLS(t, a, func(c *app.Config) { c.HTTPRedirect = plain })
	ended := make(chan string, 3)
	hold := func(name, addr, first string, secure bool) {
		var conn net.Conn
		var err error
		if secure {
			conn, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: a.roots, ServerName: publicHost, MinVersion: tls.VersionTLS12})
		} else {
			conn, err = net.Dial("tcp", addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			_, _ = io.WriteString(conn, first)
			_, _ = io.Copy(io.Discard, conn) // until the server has enough
			ended <- name
		}()
	}
	addr := strings.TrimPrefix(s.URL, "https://")
	hold("no handshake", addr, "\x16\x03", false)
	hold("half a header", addr, "GET / HTTP/1.1\r\nHost: chat.example\r\nX-Slow:", true)
	hold("half a header to the plain port", plain, "GET / HTTP/1.1\r\nHo", false)
	for range 3 {
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("somebody who says nothing is still connected after 30 s")
		}
	}
	a.browser(t, s, publicHost).Do(t, "GET", "/healthz", nil, nil).Want(t, 200)
}

// dialled is a connection that comes from wherever a test says.
type dialled struct {
	net.Conn
	from   net.Addr
	closed chan struct{}
}

func (d dialled) RemoteAddr() net.Addr { return d.from }
func (d dialled) Close() error {
	close(d.closed)
	return nil
}

type callers chan dialled

func (c callers) Accept() (net.Conn, error) {
	conn, ok := <-c
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c callers) Close() error { return nil }
func (c callers) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("0.0.0.0:8080"))
}

// Behind a proxy that ends TLS, plain HTTP is spoken with this machine, its network and the proxies that were named: with nobody on
// the internet, even if the port is open there.
func TestPromise_I6_PlainHTTPIsForNeighbours(t *testing.T) {
	var log bytes.Buffer
	in := make(callers, 1)
	l, err := app.PlainNeighbours(in, "203.0.113.0/28, 2001:db8:1::/48", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	for from, welcome := range map[string]bool{"127.0.0.1:5000": true, "[::1]:5000": true, "10.1.2.3:5000": true, "192.168.7.9:5000": true, "[fd00::7]:5000": true, "[fe80::1%eth0]:5000": true,
		"[::ffff:10.0.0.1]:5000": true, "203.0.113.9:5000": true, "[2001:db8:1::5]:5000": true,
		"203.0.113.77:5000": false, "93.184.216.34:5000": false, "[2001:db8:2::5]:5000": false, "[::ffff:93.184.216.34]:5000": false, "100.64.0.1:5000": false} {
		ap := netip.MustParseAddrPort(from)
		conn := dialled{from: net.TCPAddrFromAddrPort(ap), closed: make(chan struct{})}
		in <- conn
		select {
		case <-accepted:
			if !welcome {
				t.Errorf("%s is served", from)
			}
		case <-conn.closed:
			if welcome {
				t.Errorf("%s is sent away", from)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s waits", from)
		}
	}
	close(in)
	<-accepted
	if got := log.String(); strings.Count(got, "--trusted-proxies") != 1 || strings.Contains(got, "93.184") {
		t.Errorf("log: %s", got)
	}
}

// Stores are reached over the internet by TLS only; inside the own network as the operator says.
func TestPromise_I6_StoresOverTheInternetByTLS(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for _, c := range []struct {
		url, at string
		refused bool
	}{
		{"postgres://db.example/parley", "93.184.216.34:5432", true}, {"postgres://db.example/parley?sslmode=disable", "93.184.216.34:5432", true},
		{"postgresql://db.example/parley?sslmode=prefer", "[2606:2800:220:1::1]:5432", true}, {"redis://redis.example:6379/0", "93.184.216.34:6379", true},
		{"postgres://db.example/parley?sslmode=require", "93.184.216.34:5432", false}, {"postgres://db.example/parley?sslmode=verify-full", "93.184.216.34:5432", false},
		{"rediss://redis.example:6379/0", "93.184.216.34:6379", false}, {"postgres://db.example/parley", "10.0.0.7:5432", false},
		{"postgres://db.example/parley", "127.0.0.1:5432", false}, {"redis://redis.example:6379/0", "[fd00::7]:6379", false},
	} {
		conn := dialled{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.at)), closed: make(chan struct{})}
		got, err := app.AtHome(func(context.Context, string, string) (net.Conn, error) { return conn, nil }, c.url)(t.Context(), "tcp", "x")
		var f *fault.Error
		if refused := errors.As(err, &f) && f.Code == "store_plain"; refused != c.refused || (err == nil) == (got == nil) {
			t.Errorf("%s at %s: %v", c.url, c.at, err)
		}
		select {
		case <-conn.closed:
			if !c.refused {
				t.Errorf("%s at %s was closed", c.url, c.at)
			}
		default:
			if c.refused {
				t.Errorf("%s at %s stays open", c.url, c.at)
			}
		}
	}
	t.Setenv("PGSSLMODE", "verify-full")
	conn := dialled{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("93.184.216.34:5432")), closed: make(chan struct{})}
	if _, err := app.AtHome(func(context.Context, string, string) (net.Conn, error) { return conn, nil }, "postgres://db.example/parley")(t.Context(), "tcp", "x"); err != nil {
		t.Errorf("with PGSSLMODE: %v", err)
	}
}

// A port that the system keeps for itself: the error says what to do, whoever runs this test.
func TestPortsWithoutRights(t *testing.T) {
	for errno, code := range map[syscall.Errno]string{syscall.EACCES: "port_forbidden", syscall.EPERM: "port_forbidden", syscall.EADDRINUSE: "port_in_use"} {
		err := app.ListenFault(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", errno)}, ":443", "--listen")
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != code || !strings.Contains(f.Text, "--listen :443") {
			t.Errorf("%v: %v", errno, err)
		}
		if code == "port_forbidden" && (!strings.Contains(f.Text, "CAP_NET_BIND_SERVICE") || !strings.Contains(f.Text, "setcap")) {
			t.Errorf("it does not say what to do: %s", f.Text)
		}
	}
}
