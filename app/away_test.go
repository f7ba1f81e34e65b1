package app_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

// line is a way to a server that a test can cut.
type line struct {
	l      net.Listener
	target string
	mu     sync.Mutex
	cut    bool
	conns  map[net.Conn]bool
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &line{l: l, target: target, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = l.Close()
		p.set(true)
	})
	go func() {
		for {
			in, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go p.carry(in)
			}
		}
	}()
	return p
}

func (p *line) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(out, in) // either end may go
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
}

// set cuts the line, or mends it.
func (p *line) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// While PostgreSQL is away the server lives, is not ready, and says when to come back; afterwards all is as before.
func TestDatabaseAway(t *testing.T) {
	u, err := url.Parse(testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	p := newLine(t, u.Host)
	u.Host = p.l.Addr().String()
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = u.String() }})
	tenant := s.Tenant(t, "acme")
	visitor, talk := s.Visitor(t, tenant.Site, "hello")
	send := func(id string) parleytest.Response {
		return visitor.Do(t, "POST", "/api/v1/widget/conversations/"+talk.Conversation.ID+"/messages", map[string]string{"client_id": id, "body": "hello"}, nil)
	}
	send("before").Want(t, 201)
	get(t, "GET", s.URL+"/readyz", nil).Want(t, 200)
	p.set(true)
	get(t, "GET", s.URL+"/readyz", nil).Want(t, 503)
	get(t, "GET", s.URL+"/healthz", nil).Want(t, 200)
	res := send("away").Want(t, 503)
	retryAfter(t, res.Header.Get("Retry-After"))
	p.set(false)
	// Connections that died meanwhile may cost a few more answers of 503; clients come back.
	returns(t, "readiness", 200, func() parleytest.Response { return get(t, "GET", s.URL+"/readyz", nil) })
	returns(t, "writing", 201, func() parleytest.Response { return send("away") })
	var list page
	visitor.Do(t, "GET", "/api/v1/widget/conversations/"+talk.Conversation.ID+"/messages", nil, &list).Want(t, 200)
	if len(list.Items) != 3 {
		t.Errorf("%d messages, want 3", len(list.Items))
	}
}

// returns asks until the answer is the wanted one and not 503.
func returns(t *testing.T, what string, want int, ask func() parleytest.Response) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if res := ask(); res.Status != http.StatusServiceUnavailable {
			res.Want(t, want)
			return
		}
	}
	t.Fatalf("%s did not return within a minute", what)
}
