package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"parley/app"
	"parley/internal/rtc/client"
)

// hall is a server, as those see it who hold calls there. With a URL of LiveKit it is that server.
type hall struct {
	v       *videoRun
	url     string
	client  *http.Client
	process Server  // whose processor time and memory count
	started *Server // by this program; nil: it runs already, and goes on
	calls   int
}

// gathering is a call with the people in it.
type gathering struct {
	id     string
	first  int // of the agents who take part: each is in one call
	mu     sync.Mutex
	people []*person // the first one is who began it
}

// person is one participant of a call.
type person struct {
	*client.Participant

	passed       time.Duration // how long the server took to hand out the token
	publications []*client.Publication
}

// await waits, but not for ever.
func (p *person) await(ctx context.Context, cond func(*client.Snapshot) bool) error {
	ctx, cancel := context.WithTimeout(ctx, allReceive)
	defer cancel()
	return p.Await(ctx, cond)
}

func (c *gathering) add(p *person) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.people = append(c.people, p)
}

// leave takes everybody out of the call.
func (c *gathering) leave() (err error) {
	for _, p := range c.people {
		err = errors.Join(err, p.Close())
	}
	return err
}

// hireAgents makes an organisation whose agents can take part in all that is measured, in a server that ends before: choosing a
// password takes memory by design, and would be found again in every figure.
func (v *videoRun) hireAgents(ctx context.Context) error {
	need := max(v.opt.Watchers, v.opt.Rooms*(v.opt.PerRoom-1), 1)
	a, err := app.Open(ctx, app.Config{Data: v.data, Listen: "127.0.0.1:8080", LogLevel: "warn"})
	if err != nil {
		return err
	}
	st, err := build(ctx, a, need)
	if err := errors.Join(err, a.Close()); err != nil {
		return err
	}
	v.site = st.Site
	h, err := v.open(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	w := &world{server: h.started, client: h.client}
	v.agents = make([]string, need)
	err = each(ctx, need, 4, func(ctx context.Context, i int) error {
		a, err := w.accept(ctx, i, st.Invitations[i])
		if err != nil {
			return err
		}
		v.agents[i] = a.cookie
		return h.acknowledge(ctx, "", "console", who{cookie: a.cookie})
	})
	v.say("%d agents chose their passwords within %.1f s", need, time.Since(began).Seconds())
	return errors.Join(err, h.close())
}

// open starts the server, or takes the one that runs.
func (v *videoRun) open(ctx context.Context) (_ *hall, err error) {
	h := &hall{v: v}
	if lk := v.opt.LiveKit; lk.URL != "" {
		h.url, h.process = strings.TrimSuffix(lk.URL, "/"), Server{Announcement: Announcement{PID: lk.PID}}
		h.client, err = clientFor(h.url)
		return h, err
	}
	if h.started, err = Start(ctx, v.command()); err != nil {
		return nil, err
	}
	h.url, h.process = h.started.URL, Server{Announcement: h.started.Announcement}
	if h.client, err = clientFor(h.url); err != nil {
		return nil, errors.Join(err, h.started.Stop())
	}
	return h, nil
}

func (h *hall) close() error {
	h.client.CloseIdleConnections()
	if h.started == nil {
		return nil
	}
	return h.started.Stop()
}

// width is how many people besides the one who begins it a call can have.
func (h *hall) width() int {
	if h.v.opt.LiveKit.URL != "" {
		return h.v.opt.Joins
	}
	return len(h.v.agents)
}

// who acts: a visitor has a token, a member a cookie.
type who struct{ token, cookie string }

// call begins a call, live, with the one in it who began it, and seats for so many in all.
func (h *hall) call(ctx context.Context, seats int) (*gathering, error) {
	c := &gathering{first: h.calls * (seats - 1)}
	h.calls++
	if h.v.opt.LiveKit.URL != "" {
		c.id = "bench-" + strings.ToLower(rand.Text())
		p, err := h.join(ctx, h.v.opt.LiveKit.token(c.id, "visitor"), 0, h.v.stack)
		c.people = []*person{p}
		return c, err
	}
	w := &world{server: h.started, client: h.client}
	t, err := w.begin(ctx, h.v.site)
	if err != nil {
		return nil, err
	}
	visitor := who{token: t.token}
	if err := h.acknowledge(ctx, "/widget", "widget", visitor); err != nil {
		return nil, err
	}
	var session struct {
		ID string `json:"id"`
	}
	if err := h.ask(ctx, "POST", "/widget/conversations/"+t.id+"/calls", visitor, map[string]string{"client_id": rand.Text(), "media": "video"}, &session); err != nil {
		return nil, err
	}
	c.id = session.ID
	if err := h.ask(ctx, "POST", "/calls/"+c.id+"/accept", who{cookie: h.v.agents[c.first%len(h.v.agents)]}, nil, nil); err != nil {
		return nil, err
	}
	p, err := h.pass(ctx, "/widget/calls/"+c.id+"/join", visitor, h.v.stack)
	if err != nil {
		return nil, err
	}
	c.people = []*person{p}
	return c, nil
}

// enter brings in the one with the seat's number, from 1.
func (h *hall) enter(ctx context.Context, c *gathering, seat int, stack *client.Stack) (*person, error) {
	if lk := h.v.opt.LiveKit; lk.URL != "" {
		return h.join(ctx, lk.token(c.id, fmt.Sprintf("agent-%d", seat)), 0, stack)
	}
	return h.pass(ctx, "/calls/"+c.id+"/join", who{cookie: h.v.agents[(c.first+seat-1)%len(h.v.agents)]}, stack)
}

// pass gets a token from the server, and joins with it.
func (h *hall) pass(ctx context.Context, path string, as who, stack *client.Stack) (*person, error) {
	var out struct {
		Token string `json:"token"`
	}
	began := time.Now()
	if err := h.ask(ctx, "POST", path, as, nil, &out); err != nil {
		return nil, err
	}
	return h.join(ctx, out.Token, time.Since(began), stack)
}

func (h *hall) join(ctx context.Context, token string, passed time.Duration, stack *client.Stack) (*person, error) {
	p, err := client.Join(ctx, client.Config{URL: h.url, Token: token, HTTP: h.client, Stack: stack})
	if err != nil {
		return nil, err
	}
	return &person{Participant: p, passed: passed}, nil
}

// acknowledge says that the notice about camera and microphone was read.
func (h *hall) acknowledge(ctx context.Context, prefix, surface string, as who) error {
	var notice struct {
		Version string `json:"version"`
	}
	if err := h.ask(ctx, "GET", prefix+"/notices/media", as, nil, &notice); err != nil {
		return err
	}
	return h.ask(ctx, "POST", prefix+"/notices/media/acknowledge", as, map[string]string{"version": notice.Version, "surface": surface}, nil)
}

// ask calls the API.
func (h *hall) ask(ctx context.Context, method, path string, as who, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, h.url+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if as.cookie != "" {
		req.Header.Set("Cookie", as.cookie)
	}
	if as.token != "" {
		req.Header.Set("Authorization", "Bearer "+as.token)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}
