package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/app"
	"parley/internal/parleytest"
)

// authority is a certificate authority of the test's own.
type authority struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
	count int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, roots: x509.NewCertPool(), count: 1}
	a.key = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.roots.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate that ends at a time, with its key.
func (a *authority) issue(end time.Time, names ...string) (cert, key string) {
	a.t.Helper()
	a.count++
	k := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(a.count), Subject: pkix.Name{CommonName: names[0]}, NotBefore: end.Add(-90 * 24 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + a.pem(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// files writes a fresh certificate and its key into a directory.
func (a *authority) files(dir string, names ...string) (certFile, keyFile string) {
	a.t.Helper()
	cert, key := a.issue(time.Now().Add(60*24*time.Hour), names...)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(a.t, certFile, cert)
	write(a.t, keyFile, key)
	return certFile, keyFile
}

// browser opens https://name at the server's address, whatever the name.
func (a *authority) browser(t *testing.T, s *parleytest.Server, name string) *parleytest.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := to(s.URL, &tls.Config{RootCAs: a.roots})
	t.Cleanup(tr.CloseIdleConnections)
	return &parleytest.Client{URL: "https://" + name, HTTP: &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// to connects to one server for whatever name.
func to(url string, cfg *tls.Config) *http.Transport {
	_, addr, _ := strings.Cut(url, "://")
	return &http.Transport{TLSClientConfig: cfg, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
}

// shake makes a handshake with the server.
func (a *authority) shake(t *testing.T, s *parleytest.Server, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	cfg.RootCAs = a.roots
	if cfg.ServerName == "" {
		cfg.ServerName = publicHost
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", strings.TrimPrefix(s.URL, "https://"), cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

func (a *authority) serial(t *testing.T, s *parleytest.Server) int64 {
	t.Helper()
	state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.Int64()
}

// startTLS starts a server with a certificate in files.
func startTLS(t *testing.T, a *authority, change func(*app.Config)) (s *parleytest.Server, certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = a.files(t.TempDir(), publicHost, "127.0.0.1")
	return parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) {
		c.TLSCert, c.TLSKey = certFile, keyFile
		if change != nil {
			change(c)
		}
	}}), certFile, keyFile
}

func TestPromise_I6_TLSOfToday(t *testing.T) {
	a := newAuthority(t)
	s, _, _ := startTLS(t, a, nil)
	if !strings.HasPrefix(s.URL, "https://") {
		t.Fatalf("it is ready at %s", s.URL)
	}
	for _, old := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: old}); err == nil {
			t.Errorf("%s is spoken", tls.VersionName(state.Version))
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		state, err := a.shake(t, s, &tls.Config{MinVersion: version, MaxVersion: version})
		if err != nil || state.Version != version {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	for _, weak := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA} {
		if _, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{weak}}); err == nil {
			t.Errorf("%s is spoken", tls.CipherSuiteName(weak))
		}
	}
	for _, want := range []string{"h2", "http/1.1"} {
		state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{want}})
		if err != nil || state.NegotiatedProtocol != want {
			t.Errorf("ALPN %s: %q %v", want, state.NegotiatedProtocol, err)
		}
	}
	// Plain HTTP on that port gets no answer of ours.
	res, err := http.Get(strings.Replace(s.URL, "https", "http", 1) + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != 400 || strings.Contains(string(body), "ok\n") {
		t.Errorf("plain HTTP: %s %s %v", res.Status, body, err)
	}
}

// Every answer over HTTPS is pinned, whatever it is, and the server works: pages, sign-in, sockets.
func TestPromise_I6_HTTPSAnswersArePinned(t *testing.T) {
	a := newAuthority(t)
	s, _, _ := startTLS(t, a, nil)
	admin := s.Admin(t)
	org, err := admin.CreateOrg(context.Background(), app.OrgInput{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	c := a.browser(t, s, publicHost)
	for _, path := range []string{"/", "/app/", "/widget.js", "/w/nothing", "/healthz", "/readyz", "/metrics", "/api", "/openapi.json", "/api/v1/session", "/api/v1/nothing", "/nothing", "/ws"} {
		if got := c.Do(t, "GET", path, nil, nil).Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
			t.Errorf("%s: Strict-Transport-Security %q", path, got)
		}
	}
	if got := a.browser(t, s, strings.TrimPrefix(s.URL, "https://")).Do(t, "GET", "/healthz", nil, nil).Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("an address is pinned: %q", got)
	}
	res := join(t, s, c, org.ID, "ada@acme.example").Want(t, 200)
	if cookie := res.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-parley=") || !strings.Contains(cookie, "; Secure") {
		t.Errorf("cookie %q", cookie)
	}
	c.Do(t, "GET", "/api/v1/session", nil, nil).Want(t, 200)
	c.Socket(t)
	h2 := to(s.URL, &tls.Config{RootCAs: a.roots})
	h2.ForceAttemptHTTP2 = true
	t.Cleanup(h2.CloseIdleConnections)
	answer, err := (&http.Client{Transport: h2}).Get("https://" + publicHost + "/healthz")
	if err != nil || answer.ProtoMajor != 2 || answer.StatusCode != 200 {
		t.Fatalf("HTTP/2: %+v %v", answer, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	if log := s.Log.String(); strings.Contains(log, "127.0.0.1:") && strings.Contains(log, `"msg":"http: TLS`) {
		t.Errorf("the log has addresses:\n%s", log)
	}
}

// logged waits until the server has logged a text so many times.
func logged(t *testing.T, s *parleytest.Server, text string, times int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Count(s.Log.String(), text) >= times {
			return
		}
	}
	t.Fatalf("it was not logged %d times within a minute: %s\n%s", times, text, s.Log)
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	a := newAuthority(t)
	s, certFile, keyFile := startTLS(t, a, nil)
	first := a.serial(t, s)
	if state, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1"}); err != nil || len(state.PeerCertificates) != 2 {
		t.Errorf("the chain has %d certificates: %v", len(state.PeerCertificates), err)
	}
	const stays, again = "the one before it stays", "the certificate was read again"

	// A new certificate, found by looking. What was opened before goes on.
	c := a.browser(t, s, publicHost)
	c.Do(t, "GET", "/healthz", nil, nil).Want(t, 200)
	a.files(filepath.Dir(certFile), publicHost)
	logged(t, s, again, 1)
	second := a.serial(t, s)
	if second == first {
		t.Error("the new certificate is not used")
	}
	c.Do(t, "GET", "/healthz", nil, nil).Want(t, 200)

	// Broken ones, each said once, on SIGHUP at once.
	cert, key := a.issue(time.Now().Add(time.Hour), publicHost)
	old, oldKey := a.issue(time.Now().Add(-time.Hour), publicHost)
	_, otherKey := a.issue(time.Now().Add(time.Hour), publicHost)
	for i, broken := range []struct{ cert, key, says string }{
		{"nonsense", key, "holds no certificate"},
		{cert, "nonsense", "holds no private key"},
		{cert, otherKey, "do not belong together"},
		{cert[:len(cert)/4], key, "do not belong together"},
		{old, oldKey, "ended on"},
		{cert, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"},
	} {
		write(t, certFile, broken.cert)
		write(t, keyFile, broken.key)
		hangUp(t)
		logged(t, s, broken.says, 1)
		logged(t, s, stays, i+1)
		if got := a.serial(t, s); got != second {
			t.Errorf("%s: certificate %d is used, not %d", broken.says, got, second)
		}
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	logged(t, s, "is not there", 1)
	if got := a.serial(t, s); got != second {
		t.Errorf("without a key: certificate %d is used, not %d", got, second)
	}
	write(t, certFile, cert)
	write(t, keyFile, key)
	hangUp(t)
	logged(t, s, again, 2)
	if a.serial(t, s) == second {
		t.Error("the mended certificate is not used")
	}
	logged(t, s, "ends soon", 1)
	if strings.Contains(s.Log.String(), "nonsense") {
		t.Error("the log quotes the files")
	}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestTLSRefuses(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	certFile, keyFile := a.files(dir, publicHost)
	_, other := a.issue(time.Now().Add(time.Hour), publicHost)
	otherKey, none := filepath.Join(dir, "other.pem"), filepath.Join(dir, "none.pem")
	write(t, otherKey, other)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct {
		cfg        app.Config
		code, says string
	}{
		"I6: a public port without certificate":    {app.Config{Listen: "0.0.0.0:0"}, "listen_plain", "--domain"},
		"I6: every interface":                      {app.Config{Listen: ":0"}, "listen_plain", "--tls-cert"},
		"I6: a public port with a plain base URL":  {app.Config{Listen: "[::]:0", BaseURL: "http://chat.example"}, "listen_plain", "--base-url https://"},
		"I6: a redirect without HTTPS":             {app.Config{HTTPRedirect: ":0"}, "redirect_nowhere", "--http-redirect"},
		"I6: a plain base URL with a certificate":  {app.Config{TLSCert: certFile, TLSKey: keyFile, BaseURL: "http://chat.example"}, "base_url_plain", "https://"},
		"I6: a plain base URL with a domain":       {app.Config{Domain: "chat.example.com", BaseURL: "http://chat.example.com"}, "base_url_plain", "https://"},
		"I6: a plain certificate authority":        {app.Config{Domain: "chat.internal", ACMECA: "http://ca.internal/dir"}, "acme_ca", "--acme-ca"},
		"both sources":                             {app.Config{Domain: "chat.example.com", TLSCert: certFile, TLSKey: keyFile}, "tls_twice", "--domain"},
		"a certificate without key":                {app.Config{TLSCert: certFile}, "tls_half", "--tls-key"},
		"a key without certificate":                {app.Config{TLSKey: keyFile}, "tls_half", "--tls-cert"},
		"no such file":                             {app.Config{TLSCert: none, TLSKey: keyFile}, "tls_unreadable", none},
		"another key":                              {app.Config{TLSCert: certFile, TLSKey: otherKey}, "tls_mismatch", "do not belong together"},
		"swapped files":                            {app.Config{TLSCert: keyFile, TLSKey: certFile}, "tls_no_certificate", "--tls-cert"},
		"an address as domain":                     {app.Config{Domain: "203.0.113.9"}, "domain_address", "host name"},
		"a wildcard":                               {app.Config{Domain: "*.chat.example.com"}, "domain_wildcard", "--tls-cert"},
		"a URL as domain":                          {app.Config{Domain: "https://chat.example.com"}, "domain_invalid", "chat.example"},
		"a name that only this machine has":        {app.Config{Domain: "localhost"}, "domain_private", "--acme-ca"},
		"a name without a dot":                     {app.Config{Domain: "chat"}, "domain_private", "--tls-cert"},
		"nothing but a comma":                      {app.Config{Domain: ","}, "domain_invalid", "--domain"},
		"an e-mail address without domain":         {app.Config{ACMEEmail: "ops@chat.example"}, "acme_without_domain", "--domain"},
		"an e-mail address with a name":            {app.Config{Domain: "chat.example.com", ACMEEmail: "Ops <ops@chat.example>"}, "acme_email", "--acme-email"},
		"a base URL of another name":               {app.Config{Domain: "chat.example.com", BaseURL: "https://www.example.com"}, "base_url_domain", "--domain"},
		"a root without authority":                 {app.Config{Domain: "chat.example.com", ACMERoot: certFile}, "acme_root", "--acme-ca"},
		"a redirect to nowhere":                    {app.Config{TLSCert: certFile, TLSKey: keyFile, HTTPRedirect: "80"}, "redirect_invalid", ":80"},
		"a redirect where somebody listens":        {app.Config{TLSCert: certFile, TLSKey: keyFile, Listen: "127.0.0.1:0", HTTPRedirect: busy.Addr().String()}, "port_in_use", "--http-redirect off"},
		"a root that is none":                      {app.Config{Domain: "chat.internal", ACMECA: "https://ca.internal/dir", ACMERoot: keyFile, Listen: "127.0.0.1:0", HTTPRedirect: "off"}, "tls_no_certificate", "--acme-ca-root"},
		"an authority where clouds keep secrets":   {app.Config{Domain: "chat.internal", ACMECA: "https://169.254.169.254/dir", Listen: "127.0.0.1:0", HTTPRedirect: "off"}, "address_not_public", "--acme-ca"},
		"no own address by that number":            {app.Config{Listen: "192.0.2.1:0", TLSCert: certFile, TLSKey: keyFile}, "listen_failed", "does not have that address"},
		"a listener that cannot be read":           {app.Config{Listen: "443", TLSCert: certFile, TLSKey: keyFile}, "listen_invalid", "host:port"},
		"a domain whose listener cannot be read":   {app.Config{Listen: "443", Domain: "chat.example.com"}, "listen_invalid", "host:port"},
		"a domain with capital letters and a typo": {app.Config{Domain: "Chat.Example.com, chat_2.example.com"}, "domain_invalid", "chat_2"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Data, c.cfg.LogLevel = t.TempDir(), "error"
			serveFails(t, c.cfg, c.code, c.says)
		})
	}
}

// A certificate that has ended keeps no server down: the next one is found when it comes.
func TestEndedCertificate(t *testing.T) {
	a := newAuthority(t)
	s, certFile, keyFile := startTLS(t, a, func(c *app.Config) {
		cert, key := a.issue(time.Now().Add(-time.Hour), publicHost)
		write(t, c.TLSCert, cert)
		write(t, c.TLSKey, key)
	})
	logged(t, s, "browsers will refuse this server", 1)
	if _, err := a.shake(t, s, &tls.Config{MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("an ended certificate passes")
	}
	if certFile == "" || keyFile == "" {
		t.Fatal("no files")
	}
	a.files(filepath.Dir(certFile), publicHost)
	logged(t, s, "the certificate was read again", 1)
	a.serial(t, s)
	res := a.browser(t, s, publicHost).Do(t, "GET", "/metrics", nil, nil).Want(t, 200)
	if !bytes.Contains(res.Body, []byte("parley_tls_certificate_end_seconds 1.")) {
		t.Error("the end of the certificate is not among the figures")
	}
}

func TestCertStore(t *testing.T) {
	ctx, base := context.Background(), t.TempDir()
	dir := filepath.Join(base, "certs")
	s, err := app.OpenCertStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Load(ctx, "a/b"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	for _, key := range []string{"a/b", "a/c/d", "e"} {
		if err := errors.Join(s.Store(ctx, key, []byte("old")), s.Store(ctx, key, []byte(key))); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(ctx, key); err != nil || string(got) != key {
			t.Errorf("%s: %q %v", key, got, err)
		}
		if info, err := s.Stat(ctx, key); err != nil || !info.IsTerminal || info.Size != int64(len(key)) {
			t.Errorf("%s: %+v %v", key, info, err)
		}
	}
	for dir, want := range map[string]string{"": "a e", "a": "a/b a/c"} {
		if got, err := s.List(ctx, dir, false); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v %v", dir, got, err)
		}
	}
	if got, err := s.List(ctx, "", true); err != nil || strings.Join(got, " ") != "a a/b a/c a/c/d e" {
		t.Errorf("all: %v %v", got, err)
	}
	if _, err := s.List(ctx, "nothing", true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := errors.Join(s.Delete(ctx, "a"), s.Delete(ctx, "a")); err != nil || s.Exists(ctx, "a/c/d") || !s.Exists(ctx, "e") {
		t.Errorf("deleted: %v", err)
	}
	for _, key := range []string{"../outside", "a/../../outside", "/etc/outside"} {
		if err := s.Store(ctx, key, []byte("x")); err == nil {
			t.Errorf("%s was written", key)
		}
		if _, err := s.Load(ctx, key); err == nil {
			t.Errorf("%s was read", key)
		}
	}
	if _, err := os.Stat(filepath.Join(base, "outside")); err == nil {
		t.Error("a key leads out of the directory")
	}
	owned(t, dir)

	if err := s.Lock(ctx, "name"); err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Lock(short, "name"); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that is held: %v", err)
	}
	got := make(chan error)
	go func() { got <- s.Lock(ctx, "name") }()
	if err := errors.Join(s.Unlock(ctx, "name"), <-got, s.Unlock(ctx, "name")); err != nil {
		t.Error(err)
	}
}

// owned checks that nobody but the owner may read what is below a directory.
func owned(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
