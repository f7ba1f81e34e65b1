package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"parley/internal/fault"
)

// handlerTimeout bounds one call of a handler for a client.
const handlerTimeout = 30 * time.Second

// expiryGrace is how much later than told a connection ends, so that a refresh under way can arrive.
const expiryGrace = 10 * time.Second

// refusalGrace is how long a refused client may take to go by itself: it then knows the error, not a close code.
const refusalGrace = 3 * time.Second

// serve reads commands until the connection ends.
func (c *conn) serve() {
	before := c.user
	for c.next() {
		if c.user != before {
			go c.serve() // on a new stack: most clients are idle now, and would keep the large one that connecting needed
			return
		}
	}
	c.finish()
}

// next reads a message and runs its commands; it reports whether there may be another. After the hub has decided to end
// the connection, what still comes is read and thrown away, so that the closing handshake can complete.
func (c *conn) next() bool {
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return false
	}
	frame, err := readFrame(r, c.hub.limits.Frame)
	if errors.Is(err, errTooBig) {
		c.Disconnect(uint32(websocket.StatusMessageTooBig), "message too big")
		_, err = io.Copy(io.Discard, r)
		return err == nil
	}
	if err != nil {
		return false
	}
	defer frame.free()
	if c.over() {
		return true
	}
	awaited := c.heard()
	if kind != websocket.MessageText {
		c.bad()
		return true
	}
	commands, err := DecodeCommands(frame.bytes)
	if err != nil {
		c.bad()
		return true
	}
	c.run(commands, awaited)
	return true
}

// over reports whether commands are no longer run.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == refusing || c.state >= ending
}

func (c *conn) bad() { c.Disconnect(codeBadRequest, "bad request") }

// run runs the commands of one message. An awaited pong is free, everything else counts.
func (c *conn) run(commands []Command, awaited bool) {
	h := c.hub
	for i := range commands {
		cmd := &commands[i]
		if c.over() {
			return
		}
		h.stats.commands.Add(1)
		if cmd.Pong() && awaited {
			awaited = false
			continue
		}
		if cmd.Connect == nil {
			verdict, wait := c.bucket.take(time.Now(), h.limits.CommandRate, h.limits.CommandBurst, h.limits.CommandBurst)
			if verdict == abusive {
				c.Disconnect(codeTooMany, "too many requests"+retryAfter(wait))
				return
			}
			if verdict == refused {
				h.stats.commandsRefused.Add(1)
				if cmd.ID != 0 {
					c.enqueue(errorReply(cmd.ID, tooMany(wait)))
				}
				continue
			}
		}
		if !cmd.Pong() {
			c.dispatch(cmd)
		}
	}
}

func (c *conn) dispatch(cmd *Command) {
	if (c.user == "") != (cmd.Connect != nil) { // connect comes first, and once
		c.bad()
		return
	}
	switch {
	case cmd.Connect != nil:
		c.connect(cmd.ID, cmd.Connect)
	case cmd.Subscribe != nil:
		c.onSubscribe(cmd.ID, cmd.Subscribe.Channel)
	case cmd.Unsubscribe != nil:
		c.onUnsubscribe(cmd.ID, cmd.Unsubscribe.Channel)
	case cmd.Presence != nil:
		c.onPresence(cmd.ID, cmd.Presence.Channel, false)
	case cmd.PresenceStats != nil:
		c.onPresence(cmd.ID, cmd.PresenceStats.Channel, true)
	case cmd.RPC != nil:
		c.onRPC(cmd.ID, cmd.RPC)
	case cmd.Refresh != nil:
		c.onRefresh(cmd.ID, cmd.Refresh.Token)
	case cmd.Send != nil:
		c.Disconnect(codeNotAvailable, "not available")
	case cmd.Publish != nil, cmd.History != nil, cmd.SubRefresh != nil:
		c.fail(cmd.ID, errNotAvailable)
	default:
		c.fail(cmd.ID, errMethod)
	}
}

func (c *conn) fail(id uint32, e replyError) { c.enqueue(errorReply(id, e)) }

// call runs a handler with a context that ends in time, and logs what must not reach the client.
func (c *conn) call(op string, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.ctx, handlerTimeout)
	defer cancel()
	err := c.hub.guard(op, func() error { return fn(ctx) })
	if err != nil {
		c.hub.logFault(op, err)
	}
	return err
}

func (c *conn) connect(id uint32, req *ConnectCommand) {
	var answer ConnectReply
	r, began := c.request, time.Now()
	c.request = nil
	err := c.call("realtime.Connect", func(ctx context.Context) (err error) {
		answer, err = c.hub.opts.Handlers.Connect(ctx, r, req.Token, req.Data)
		return err
	})
	if err == nil && answer.Actor.Zero() {
		err = fault.New(fault.Unauthenticated, "realtime.Connect", "signed_out", "")
	}
	if err != nil {
		c.refuse(id, err)
		return
	}
	c.setActor(answer.Actor)
	now := time.Now()
	result := connectResult{Client: c.id, Version: c.hub.opts.Version, Data: answer.Data, Subs: map[string]struct{}{},
		Ping: int(c.hub.limits.Ping / time.Second), Pong: true}
	c.mu.Lock()
	if c.state == fresh {
		c.state = connected
	}
	if !answer.ExpiresAt.IsZero() {
		c.endsAt = answer.ExpiresAt
		if c.expires = c.hub.opts.Handlers.Refresh != nil && req.Token != ""; c.expires {
			c.endsAt = answer.ExpiresAt.Add(expiryGrace)
			result.Expires, result.TTL = true, ttl(answer.ExpiresAt.Sub(now).Seconds())
		}
	}
	c.nextAct = now.Add(c.hub.limits.Ping/2 + rand.N(c.hub.limits.Ping/2)) // not all at once
	c.mu.Unlock()
	for _, channel := range answer.Channels {
		if validChannel(channel) && c.subscribe(channel, true, nil) == nil {
			result.Subs[channel] = struct{}{}
		}
	}
	c.hub.catchUp(c, began)
	body, err := json.Marshal(result)
	if err != nil { // Data is not JSON
		c.hub.log.Error("connect data is not JSON", "op", "realtime.Connect")
		c.Disconnect(codeServerError, "internal server error")
		return
	}
	c.release(reply(id, "connect", body)) // before what was published to the channels meanwhile
}

// refuse answers connect with an error and leaves it to the client to go.
func (c *conn) refuse(id uint32, err error) {
	e := fromFault(err)
	if f := fault.Of(err); f.Kind == fault.Unauthenticated && f.Code == "token_expired" {
		e = replyError{code: codeTokenExpired, message: "token expired", temporary: true}
	}
	c.mu.Lock()
	if c.state == fresh {
		c.state, c.nextAct = refusing, time.Now().Add(refusalGrace)
		c.code, c.reason = codeInvalidToken, e.message
		if e.temporary {
			c.code = codeServerError
		}
	}
	c.mu.Unlock()
	c.release(errorReply(id, e))
}

func (c *conn) onSubscribe(id uint32, channel string) {
	switch allow := c.hub.opts.Handlers.Subscribe; {
	case !validChannel(channel):
		c.fail(id, errBadRequest)
		return
	case allow == nil:
		c.fail(id, errPermission)
		return
	default:
		if had, _ := c.subscribed(channel); had {
			c.fail(id, errSubscribed)
			return
		}
		if err := c.call("realtime.Subscribe", func(ctx context.Context) error { return allow(ctx, c, channel) }); err != nil {
			c.fail(id, fromFault(err))
			return
		}
	}
	if e := c.subscribe(channel, false, reply(id, "subscribe", []byte("{}"))); e != nil {
		c.fail(id, *e)
	}
}

func (c *conn) onUnsubscribe(id uint32, channel string) {
	if _, server := c.subscribed(channel); server {
		c.fail(id, errPermission)
		return
	}
	c.unsubscribe(channel, nil)
	c.enqueue(reply(id, "unsubscribe", []byte("{}")))
}

// onPresence answers for channels whose joins the client is pushed anyway.
func (c *conn) onPresence(id uint32, channel string, count bool) {
	if ok, _ := c.subscribed(channel); !ok || joinFrame(channel, "", "", true) == nil {
		c.fail(id, errPermission)
		return
	}
	var users map[string][]string
	err := c.call("realtime.Presence", func(ctx context.Context) (err error) {
		users, err = c.hub.Presence(ctx, []string{channel})
		return err
	})
	if err != nil {
		c.fail(id, fromFault(err))
		return
	}
	here := users[channel]
	if count {
		c.enqueue(reply(id, "presence_stats", encode(map[string]int{"num_clients": len(here), "num_users": len(here)})))
		return
	}
	list := make(map[string]clientInfo, len(here)) // one entry for a user, however many clients
	for _, u := range here {
		list[u] = clientInfo{Client: u, User: u}
	}
	c.enqueue(reply(id, "presence", encode(map[string]any{"presence": list})))
}

func (c *conn) onRPC(id uint32, req *RPCCommand) {
	if c.hub.opts.Handlers.RPC == nil {
		c.fail(id, errNotAvailable)
		return
	}
	var body []byte
	err := c.call("realtime.RPC", func(ctx context.Context) error {
		result, err := c.hub.opts.Handlers.RPC(ctx, c, req.Method, req.Data)
		if err != nil {
			return err
		}
		if result == nil {
			result = struct{}{}
		}
		data, err := json.Marshal(result)
		if err != nil {
			return fault.Wrap(fault.Internal, "realtime.RPC", err)
		}
		body, err = wrap(`{"data":`, data, `}`)
		return err
	})
	if err != nil {
		c.fail(id, fromFault(err))
		return
	}
	c.enqueue(reply(id, "rpc", body))
}

func (c *conn) onRefresh(id uint32, token string) {
	if c.hub.opts.Handlers.Refresh == nil {
		c.fail(id, errNotAvailable)
		return
	}
	var until time.Time
	err := c.call("realtime.Refresh", func(ctx context.Context) (err error) {
		until, err = c.hub.opts.Handlers.Refresh(ctx, c, token)
		return err
	})
	if err != nil {
		c.fail(id, fromFault(err))
		return
	}
	result := refreshResult{Client: c.id, Version: c.hub.opts.Version}
	c.mu.Lock()
	c.endsAt = time.Time{}
	if !until.IsZero() {
		c.endsAt = until.Add(expiryGrace)
		result.Expires, result.TTL = true, ttl(time.Until(until).Seconds())
	}
	c.mu.Unlock()
	c.enqueue(reply(id, "refresh", encode(result)))
}

// frame is the content of one incoming message, in a pooled buffer.
type frame struct {
	bytes  []byte
	pooled *[]byte
}

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

var errTooBig = errors.New("a frame is larger than the limit")

// readFrame reads a message whole, unless it is larger than the limit.
func readFrame(r io.Reader, limit int64) (frame, error) {
	f := frame{pooled: frames.Get().(*[]byte)}
	f.bytes = (*f.pooled)[:0]
	for {
		if len(f.bytes) == cap(f.bytes) {
			f.bytes = append(f.bytes, 0)[:len(f.bytes)]
		}
		n, err := r.Read(f.bytes[len(f.bytes):cap(f.bytes)])
		f.bytes = f.bytes[:len(f.bytes)+n]
		if err == io.EOF && int64(len(f.bytes)) <= limit {
			return f, nil
		}
		if err == nil && int64(len(f.bytes)) > limit {
			err = errTooBig
		}
		if err != nil {
			f.free()
			return frame{}, err
		}
	}
}

func (f *frame) free() {
	*f.pooled = f.bytes[:0]
	frames.Put(f.pooled)
}
