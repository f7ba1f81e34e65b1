package realtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/actor"
	"parley/internal/fault"
)

type connShard struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
}

// ServeHTTP upgrades a request to a socket and returns; the connection lives on by itself. Refusals are problem
// documents: 403 origin_not_allowed, 426 websocket_required, 429 too_many_connections and 503, the last two with Retry-After.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if refusal := h.refuse(r); refusal != nil {
		h.stats.refused.Add(1)
		problem(w, refusal)
		return
	}
	up := &upgrade{ResponseWriter: w, patience: h.limits.Write}
	c := &conn{hub: h, id: uuid.NewString(), hold: true}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // refuse has looked at the origin
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived: func(context.Context, []byte) bool {
			v, _ := c.bucket.take(time.Now(), h.limits.CommandRate, h.limits.CommandBurst, h.limits.CommandBurst)
			return v == allowed
		},
	})
	if err != nil {
		h.stats.conns.Add(-1)
		return // Accept has answered
	}
	ws.SetReadLimit(-1) // readFrame has the limit: it can say so before the connection ends
	c.ws, c.raw = ws, up.conn
	c.ctx, c.cancel = context.WithCancel(h.ctx)
	c.request = r.WithContext(context.WithoutCancel(r.Context()))
	c.request.Body = http.NoBody
	c.nextAct = time.Now().Add(h.limits.Hello)
	if !h.admit(c) {
		h.stats.conns.Add(-1)
		_ = ws.Close(codeShutdown, "shutdown")
		return
	}
	go c.serve() // the handler returns, so that the request's buffers and stack can go
}

// refuse says why a handshake is refused. When it is not, the connection counts from here on.
func (h *Hub) refuse(r *http.Request) *fault.Error {
	const op = "realtime.ServeHTTP"
	if h.closing.Load() {
		return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "shutdown", Text: "The server is restarting.", RetryAfter: time.Second}
	}
	if ok, wait := h.addrs.take(h.clientAddr(r), time.Now()); !ok {
		return fault.Retry(op, "too_many_connections", "Too many connections from this address.", wait)
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return &fault.Error{Op: op, Code: codeUpgrade, Text: "This address speaks WebSocket."}
	}
	if !h.originAllowed(r) {
		return fault.New(fault.Forbidden, op, "origin_not_allowed", "This site may not connect.")
	}
	if h.stats.conns.Add(1) > int64(h.limits.Conns) {
		h.stats.conns.Add(-1)
		return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "too_many_sockets", Text: "The server has no room for more connections.", RetryAfter: 10 * time.Second}
	}
	return nil
}

func (h *Hub) clientAddr(r *http.Request) netip.Addr {
	if h.opts.ClientAddr != nil {
		return h.opts.ClientAddr(r)
	}
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr()
}

// originAllowed keeps other sites from using a member's cookie.
func (h *Hub) originAllowed(r *http.Request) bool {
	if h.opts.AllowOrigin != nil {
		return h.opts.AllowOrigin(r)
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// codeUpgrade is the code of the one refusal whose status is not its kind's.
const codeUpgrade = "websocket_required"

// problem answers with a problem document (RFC 9457).
func problem(w http.ResponseWriter, f *fault.Error) {
	status := statuses[f.Kind]
	if f.Code == codeUpgrade {
		status = http.StatusUpgradeRequired
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.RetryAfter)))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "status": status, "title": http.StatusText(status), "detail": f.Text, "code": f.Code})
}

// upgrade hands the connection over with buffers that suit small frames: an idle client keeps them.
type upgrade struct {
	http.ResponseWriter
	patience time.Duration
	conn     net.Conn
}

// Bytes of the buffers of a connection; larger reads and writes go past them.
const (
	readBuffer  = 512
	writeBuffer = 1 << 10
)

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	d := &deadlineConn{Conn: raw, patience: u.patience}
	if n := rw.Reader.Buffered(); n > 0 {
		early, err := rw.Reader.Peek(n)
		if err != nil {
			return nil, nil, errors.Join(err, raw.Close())
		}
		d.early = append([]byte(nil), early...)
	}
	u.conn = raw
	return d, bufio.NewReadWriter(bufio.NewReaderSize(d, readBuffer), bufio.NewWriterSize(d, writeBuffer)), nil
}

func (h *Hub) connShard(c *conn) *connShard { return &h.conns[c.id[0]%shards] }

// admit keeps a new connection; it fails once the hub shuts down.
func (h *Hub) admit(c *conn) bool {
	s := h.connShard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.closing.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	h.live.Add(1)
	h.stats.accepted.Add(1)
	return true
}

func (h *Hub) forget(c *conn) {
	s := h.connShard(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	h.stats.conns.Add(-1)
	h.live.Done()
}

// eachConn calls fn for every connection, outside the locks.
func (h *Hub) eachConn(fn func(c *conn)) {
	for i := range h.conns {
		s := &h.conns[i]
		s.mu.Lock()
		all := make([]*conn, 0, len(s.conns))
		for c := range s.conns {
			all = append(all, c)
		}
		s.mu.Unlock()
		for _, c := range all {
			fn(c)
		}
	}
}

// keepHouse pings clients, ends connections whose time has come and forgets addresses.
func (h *Hub) keepHouse() {
	tick := time.NewTicker(min(time.Second, h.limits.Ping/4, h.limits.Hello/4, h.limits.Pong/4))
	defer tick.Stop()
	swept := time.Now()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			h.eachConn(func(c *conn) { c.tend(now) })
			if now.Sub(swept) > time.Minute {
				h.addrs.sweep(now)
				swept = now
			}
		}
	}
}

// resyncSpread is the time over which clients are asked to reconnect after publications may have been missed.
const resyncSpread = 3 * time.Second

// resync asks every client to connect again and read what it missed.
func (h *Hub) resync() {
	h.stats.resyncs.Add(1)
	now := time.Now()
	h.eachConn(func(c *conn) {
		c.mu.Lock()
		c.cutAt = now.Add(rand.N(resyncSpread))
		c.mu.Unlock()
	})
}

// guard calls a handler and turns a panic into an error. The panic's value is not logged: it may quote a person.
func (h *Hub) guard(op string, call func() error) (err error) {
	defer func() {
		if recover() != nil {
			h.log.Error("a handler panicked", "op", op, "stack", string(debug.Stack()))
			err = &fault.Error{Kind: fault.Internal, Op: op, Code: fault.Internal.String()}
		}
	}()
	return call()
}

// logFault logs what clients are not told, by kind and operation only.
func (h *Hub) logFault(op string, err error) {
	f := fault.Of(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		h.log.Error("a handler failed", "op", op, "cause_op", f.Op, "kind", f.Kind.String(), "code", f.Code)
	}
}

// setActor makes the connection somebody's. The context of its handlers carries who acts.
func (c *conn) setActor(a actor.Actor) {
	c.ctx = actor.With(c.ctx, a)
	c.mu.Lock()
	c.who, c.user = a, user(a.Kind, a.ID)
	c.mu.Unlock()
}
