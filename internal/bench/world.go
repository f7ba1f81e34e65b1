package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"parley/egress"
)

// world is a server with everybody connected.
type world struct {
	server *Server
	opt    Options
	client *http.Client
	agents []*agent
	talks  []*talk
	byID   map[string]*talk // written before anybody talks
	serial int              // phases so far: part of client ids
	stock  int              // messages in the conversations before the phase
	now    atomic.Pointer[ledger]
}

// talk is a conversation with both of its ends.
type talk struct {
	id       string
	token    string
	visitor  *Socket
	agent    *Socket
	received [2]receiver // by the visitor's socket, by the agent's
}

// receiver is what arrived at one end. Its socket's reading goroutine alone changes it.
type receiver struct {
	last int64 // seq; 1 is the first message, sent before the sockets were there
}

type agent struct {
	cookie string
	socket *Socket
}

// The ends of a talk.
const (
	atVisitor = 0
	atAgent   = 1
)

// crowd is how many people arrive at the same time.
const crowd = 16

// enter brings everybody in: agents accept their invitations, visitors write their first message, all open sockets.
func enter(ctx context.Context, s *Server, st *stage, o Options, say func(string, ...any)) (*world, error) {
	client, err := clientFor(s.URL)
	if err != nil {
		return nil, err
	}
	w := &world{server: s, opt: o, client: client, byID: map[string]*talk{}, stock: o.Visitors, agents: make([]*agent, o.Agents), talks: make([]*talk, o.Visitors)}
	began := time.Now()
	if err := each(ctx, o.Agents, 4, func(ctx context.Context, i int) (err error) {
		w.agents[i], err = w.accept(ctx, i, st.Invitations[i])
		return err
	}); err != nil {
		return nil, fmt.Errorf("agents: %w", err)
	}
	if err := each(ctx, o.Visitors, crowd, func(ctx context.Context, i int) (err error) {
		w.talks[i], err = w.begin(ctx, st.Site)
		return err
	}); err != nil {
		return nil, fmt.Errorf("visitors: %w", err)
	}
	for _, t := range w.talks {
		w.byID[t.id] = t
	}
	if err := each(ctx, o.Visitors, crowd, w.connectVisitor); err != nil {
		return nil, fmt.Errorf("visitors' sockets: %w", err)
	}
	if err := each(ctx, o.Agents, crowd, w.connectAgent); err != nil {
		return nil, fmt.Errorf("agents' sockets: %w", err)
	}
	say("%d agents and %d visitors came in within %.1f s", o.Agents, o.Visitors, time.Since(began).Seconds())
	return w, nil
}

// clientFor returns an HTTP client that may speak to the server, and to nobody else.
func clientFor(server string) (*http.Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	gate := egress.New(egress.Options{Recipients: egress.Data.Recipients, MaxResponse: 64 << 20})
	if err := gate.Allow("self", u.Host); err != nil {
		return nil, err
	}
	return gate.Client("self", time.Minute), nil
}

// each calls fn for 0 to n-1, at most width at a time.
func each(ctx context.Context, n, width int, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(width)
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fn(ctx, i)
		})
	}
	return g.Wait()
}

func (w *world) accept(ctx context.Context, i int, token string) (*agent, error) {
	res, err := w.do(ctx, "POST", "/invitations/"+token, "", map[string]string{"name": fmt.Sprintf("Agent %d", i+1), "password": rand.Text()}, nil)
	if err != nil {
		return nil, err
	}
	var cookies []string
	for _, c := range res.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	return &agent{cookie: strings.Join(cookies, "; ")}, nil
}

func (w *world) begin(ctx context.Context, site string) (*talk, error) {
	var out struct {
		Token        string `json:"token"`
		Conversation struct {
			ID string `json:"id"`
		} `json:"conversation"`
	}
	_, err := w.do(ctx, "POST", "/widget/sites/"+site+"/conversations", "", map[string]any{"client_id": rand.Text(), "body": text(1), "locale": "en",
		"page": map[string]string{"url": "https://bench.example/kettles", "title": "Kettles"}}, &out)
	t := &talk{id: out.Conversation.ID, token: out.Token}
	t.received[atVisitor].last, t.received[atAgent].last = 1, 1
	return t, err
}

func (w *world) connectVisitor(ctx context.Context, i int) (err error) {
	t := w.talks[i]
	t.visitor, err = Connect(ctx, SocketOptions{Client: w.client, URL: w.server.URL, Token: t.token, Event: func(_ string, e Event) { w.arrived(t, atVisitor, e) }})
	return err
}

func (w *world) connectAgent(ctx context.Context, i int) (err error) {
	a := w.agents[i]
	a.socket, err = Connect(ctx, SocketOptions{Client: w.client, URL: w.server.URL, Cookie: a.cookie, Event: func(_ string, e Event) {
		if t := w.byID[e.Data.Conversation]; t != nil {
			w.arrived(t, atAgent, e)
		}
	}})
	if err != nil {
		return err
	}
	for n := i; n < len(w.talks); n += len(w.agents) {
		w.talks[n].agent = a.socket
		if err := a.socket.Subscribe(ctx, "conv:"+w.talks[n].id); err != nil {
			return err
		}
	}
	return nil
}

// arrived notes a message at one end of its conversation.
func (w *world) arrived(t *talk, end int, e Event) {
	l := w.now.Load()
	if e.Type != MessageCreated || l == nil {
		return
	}
	seq, r := e.Data.Message.Seq, &t.received[end]
	switch {
	case seq == r.last+1:
	case seq <= r.last:
		l.doubled.Add(1)
	default:
		l.disorder.Add(1)
	}
	r.last = max(r.last, seq)
	l.delivered(e.Data.Message, end)
}

// do calls the API as an agent (cookie) or as nobody.
func (w *world) do(ctx context.Context, method, path, cookie string, in, out any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.server.URL+"/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, data)
	}
	if out != nil {
		err = json.Unmarshal(data, out)
	}
	return res, err
}

// leave closes all sockets.
func (w *world) leave() {
	var wg sync.WaitGroup
	for _, t := range w.talks {
		wg.Go(t.visitor.Close)
	}
	for _, a := range w.agents {
		wg.Go(a.socket.Close)
	}
	wg.Wait()
	w.client.CloseIdleConnections()
}
