// Package parleytest boots the whole server for tests and speaks to it as people do: over HTTP, with a cookie or a token.
// It is no mock: the server, its database and its sockets are the real ones. It asserts nothing about domains.
package parleytest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/app"
)

// Options say what to boot. The zero value is a server on SQLite in a temporary directory.
type Options struct {
	Config func(*app.Config) // changes what is not said here
	Data   string            // data directory; a temporary one if empty
}

// Server is a running server.
type Server struct {
	URL  string
	Data string
	Log  *Buffer // everything it logged, over restarts

	opt    Options
	cancel context.CancelFunc
	done   chan error
	once   *sync.Once
}

// Buffer is a bytes.Buffer for several writers.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Start boots a server and stops it with the test.
func Start(t testing.TB, opt Options) *Server {
	t.Helper()
	s := &Server{opt: opt, Data: opt.Data, Log: &Buffer{}}
	if s.Data == "" {
		s.Data = t.TempDir()
	}
	s.start(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	ready := make(chan string, 1)
	cfg := app.Config{Data: s.Data, Listen: "127.0.0.1:0", LogLevel: "debug", LogFormat: "json", Version: "test",
		RTCUDP: "127.0.0.1:0", RTCTCP: "127.0.0.1:0", RTCTURN: "127.0.0.1:0",
		StartsPerMinute: 100_000, ConnectsPerSecond: 10_000, SocketCommands: 10_000, OnReady: func(url string) { ready <- url }}
	if s.opt.Config != nil {
		s.opt.Config(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done, s.once = cancel, make(chan error, 1), new(sync.Once)
	go func() { s.done <- app.Serve(ctx, cfg, io.Discard, s.Log) }()
	select {
	case s.URL = <-ready:
	case err := <-s.done:
		cancel()
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("the server was not ready within a minute")
	}
}

// Stop stops the server gracefully and fails the test when it complains. Stopping twice is fine.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.once.Do(func() {
		s.cancel()
		select {
		case err := <-s.done:
			if err != nil {
				t.Errorf("the server stopped with: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the server did not stop within a minute")
		}
	})
}

// Restart stops the server and starts it on the same data, on the same port if that is still free.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	was, opt := s.URL, s.opt.Config
	s.opt.Config = func(c *app.Config) {
		if opt != nil {
			opt(c)
		}
		_, c.Listen, _ = strings.Cut(was, "://")
	}
	defer func() { s.opt.Config = opt }()
	s.start(t)
}

// Admin administers the server through its control socket, as the command line does.
func (s *Server) Admin(t testing.TB) app.Admin {
	t.Helper()
	cfg := app.Config{Data: s.Data, Listen: strings.TrimPrefix(s.URL, "http://")}
	admin, closeAdmin, err := app.Control(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeAdmin(); err != nil {
			t.Error(err)
		}
	})
	return admin
}

// Tenant is an organisation with an owner and a site.
type Tenant struct {
	Org, Site, Origin string
	APIKey            int64
	Owner             string // member id
	Email, Password   string
	Client            *Client // the owner, signed in
}

// Password is what every member made here signs in with.
const Password = "lantern-gravel-otter-47"

// Tenant makes an organisation the way an operator would.
func (s *Server) Tenant(t testing.TB, name string) Tenant {
	t.Helper()
	ctx, admin := context.Background(), s.Admin(t)
	out := Tenant{Origin: "https://" + name + ".example", Email: "owner@" + name + ".example", Password: Password}
	org, err := admin.CreateOrg(ctx, app.OrgInput{Name: name})
	must(t, err)
	project, err := admin.CreateProject(ctx, app.ProjectInput{Org: org.ID, Name: "web"})
	must(t, err)
	site, err := admin.CreateSite(ctx, app.SiteInput{Project: project.APIKey, Origin: out.Origin, Name: name})
	must(t, err)
	out.Org, out.Site, out.APIKey = org.ID, site.ID, project.APIKey
	out.Owner, out.Client = s.Member(t, out.Org, out.Email, "owner", "Owner of "+name)
	return out
}

// Member adds a member to an organisation, follows the invitation and returns the signed-in client.
func (s *Server) Member(t testing.TB, org, email, role, name string) (id string, c *Client) {
	t.Helper()
	m, err := s.Admin(t).CreateMember(context.Background(), app.MemberInput{Org: org, Email: email, Role: role})
	must(t, err)
	c = s.Client(t)
	token := m.SetupURL[strings.LastIndex(m.SetupURL, "/")+1:]
	c.Do(t, "POST", "/api/v1/invitations/"+token, map[string]string{"name": name, "password": Password}, nil).Want(t, http.StatusOK)
	return m.ID, c
}

// Client calls the server as one browser.
type Client struct {
	HTTP  *http.Client
	URL   string
	Token string // a visitor's
}

// Client returns a browser without cookies yet.
func (s *Server) Client(t testing.TB) *Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &Client{HTTP: &http.Client{Jar: jar, Timeout: 30 * time.Second}, URL: s.URL}
}

// Response is an answer with its body read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Want fails the test unless the status is as said.
func (r Response) Want(t testing.TB, status int) Response {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d: %s", r.Status, status, r.Body)
	}
	return r
}

// WantCode fails the test unless the answer is a problem with the status and code.
func (r Response) WantCode(t testing.TB, status int, code string) Response {
	t.Helper()
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(r.Body, &p) // an unreadable body has no code
	if r.Status != status || p.Code != code {
		t.Fatalf("status %d code %q, want %d %q: %s", r.Status, p.Code, status, code, r.Body)
	}
	return r
}

// Do calls the server with in as JSON (or as it is, when it is a string) and decodes a good answer into out.
func (c *Client) Do(t testing.TB, method, path string, in, out any) Response {
	t.Helper()
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		must(t, err)
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, c.URL+path, body)
	must(t, err)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.HTTP.Do(req)
	must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(t, err)
	if out != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: data}
}

// Begun is a visitor's new conversation.
type Begun struct {
	Token   string `json:"token"`
	Visitor struct {
		ID string `json:"id"`
	} `json:"visitor"`
	Conversation struct {
		ID string `json:"id"`
	} `json:"conversation"`
}

// Visitor begins a conversation on the site and returns the visitor's client.
func (s *Server) Visitor(t testing.TB, site, body string) (*Client, Begun) {
	t.Helper()
	c := s.Client(t)
	var b Begun
	c.Do(t, "POST", "/api/v1/widget/sites/"+site+"/conversations", map[string]string{"client_id": NewClientID(), "body": body}, &b).Want(t, http.StatusCreated)
	c.Token = b.Token
	return c, b
}

// KeyDir is where the server keeps its master key and ledger.
func (s *Server) KeyDir() string { return filepath.Join(s.Data, "keys") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
