package rtc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
)

// signalConn is one WebSocket. A participation outlives it: when it is lost, the client resumes with another.
type signalConn struct {
	engine *Engine
	ws     *websocket.Conn
	rate   bucket

	out  chan []byte
	stop context.CancelFunc // ends reading and writing
	ctx  context.Context
	done chan struct{} // the writer has ended

	mu     sync.Mutex
	ending bool // what is queued is written, then the connection is closed
	grace  bool // but the client, who was told to leave, may close it first
}

func newSignalConn(e *Engine, ws *websocket.Conn) *signalConn {
	c := &signalConn{engine: e, ws: ws, out: make(chan []byte, sendQueue), done: make(chan struct{})}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if !e.launch(c.write) {
		c.ending = true
		c.stop()
		close(c.done)
	}
	return c
}

// send queues a message, and never waits. A client that does not read loses its signalling.
func (c *signalConn) send(m *signal.SignalResponse) { c.queue(encode(m)) }

// encode is the message as it travels. Only a text that is not UTF-8 could fail, and none of the engine's is.
func encode(m *signal.SignalResponse) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// queue is send for a message that is encoded already.
func (c *signalConn) queue(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return
	}
	select {
	case c.out <- b:
	default:
		c.ending = true
		c.stop()
	}
}

// end closes the connection after what is queued was written.
func (c *signalConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		c.ending = true
		close(c.out)
	}
}

// leave says goodbye and ends the connection.
func (c *signalConn) leave(reason Reason, action signal.LeaveRequest_Action) {
	c.send(&signal.SignalResponse{Message: &signal.SignalResponse_Leave{Leave: &signal.LeaveRequest{
		Reason: reason.wire(), Action: action, CanReconnect: action != signal.LeaveRequest_DISCONNECT,
	}}})
	c.mu.Lock()
	c.grace = true
	c.mu.Unlock()
	c.end()
}

func (c *signalConn) write() {
	defer close(c.done)
	for {
		select {
		case <-c.ctx.Done():
			_ = c.ws.CloseNow()
			return
		case b, ok := <-c.out:
			if !ok {
				c.closing()
				return
			}
			ctx, cancel := context.WithTimeout(c.ctx, sendTimeout)
			err := c.ws.Write(ctx, websocket.MessageBinary, b)
			cancel()
			if err != nil {
				c.stop()
			}
		}
	}
}

// closing ends the connection. A client that was told to leave has the time to close it by itself: what was sent is then read for
// certain.
func (c *signalConn) closing() {
	c.mu.Lock()
	grace := c.grace
	c.mu.Unlock()
	if grace {
		timer := time.NewTimer(leaveGrace)
		defer timer.Stop()
		select {
		case <-c.ctx.Done():
		case <-timer.C:
		}
	}
	if c.ctx.Err() == nil {
		_ = c.ws.Close(websocket.StatusNormalClosure, "") // if the client is gone, there is nobody to tell
	}
	_ = c.ws.CloseNow()
}

// finish waits for the writer; reading has ended before.
func (c *signalConn) finish() {
	c.mu.Lock()
	ending := c.ending
	c.mu.Unlock()
	if !ending {
		c.stop()
	}
	for { // until a client that was told to leave goes
		if _, _, err := c.ws.Read(c.ctx); err != nil {
			break
		}
	}
	c.stop()
	<-c.done
}

// serve reads the client's messages, one after the other: the next is read when the last was dealt with.
func (c *signalConn) serve(p *participant) {
	for {
		ctx, cancel := context.WithTimeout(c.ctx, silentAfter)
		kind, b, err := c.ws.Read(ctx)
		cancel()
		if err != nil {
			if websocket.CloseStatus(err) == -1 && errors.Is(err, websocket.ErrMessageTooBig) {
				c.misbehave(p)
			}
			return
		}
		c.engine.stats.signalMessages.Add(1)
		var m signal.SignalRequest
		if !c.within(1) || kind != websocket.MessageBinary || proto.Unmarshal(b, &m) != nil || !c.within(c.weight(&m)-1) {
			c.misbehave(p)
			return
		}
		if !p.doAndWait(func() { p.handle(c, &m) }) {
			return
		}
	}
}

// misbehave ends the participation of a client that says what it must not.
func (c *signalConn) misbehave(p *participant) {
	c.engine.stats.signalRefused.Add(1)
	p.doAndWait(p.misbehaved)
}

// heavy is what a message counts for that makes much work: an offer, which is a session description to be read and answered, and who
// may receive, which concerns everybody in the room.
const heavy = 20

// weight is for how many messages one counts.
func (c *signalConn) weight(m *signal.SignalRequest) int {
	switch m.GetMessage().(type) {
	case *signal.SignalRequest_Offer, *signal.SignalRequest_SubscriptionPermission:
		return min(heavy, c.engine.limits.SignalBurst)
	}
	return 1
}

// within says whether the client keeps within its limit with so many messages more.
func (c *signalConn) within(messages int) bool {
	ok, _ := c.rate.take(c.engine.now(), float64(messages), c.engine.limits.SignalPerSecond, c.engine.limits.SignalBurst)
	return ok
}

// reasonOf is why a client that has a connection already is sent away.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, errResume):
		return ReasonStateUnknown
	case fault.Of(err).Code == codeStopping:
		return ReasonShutdown
	}
	return ReasonFailed
}

func signalLeaveAction(err error) signal.LeaveRequest_Action {
	if errors.Is(err, errResume) {
		return signal.LeaveRequest_RECONNECT
	}
	return signal.LeaveRequest_DISCONNECT
}

// refusal is the answer to a request that cannot be granted.
func refusal(f *fault.Error) *signal.RequestResponse {
	r := &signal.RequestResponse{Reason: signal.RequestResponse_UNCLASSIFIED_ERROR, Message: f.Text}
	switch f.Kind {
	case fault.Forbidden:
		r.Reason = signal.RequestResponse_NOT_ALLOWED
	case fault.NotFound:
		r.Reason = signal.RequestResponse_NOT_FOUND
	case fault.RateLimited, fault.TooLarge, fault.Conflict:
		r.Reason = signal.RequestResponse_LIMIT_EXCEEDED
	case fault.Invalid, fault.Malformed:
		r.Reason = signal.RequestResponse_INVALID_REQUEST
	case fault.Internal, fault.Unauthenticated, fault.Gone, fault.Unavailable, fault.Full:
	}
	return r
}
