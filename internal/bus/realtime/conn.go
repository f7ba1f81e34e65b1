package realtime

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"parley/internal/actor"
)

// conn is one client's socket: a goroutine that reads and runs commands, and one that writes while there is something
// to write. An idle client costs the first only.
type conn struct {
	hub    *Hub
	id     string
	ws     *websocket.Conn
	raw    net.Conn
	ctx    context.Context
	cancel context.CancelFunc
	bucket bucket

	// Of the reading goroutine.
	request *http.Request // the handshake, until the client has connected
	expires bool          // the client was told when to refresh

	// Written once, before state becomes connected.
	who  actor.Actor
	user string

	subsMu sync.Mutex
	subs   map[string]*membership
	left   bool // subscriptions have ended for good

	mu      sync.Mutex
	state   state
	hold    bool     // queue up, do not write: the answer to connect goes first
	writing bool     // a goroutine writes
	queue   [][]byte // frames, shared with other connections
	spare   [][]byte // the slice written last, for reuse
	queued  int      // bytes in queue or being written
	code    uint32   // of the end
	reason  string
	nextAct time.Time // next ping, or the end of the patience with a client that has not connected
	pongBy  time.Time // zero when no answer is awaited
	endsAt  time.Time // expiry; zero: none
	cutAt   time.Time // when to ask the client to reconnect; zero: never
}

type state uint8

const (
	fresh     state = iota // no connect command yet
	refusing               // connect was answered with an error; the client will go
	connected              // commands run, publications flow
	ending                 // the close frame follows what is queued
	ended                  // nothing is written any more
)

// spareFrames is the largest queue that a connection keeps for reuse.
const spareFrames = 32

func (c *conn) ID() string               { return c.id }
func (c *conn) Actor() actor.Actor       { return c.who }
func (c *conn) Context() context.Context { return c.ctx }

// Subscribe implements Conn.
func (c *conn) Subscribe(channel string) {
	if validChannel(channel) {
		c.subscribe(channel, true, push(channel, "subscribe", []byte("{}")))
	}
}

// subscribe adds a subscription and queues announce, or says why not.
func (c *conn) subscribe(channel string, server bool, announce []byte) *replyError {
	c.subsMu.Lock()
	defer c.subsMu.Unlock()
	switch {
	case c.left:
		return &errNotAvailable
	case c.subs[channel] != nil:
		return &errSubscribed
	case !server && len(c.subs) >= c.hub.limits.Channels:
		return &errLimit
	}
	if c.subs == nil {
		c.subs = map[string]*membership{}
	}
	c.subs[channel] = c.hub.join(c, channel, server, announce)
	return nil
}

// Unsubscribe implements Conn.
func (c *conn) Unsubscribe(channel string) {
	body := encode(struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	}{unsubscribedByServer, "server unsubscribe"})
	c.unsubscribe(channel, push(channel, "unsubscribe", body))
}

func (c *conn) unsubscribe(channel string, announce []byte) {
	c.subsMu.Lock()
	defer c.subsMu.Unlock()
	if m := c.subs[channel]; m != nil {
		delete(c.subs, channel)
		c.hub.leave(m, announce)
	}
}

// subscribed reports whether there is a subscription, and whether the server made it.
func (c *conn) subscribed(channel string) (ok, server bool) {
	c.subsMu.Lock()
	defer c.subsMu.Unlock()
	m := c.subs[channel]
	return m != nil, m != nil && m.server
}

// Send implements Conn.
func (c *conn) Send(data []byte) {
	frame, err := message(data)
	if err != nil {
		c.hub.log.Warn("a message is not JSON", "op", "realtime.Send")
		return
	}
	c.enqueue(frame)
}

// enqueue queues a frame and sees to it that it is written. It never blocks on the network.
func (c *conn) enqueue(frame []byte) {
	c.mu.Lock()
	if c.state >= ending {
		c.mu.Unlock()
		return
	}
	if c.queued+len(frame) > c.hub.limits.Queue {
		c.queue = nil // it will read the rows when it is back
		c.hub.stats.slow.Add(1)
		c.endLocked(codeSlow, "slow")
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, frame)
	c.queued += len(frame)
	c.kickLocked()
	c.mu.Unlock()
}

// release lets the frames out that were held back, first before them.
func (c *conn) release(first []byte) {
	c.mu.Lock()
	c.queue = append([][]byte{first}, c.queue...)
	c.queued += len(first)
	c.hold = false
	c.kickLocked()
	c.mu.Unlock()
}

// Disconnect implements Conn.
func (c *conn) Disconnect(code uint32, reason string) {
	c.mu.Lock()
	c.endLocked(code, reason)
	c.mu.Unlock()
}

func (c *conn) endLocked(code uint32, reason string) {
	if c.state >= ending {
		return
	}
	c.state, c.hold = ending, false
	c.code, c.reason = code, reason
	c.kickLocked()
}

// cut ends the connection without a word. Reading fails then, and finish does the rest.
func (c *conn) cut() {
	c.mu.Lock()
	c.state, c.queue = ended, nil
	c.mu.Unlock()
	c.cancel()
	_ = c.raw.Close()
}

func (c *conn) kickLocked() {
	if c.writing || c.hold || c.state == ended {
		return
	}
	c.writing = true
	go c.write()
}

// write sends what is queued, many frames in one message, until nothing is left; then it sends the close frame if the
// connection is to end.
func (c *conn) write() {
	for {
		c.mu.Lock()
		batch := c.queue
		switch {
		case c.state == ended || c.hold || (len(batch) == 0 && c.state != ending):
			c.writing = false
			c.mu.Unlock()
			return
		case len(batch) == 0:
			code, reason := c.code, c.reason
			c.mu.Unlock() // writing stays set: this is the last write
			c.hub.stats.disconnects.Add(1)
			_ = c.ws.Close(websocket.StatusCode(code), reason)
			return
		}
		c.queue, c.spare = c.spare, nil
		c.mu.Unlock()
		sent, err := c.hub.writeFrames(c.ws, batch)
		if err != nil {
			c.cut()
			return
		}
		clear(batch)
		c.mu.Lock()
		c.queued -= sent
		if cap(batch) <= spareFrames && c.queue != nil {
			c.spare = batch[:0] // busy now, likely to stay so
		}
		c.mu.Unlock()
	}
}

// batchBytes is the size at which a message is full; a single frame may be larger.
const batchBytes = 32 << 10

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchBytes); return &b }}

// writeFrames joins frames with line breaks into as few messages as they need.
func (h *Hub) writeFrames(ws *websocket.Conn, frames [][]byte) (sent int, err error) {
	if len(frames) == 1 {
		return len(frames[0]), h.writeMessage(ws, frames[0])
	}
	pooled := batches.Get().(*[]byte)
	b := (*pooled)[:0]
	for _, f := range frames {
		if len(b) > 0 && len(b)+1+len(f) > batchBytes {
			if err = h.writeMessage(ws, b); err != nil {
				break
			}
			b = b[:0]
		}
		if len(b) > 0 {
			b = append(b, '\n')
		}
		b = append(b, f...)
		sent += len(f)
	}
	if err == nil {
		err = h.writeMessage(ws, b)
	}
	if cap(b) <= 2*batchBytes {
		*pooled = b
		batches.Put(pooled)
	}
	return sent, err
}

func (h *Hub) writeMessage(ws *websocket.Conn, b []byte) error {
	h.stats.writes.Add(1)
	h.stats.bytesOut.Add(int64(len(b)))
	return ws.Write(context.Background(), websocket.MessageText, b) // the deadline is the transport's
}

// finish ends the subscriptions of a connection whose reading has ended, and forgets it.
func (c *conn) finish() {
	c.mu.Lock()
	was, closing := c.user != "", c.state == ending
	if !closing {
		c.state, c.queue = ended, nil
	}
	c.mu.Unlock()
	c.subsMu.Lock()
	c.left = true
	for _, m := range c.subs {
		c.hub.leave(m, nil)
	}
	c.subs = nil
	c.subsMu.Unlock()
	c.cancel()
	if !closing { // otherwise the writer closes
		_ = c.ws.CloseNow()
	}
	if was && c.hub.opts.Handlers.Gone != nil {
		_ = c.hub.guard("realtime.Gone", func() error { c.hub.opts.Handlers.Gone(c); return nil })
	}
	c.hub.forget(c)
}

// tend is the housekeeping of one connection at the time now.
func (c *conn) tend(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := !c.nextAct.IsZero() && !now.Before(c.nextAct)
	switch {
	case c.state == fresh && due:
		c.endLocked(codeStale, "stale")
	case c.state == refusing && due:
		c.endLocked(c.code, c.reason)
	case c.state != connected:
	case !c.endsAt.IsZero() && !now.Before(c.endsAt):
		c.endLocked(codeExpired, "connection expired")
	case !c.cutAt.IsZero() && !now.Before(c.cutAt):
		c.endLocked(codeInsufficient, "insufficient state")
	case !c.pongBy.IsZero() && !now.Before(c.pongBy):
		c.endLocked(codeNoPong, "no pong")
	case due:
		c.nextAct = now.Add(c.hub.limits.Ping)
		c.pongBy = now.Add(c.hub.limits.Pong)
		c.queue = append(c.queue, pingFrame)
		c.queued += len(pingFrame)
		c.kickLocked()
	}
}

// heard notes that the client is alive, and reports whether an answer was awaited.
func (c *conn) heard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	awaited := !c.pongBy.IsZero()
	c.pongBy = time.Time{}
	return awaited
}

// deadlineConn gives every write to the network the same patience.
type deadlineConn struct {
	net.Conn
	patience time.Duration
	early    []byte // what the client sent with its handshake
}

func (d *deadlineConn) Read(p []byte) (int, error) {
	if len(d.early) > 0 {
		n := copy(p, d.early)
		d.early = d.early[n:]
		return n, nil
	}
	return d.Conn.Read(p)
}

func (d *deadlineConn) Write(p []byte) (int, error) {
	if err := d.SetWriteDeadline(time.Now().Add(d.patience)); err != nil {
		return 0, err
	}
	return d.Conn.Write(p)
}
