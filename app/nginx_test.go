package app_test

import (
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
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/app"
	"parley/internal/parleytest"
)

const publicHost = "chat.example"

// nginx is a real nginx that ends TLS for publicHost, one port for each upstream.
type nginx struct {
	addrs []string
	roots *x509.CertPool
}

// The ways to hand a request on that nginx's own documentation shows.
const (
	keepHost    = "proxy_set_header Host $http_host;"
	forwardHost = "proxy_set_header X-Forwarded-Host $http_host;" // and nginx makes Host the upstream's name
)

type upstream struct{ url, host string }

// startNginx runs nginx until the test ends. Its ports are opened here and handed over, so that it can be asked at once.
func startNginx(t *testing.T, upstreams ...upstream) *nginx {
	t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx" // Debian's place, which is not in everybody's PATH
		if _, err := os.Stat(bin); err != nil {
			t.Fatal("nginx is not installed: install the package nginx (make setup does)")
		}
	}
	dir := t.TempDir()
	n := &nginx{roots: x509.NewCertPool()}
	selfSigned(t, dir, n.roots)
	cmd := exec.Command(bin, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	var servers, inherit strings.Builder
	for i, up := range upstreams {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer l.Close()
		n.addrs = append(n.addrs, l.Addr().String())
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		fmt.Fprintf(&inherit, "%d;", 3+i)
		fmt.Fprintf(&servers, nginxServer, l.Addr(), up.url, up.host)
	}
	conf := fmt.Sprintf(nginxConf, servers.String())
	if os.Geteuid() == 0 {
		conf = "user root;\n" + conf // its worker must reach the test's own directory
	}
	write(t, filepath.Join(dir, "nginx.conf"), conf)
	cmd.Env = append(os.Environ(), "NGINX="+inherit.String()) // as an nginx hands its ports to its successor
	out := &parleytest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already, perhaps
		if err := cmd.Wait(); err != nil || t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx: %v\n%s%s", err, out, log)
		}
	})
	return n
}

const nginxConf = `daemon off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
	%s
}
`

const nginxServer = `
	server {
		listen %s ssl;
		server_name chat.example;
		ssl_certificate cert.pem;
		ssl_certificate_key key.pem;
		location / {
			proxy_pass %s;
			%s
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
		}
	}
`

// selfSigned makes a certificate for publicHost.
func selfSigned(t *testing.T, dir string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: publicHost}, DNSNames: []string{publicHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	write(t, filepath.Join(dir, "cert.pem"), string(cert))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// client is a browser at another address (127.0.0.2 and so on: all of 127/8 is this machine) that opens https://chat.example.
// Headers are sent with every request.
func (n *nginx) client(t *testing.T, server int, from string, headers http.Header) *parleytest.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, n.addrs[server])
		}}
	t.Cleanup(tr.CloseIdleConnections)
	return &parleytest.Client{URL: "https://" + publicHost, HTTP: &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: withHeaders{tr, headers}}}
}

type withHeaders struct {
	next    http.RoundTripper
	headers http.Header
}

func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, w.headers)
	if h := w.headers.Get("Host"); h != "" {
		r.Host = h
	}
	return w.next.RoundTrip(r)
}

func forwardedFor(list string) http.Header { return http.Header{"X-Forwarded-For": {list}} }

// join follows a new member's invitation through the client, and returns the answer.
func join(t *testing.T, s *parleytest.Server, c *parleytest.Client, org, email string) parleytest.Response {
	t.Helper()
	m, err := s.Admin(t).CreateMember(context.Background(), app.MemberInput{Org: org, Email: email, Role: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	token := m.SetupURL[strings.LastIndex(m.SetupURL, "/")+1:]
	return c.Do(t, "POST", "/api/v1/invitations/"+token, map[string]string{"name": "Ada", "password": parleytest.Password}, nil)
}

func trusting(proxies string) parleytest.Options {
	return parleytest.Options{Config: func(c *app.Config) { c.Proxies, c.StartsPerMinute = proxies, 1 }}
}

func TestBehindNginx(t *testing.T) {
	s := parleytest.Start(t, trusting("127.0.0.1,127.0.0.9"))
	tenant := s.Tenant(t, "acme")
	n := startNginx(t, upstream{s.URL, keepHost}, upstream{s.URL, forwardHost})
	for i, name := range []string{"Host kept", "X-Forwarded-Host"} {
		t.Run(name, func(t *testing.T) {
			c := n.client(t, i, "127.0.0.2", nil)
			t.Run("public URL and cookie", func(t *testing.T) { proxiedSignIn(t, s, c, tenant) })
			t.Run("socket", func(t *testing.T) { proxiedSocket(t, s, c, tenant) })
		})
	}
	t.Run("limits count the client", func(t *testing.T) { proxiedLimits(t, n, tenant) })
	t.Run("nearby is the client", func(t *testing.T) {
		local := n.client(t, 0, "127.0.0.2", nil)
		local.Do(t, "GET", "/metrics", nil, nil).Want(t, 200)
		// 127.0.0.9 is a trusted hop before nginx. What stands left of the address that it saw is the client's own tale.
		for _, list := range []string{"203.0.113.9", "127.0.0.1, 203.0.113.9", "203.0.113.9, 127.0.0.9"} {
			far := n.client(t, 0, "127.0.0.9", forwardedFor(list))
			far.Do(t, "GET", "/metrics", nil, nil).Want(t, 404)
		}
	})
}

// proxiedSignIn leaves c signed in.
func proxiedSignIn(t *testing.T, s *parleytest.Server, c *parleytest.Client, tenant parleytest.Tenant) {
	res := join(t, s, c, tenant.Org, strings.ReplaceAll(strings.ToLower(t.Name()), "/", ".")+"@acme.example").Want(t, 200)
	cookie := res.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-parley=", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %q", cookie, want)
		}
	}
	if strings.Contains(cookie, "Domain=") || len(res.Header["Set-Cookie"]) != 1 {
		t.Errorf("cookies: %q", res.Header["Set-Cookie"])
	}
	if got := res.Header.Get("Strict-Transport-Security"); got == "" {
		t.Error("no Strict-Transport-Security over https")
	}
	c.Do(t, "GET", "/api/v1/session", nil, nil).Want(t, 200)
	var sites struct {
		Items []struct {
			Snippet string `json:"snippet"`
		} `json:"items"`
	}
	c.Do(t, "GET", "/api/v1/sites", nil, &sites).Want(t, 200)
	if len(sites.Items) != 1 || !strings.Contains(sites.Items[0].Snippet, `src="https://chat.example/widget.js"`) {
		t.Errorf("snippet: %+v", sites.Items)
	}
	var invited struct {
		Link string `json:"link"`
	}
	c.Do(t, "POST", "/api/v1/members", map[string]string{"email": "new." + fmt.Sprint(time.Now().UnixNano()) + "@acme.example", "role": "agent"}, &invited).Want(t, 201)
	if !strings.HasPrefix(invited.Link, "https://chat.example/app/") {
		t.Errorf("invitation link %q", invited.Link)
	}
	from := http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	evil := &parleytest.Client{URL: c.URL, HTTP: &http.Client{Jar: c.HTTP.Jar, Transport: withHeaders{c.HTTP.Transport, from}}}
	evil.Do(t, "POST", "/api/v1/members", map[string]string{"email": "x@acme.example", "role": "agent"}, nil).WantCode(t, 403, "cross_origin")
}

// proxiedSocket talks over a socket through nginx, as the member that c is.
func proxiedSocket(t *testing.T, s *parleytest.Server, c *parleytest.Client, tenant parleytest.Tenant) {
	visitor, begun := s.Visitor(t, tenant.Site, "Is anybody there?")
	visitor.HTTP, visitor.URL = &http.Client{Transport: c.HTTP.Transport}, c.URL // a frame from https://chat.example too
	theirs := visitor.Socket(t)
	mine := c.Socket(t)
	if err := mine.Subscribe("conv:" + begun.Conversation.ID); err != nil {
		t.Fatal(err)
	}
	if err := mine.Call("send", map[string]string{"conversation": begun.Conversation.ID, "client_id": "one", "body": "Yes."}, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Message struct {
			Body string `json:"body"`
		} `json:"message"`
	}
	if theirs.Wait(t, "chat.message.created.v1", &got); got.Message.Body != "Yes." {
		t.Errorf("the visitor was told %q", got.Message.Body)
	}
	evil := &parleytest.Client{URL: c.URL, HTTP: &http.Client{Jar: c.HTTP.Jar, Transport: withHeaders{c.HTTP.Transport, http.Header{"Origin": {"https://evil.example"}}}}}
	var refused *parleytest.CallError
	if _, err := evil.TrySocket(t); !errors.As(err, &refused) || refused.Code != 403 {
		t.Errorf("another site's socket: %v, want 403", err)
	}
}

// proxiedLimits floods from one address behind the proxy, under ever new names for itself; a neighbour goes on.
func proxiedLimits(t *testing.T, n *nginx, tenant parleytest.Tenant) {
	path := "/api/v1/widget/sites/" + tenant.Site + "/conversations"
	var last parleytest.Response
	for i := range 40 {
		flood := n.client(t, 0, "127.0.0.3", forwardedFor(fmt.Sprintf("198.51.100.%d", i)))
		last = flood.Do(t, "POST", path, map[string]string{"client_id": parleytest.NewClientID(), "body": "Hello"}, nil)
		if last.Status != 201 {
			break
		}
	}
	last.WantCode(t, 429, "too_many_conversations")
	if last.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	neighbour := n.client(t, 0, "127.0.0.4", nil)
	neighbour.Do(t, "POST", path, map[string]string{"client_id": parleytest.NewClientID(), "body": "Hello"}, nil).Want(t, 201)
}

// A proxy that nobody declared is believed nothing: no public URL, no https, no client address.
func TestBehindUndeclaredNginx(t *testing.T) {
	s := parleytest.Start(t, trusting("10.1.2.3"))
	tenant := s.Tenant(t, "acme")
	n := startNginx(t, upstream{s.URL, keepHost}, upstream{s.URL, forwardHost})
	join(t, s, n.client(t, 0, "127.0.0.2", nil), tenant.Org, "ada@acme.example").WantCode(t, 403, "https_needed")
	// With the upstream's own name as Host the server takes itself for one on loopback http: a plain cookie, a plain URL.
	c := n.client(t, 1, "127.0.0.2", nil)
	res := join(t, s, c, tenant.Org, "bo@acme.example").Want(t, 200)
	if cookie := res.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "parley=") || strings.Contains(cookie, "Secure") {
		t.Errorf("cookie %q", cookie)
	}
	if res := c.Do(t, "GET", "/api/v1/sites", nil, nil).Want(t, 200); strings.Contains(string(res.Body), "chat.example") || strings.Contains(string(res.Body), "https://chat") {
		t.Errorf("an undeclared proxy's word is in a snippet: %s", res.Body)
	}
	c.Do(t, "GET", "/metrics", nil, nil).Want(t, 404) // someone else may stand behind it
	path := "/api/v1/widget/sites/" + tenant.Site + "/conversations"
	start := func(from string) parleytest.Response {
		return n.client(t, 0, from, nil).Do(t, "POST", path, map[string]string{"client_id": parleytest.NewClientID(), "body": "Hello"}, nil)
	}
	for range 40 {
		if start("127.0.0.3").Status != 201 {
			break
		}
	}
	start("127.0.0.4").WantCode(t, 429, "too_many_conversations") // all of its clients are one
}

// A configured public URL needs nobody's word.
func TestBaseURLBehindNginx(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.BaseURL = "https://" + publicHost }})
	admin := s.Admin(t)
	org, err := admin.CreateOrg(context.Background(), app.OrgInput{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	n := startNginx(t, upstream{s.URL, forwardHost})
	c := n.client(t, 0, "127.0.0.2", http.Header{"Origin": {"https://" + publicHost}})
	res := join(t, s, c, org.ID, "ada@acme.example").Want(t, 200)
	if cookie := res.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-parley=") {
		t.Errorf("cookie %q", cookie)
	}
	c.Socket(t)
}
