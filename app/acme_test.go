package app_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"parley/app"
	"parley/internal/parleytest"
)

// ca is a real ACME server: Pebble, Let's Encrypt's own for tests, with a name server of the test's own.
type ca struct {
	dir, rootFile string
	known         atomic.Bool // whether the name server knows anybody
	orders        func() int  // how often it was asked for a certificate
	trust         *authority  // of the authority's own web server
	management    string
	stop          func()
}

// startCA runs Pebble until the test ends. It looks for proofs on the two ports, as another would on 80 and 443.
func startCA(t *testing.T, httpPort, tlsPort string) *ca {
	t.Helper()
	c := &ca{trust: newAuthority(t)}
	c.known.Store(true)
	dir := t.TempDir()
	bin := filepath.Join(dir, "pebble")
	build := exec.Command("go", "build", "-o", bin, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir, build.Env = filepath.Join("..", "tools", "pebble"), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("Pebble could not be built (its modules come from the module proxy once): %v\n%s", err, out)
	}
	certFile, keyFile := c.trust.files(dir, "127.0.0.1")
	c.rootFile = filepath.Join(dir, "root.pem")
	write(t, c.rootFile, c.trust.pem())
	addr, management := freePort(t), freePort(t)
	c.dir, c.management = "https://"+addr+"/dir", "https://"+management
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": addr, "managementListenAddress": management, "certificate": certFile, "privateKey": keyFile,
		"httpPort": number(t, httpPort), "tlsPort": number(t, tlsPort), "keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(conf))
	out := &parleytest.Buffer{}
	cmd := exec.Command(bin, "-config", filepath.Join(dir, "config.json"), "-dnsserver", c.nameServer(t), "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	c.stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait() // by the signal
		}
	}
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("Pebble:\n%s", out)
		}
	})
	c.orders = func() int { return strings.Count(out.String(), "POST /finalize-order/") }
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.trust.roots}}}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := client.Get(c.dir); err == nil {
			_ = res.Body.Close()
			return c
		} else if time.Now().After(end) {
			t.Fatalf("Pebble does not answer: %v\n%s", err, out)
		}
	}
}

func number(t *testing.T, port string) int {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// issued are the roots of what the authority issues.
func (c *ca) issued(t *testing.T) *authority {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.trust.roots}}}
	res, err := client.Get(c.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, roots: x509.NewCertPool()}
	if !a.roots.AppendCertsFromPEM(text) {
		t.Fatalf("the authority's root: %s", text)
	}
	return a
}

// nameServer says that every name is this machine, or that there is none. Pebble asks it over TCP.
func (c *ca) nameServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					var size uint16
					if binary.Read(conn, binary.BigEndian, &size) != nil {
						return
					}
					q := make([]byte, size)
					if _, err := io.ReadFull(conn, q); err != nil || size < 17 {
						return
					}
					reply := c.answer(q)
					_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// answer replies to one question (RFC 1035).
func (c *ca) answer(q []byte) []byte {
	end := 12
	for end < len(q) && q[end] != 0 {
		end += 1 + int(q[end])
	}
	end += 5
	if end > len(q) {
		return nil
	}
	out := append([]byte{}, q[:end]...)
	out[2], out[3] = 0x84, 0x80
	clear(out[6:12]) // no answer, no authority, nothing more
	switch isA := binary.BigEndian.Uint16(q[end-4:]) == 1; {
	case !c.known.Load():
		out[3] |= 3 // no such name
	case isA:
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return out
}

// startACME starts a server that gets its certificate from the authority.
func startACME(t *testing.T, c *ca, data, listen, redirect, domain string) *parleytest.Server {
	t.Helper()
	return parleytest.Start(t, parleytest.Options{Data: data, Config: func(cfg *app.Config) {
		cfg.Listen, cfg.HTTPRedirect, cfg.Domain = listen, redirect, domain
		cfg.ACMECA, cfg.ACMERoot, cfg.ACMEEmail = c.dir, c.rootFile, "operator-canary@chat.example"
	}})
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }

const obtained = `"certificate obtained"`

// Each way to prove that a name is ours works without the other.
func TestCertificateByACME(t *testing.T) {
	for _, way := range []string{"by HTTP", "in the handshake"} {
		t.Run(way, func(t *testing.T) {
			listen, redirect := freePort(t), freePort(t)
			httpPort, tlsPort := redirect, freePort(t)
			if way == "in the handshake" {
				redirect, httpPort, tlsPort = "off", freePort(t), listen
			}
			c := startCA(t, port(httpPort), port(tlsPort))
			s := startACME(t, c, "", listen, redirect, publicHost+", www.chat.example")
			logged(t, s, obtained, 2)
			a := c.issued(t)
			for _, name := range []string{publicHost, "www.chat.example", "WWW.chat.example"} {
				state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name})
				if err != nil || state.PeerCertificates[0].VerifyHostname(name) != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "evil.example"}); err == nil {
				t.Error("there is a certificate for another name")
			}
			if _, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"acme-tls/1"}}); err == nil {
				t.Error("proofs are shown to anybody")
			}
			// Who names no host gets the first one's certificate.
			if state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1", InsecureSkipVerify: true}); err != nil || state.PeerCertificates[0].VerifyHostname(publicHost) != nil {
				t.Errorf("without a name: %v", err)
			}
			browser := a.browser(t, s, publicHost)
			if got := browser.Do(t, "GET", "/healthz", nil, nil).Want(t, 200).Header.Get("Strict-Transport-Security"); got == "" {
				t.Error("the answer is not pinned")
			}
			var reached *parleytest.CallError
			if _, err := browser.TrySocket(t); !errors.As(err, &reached) || reached.Code != 401 {
				t.Errorf("the socket is not reached: %v", err)
			}
			if redirect != "off" {
				plain := &parleytest.Client{URL: "http://" + redirect, HTTP: a.browser(t, &parleytest.Server{URL: "http://" + redirect}, "").HTTP}
				plain.Do(t, "GET", "/.well-known/acme-challenge/some-token", nil, nil).Want(t, 404)
				if got := plain.Do(t, "GET", "/app/", nil, nil).Want(t, 301).Header.Get("Location"); got != "https://"+publicHost+"/app/" {
					t.Errorf("plain HTTP leads to %s", got)
				}
			}
			discreet(t, s)
			owned(t, filepath.Join(s.Data, "certs"))
			figures := browser.Do(t, "GET", "/metrics", nil, nil).Want(t, 200)
			if !bytes.Contains(figures.Body, []byte(`parley_egress_connections_total{recipient="acme-own",result="opened"}`)) {
				t.Error("the connections to the authority are not among those that egress counted")
			}
		})
	}
}

// discreet checks what the log holds of getting certificates: no address, no e-mail, nothing but declared keys.
func discreet(t *testing.T, s *parleytest.Server) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(s.Log.String()), "\n") {
		if strings.Contains(line, "canary") {
			t.Errorf("the operator's address is in the log: %s", line)
		}
		if !strings.HasPrefix(line, "{") {
			t.Errorf("somebody else writes to the log: %s", line)
		}
		if strings.Contains(line, "127.0.0.1") && !strings.Contains(line, `"listen"`) {
			t.Errorf("an address is in the log: %s", line)
		}
	}
}

// What was got is used again, without asking anybody; what has ended is renewed; an authority that was set up anew is no hindrance.
func TestCertificateByACMEIsKeptAndRenewed(t *testing.T) {
	listen, data := freePort(t), t.TempDir()
	c := startCA(t, port(freePort(t)), port(listen))
	s := startACME(t, c, data, listen, "off", publicHost)
	logged(t, s, obtained, 1)
	a := c.issued(t)
	first := certificate(t, a, s)
	account := readOne(t, filepath.Join(data, "certs", "acme", "*", "account.json"))
	if !strings.Contains(account, "operator-canary@chat.example") {
		t.Errorf("the account: %s", account)
	}

	s.Restart(t)
	if got := certificate(t, a, s); got.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("there is another certificate after a restart")
	}
	if n := c.orders(); n != 1 {
		t.Errorf("the authority gave %d certificates, want 1", n)
	}

	// The certificate has ended: a self-made one takes its place, as if the server had been off for months.
	s.Stop(t)
	own := newAuthority(t)
	cert, key := own.issue(time.Now().Add(-time.Hour), publicHost)
	overwrite(t, filepath.Join(data, "certs", "certificates", "*", publicHost, publicHost+".crt"), cert)
	overwrite(t, filepath.Join(data, "certs", "certificates", "*", publicHost, publicHost+".key"), key)
	s.Restart(t)
	logged(t, s, `"certificate renewed"`, 1)
	awaited(t, "the renewed certificate", func() error {
		_, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12})
		return err
	})

	// Another authority behind the same account.
	s.Stop(t)
	c.stop()
	again := startCA(t, port(freePort(t)), port(listen))
	moved := strings.ReplaceAll(account, hostOf(c.dir), hostOf(again.dir))
	if err := os.RemoveAll(filepath.Join(data, "certs")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(data, "certs", "acme", hostOf(again.dir)+"-dir")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "account.json"), moved)
	s2 := startACME(t, again, data, listen, "off", publicHost)
	logged(t, s2, obtained, 1)
	certificate(t, again.issued(t), s2)
	if readOne(t, filepath.Join(dir, "account.json")) == moved {
		t.Error("the account that nobody knows was kept")
	}
	discreet(t, s)
	discreet(t, s2)
}

func hostOf(dir string) string {
	return strings.TrimSuffix(strings.TrimPrefix(dir, "https://"), "/dir")
}

func certificate(t *testing.T, a *authority, s *parleytest.Server) *x509.Certificate {
	t.Helper()
	var cert *x509.Certificate
	awaited(t, "a certificate", func() error {
		state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12})
		if err == nil {
			cert = state.PeerCertificates[0]
		}
		return err
	})
	return cert
}

func awaited(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s did not come within a minute: %v", what, err)
}

func readOne(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func overwrite(t *testing.T, pattern, text string) {
	t.Helper()
	readOne(t, pattern)
	files, _ := filepath.Glob(pattern)
	write(t, files[0], text)
}

// Without a certificate the server runs, says why it has none, and has one soon after the operator has mended it.
func TestCertificateByACMEAfterTrouble(t *testing.T) {
	listen := freePort(t)
	c := startCA(t, port(freePort(t)), port(listen))
	c.known.Store(false)
	s := startACME(t, c, "", listen, "off", publicHost)
	logged(t, s, "no certificate yet", 1)
	if _, err := c.issued(t).shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("a handshake without certificate")
	}
	c.known.Store(true)
	hangUp(t)
	logged(t, s, obtained, 1)
	certificate(t, c.issued(t), s)
	discreet(t, s)
}

func TestACMESaysWhatIsWrong(t *testing.T) {
	listen := freePort(t)
	for name, c := range map[string]struct {
		says  string
		spoil func(c *ca, cfg *app.Config)
	}{
		"nobody can come in": {"no certificate yet", func(*ca, *app.Config) {}},
		"an unknown root":    {"--acme-ca-root", func(_ *ca, cfg *app.Config) { cfg.ACMERoot = "" }},
		"another's root": {"--acme-ca-root", func(_ *ca, cfg *app.Config) {
			other := newAuthority(t)
			cfg.ACMERoot = filepath.Join(t.TempDir(), "other.pem")
			write(t, cfg.ACMERoot, other.pem())
		}},
		"nobody there": {"does not answer", func(c *ca, _ *app.Config) { c.stop() }},
	} {
		t.Run(name, func(t *testing.T) {
			ca := startCA(t, port(freePort(t)), port(freePort(t)))
			s := parleytest.Start(t, parleytest.Options{Config: func(cfg *app.Config) {
				cfg.Listen, cfg.HTTPRedirect, cfg.Domain, cfg.ACMECA, cfg.ACMERoot = listen, "off", publicHost, ca.dir, ca.rootFile
				c.spoil(ca, cfg)
			}})
			logged(t, s, c.says, 1)
			discreet(t, s)
		})
	}
}

// What an operator reads is ours: nothing that the authority, or a stranger's server through it, wrote.
func TestACMETroubleIsSaidInOurWords(t *testing.T) {
	for kind, want := range map[string]string{"connection": "could not reach", "tls": "Ports 80 and 443", "dns": "A or AAAA record", "unauthorized": "another server answered", "incorrectResponse": "another server",
		"caa": "CAA", "rateLimited": "too often", "rejectedIdentifier": "no certificate for such a name", "invalidContact": "--acme-email", "externalAccountRequired": "external account binding",
		"somethingNew": "refused", "ca\nnary\"x": "refused", "": "refused", strings.Repeat("canary", 20): "refused"} {
		text, code := app.ACMETrouble(fmt.Errorf("wrapped: %w", acme.Problem{Type: acme.ProblemTypeNamespace + kind, Detail: "canary 198.51.100.7", Title: "canary"}))
		if !strings.Contains(text, want) || strings.Contains(text+code, "canary") || strings.ContainsAny(code, "\n\"") {
			t.Errorf("%q: %q %q", kind, text, code)
		}
	}
	text, code := app.ACMETrouble(errors.New("dial tcp 198.51.100.7:443: canary"))
	if !strings.Contains(text, "does not answer") || code != "away" {
		t.Errorf("%q %q", text, code)
	}
}
