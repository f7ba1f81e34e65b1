// Package rtc is the engine of calls: rooms in which participants publish sound and pictures, and receive those of the
// others. It forwards packets and never looks into them: nothing is decoded, mixed or kept.
//
// Participants speak LiveKit's signalling protocol, version 0, over a WebSocket (package signal) and media over two
// peer connections each (package transport): one that the client offers, for what it publishes, and one that the
// engine offers, for what it receives. LiveKit's own client for browsers works unchanged, with singlePeerConnection off.
//
// The engine knows rooms and participants by random ids. It takes no name, no metadata and no attributes: what a
// client sends of them is dropped, never stored, forwarded or logged. No log record of it holds an address, a session
// description, a token or an identity. Who may call whom, and when a call ends, is not its business: it does what
// OpenRoom, Token, RemoveParticipant and CloseRoom say, and tells by events what happened.
package rtc

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
	"parley/internal/rtc/transport"
)

// Config is what an engine is made of.
type Config struct {
	Transport *transport.Transport // sockets; the engine does not close it
	Log       *slog.Logger         // nil: nothing is logged
	Limits    Limits               // zero fields take the defaults
	OnEvent   func(Event)          // called one at a time, in order, by a goroutine of the engine; may be nil
	Now       func() time.Time     // time.Now if nil

	// ClientAddr is the address of who asks, behind proxies too. It is used for limits and kept for as long as those need
	// it. nil: the connection's.
	ClientAddr func(*http.Request) netip.Addr
	// AllowOrigin says whether a page of the request's Origin may join. nil: only pages of the request's own host.
	AllowOrigin func(*http.Request) bool
}

// Engine holds the rooms. Its methods may be called at any time from any goroutine.
type Engine struct {
	cfg     Config
	limits  Limits
	log     *slog.Logger
	now     func() time.Time
	secret  []byte // of access tokens; new with every process
	issuer  string
	tokens  atomic.Uint64 // numbers tokens, so that those from before a removal are known
	joins   *addressLimiter
	events  *eventQueue
	stats   counters
	running sync.WaitGroup // participants' and rooms' goroutines

	mu       sync.Mutex
	rooms    map[string]*room
	draining bool
	closed   bool
	gone     chan struct{} // closed and replaced whenever a participant has gone; Drain waits on it
}

// New makes an engine without rooms.
func New(cfg Config) (*Engine, error) {
	if cfg.Transport == nil {
		return nil, fault.New(fault.Internal, "rtc.New", "rtc_transport", "The media engine needs a transport.")
	}
	e := &Engine{cfg: cfg, limits: cfg.Limits.filled(), log: cfg.Log, now: cfg.Now,
		secret: make([]byte, secretBytes), issuer: newID("PK"), rooms: map[string]*room{}, gone: make(chan struct{})}
	if _, err := rand.Read(e.secret); err != nil {
		return nil, fault.Wrap(fault.Internal, "rtc.New", err)
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.now == nil {
		e.now = time.Now
	}
	e.joins = newAddressLimiter(e.limits.JoinsPerSecond, e.limits.JoinBurst)
	e.events = newEventQueue(cfg.OnEvent)
	return e, nil
}

// Reason says why a participation or a room ended.
type Reason uint8

// The reasons.
const (
	ReasonUnknown      Reason = iota
	ReasonLeft                // the participant left on purpose
	ReasonDuplicate           // the same identity joined anew
	ReasonShutdown            // the server stops
	ReasonRemoved             // removed by somebody who may
	ReasonRoomClosed          // the room was closed
	ReasonTimeout             // the connection was lost, and not resumed in time
	ReasonFailed              // no media connection came about, or it broke
	ReasonMisbehaved          // over the limits for too long
	ReasonStateUnknown        // client and engine no longer agree; the client begins anew
)

var reasonNames = [...]string{"unknown", "left", "duplicate", "shutdown", "removed", "room_closed", "timeout", "failed",
	"misbehaved", "state_unknown"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[ReasonUnknown]
}

// wire is the reason as the protocol says it.
func (r Reason) wire() signal.DisconnectReason {
	switch r {
	case ReasonLeft:
		return signal.DisconnectReason_CLIENT_INITIATED
	case ReasonDuplicate:
		return signal.DisconnectReason_DUPLICATE_IDENTITY
	case ReasonShutdown:
		return signal.DisconnectReason_SERVER_SHUTDOWN
	case ReasonRemoved, ReasonMisbehaved:
		return signal.DisconnectReason_PARTICIPANT_REMOVED
	case ReasonRoomClosed:
		return signal.DisconnectReason_ROOM_DELETED
	case ReasonTimeout:
		return signal.DisconnectReason_CONNECTION_TIMEOUT
	case ReasonFailed:
		return signal.DisconnectReason_MEDIA_FAILURE
	case ReasonStateUnknown:
		return signal.DisconnectReason_STATE_MISMATCH
	case ReasonUnknown:
	}
	return signal.DisconnectReason_UNKNOWN_REASON
}

// OpenRoom opens a room for at most the number of participants; 0 is the engine's own limit. A room that is open already takes the
// new number and is otherwise as it was.
func (e *Engine) OpenRoom(id string, most int) error {
	const op = "rtc.OpenRoom"
	if !validName(id) {
		return fault.Bad(op, "room", "room_invalid", "A room's id has 1 to 128 letters, digits, '-' or '_'.")
	}
	if most <= 0 || most > e.limits.Participants {
		most = e.limits.Participants
	}
	if rm := e.room(id); rm != nil {
		rm.setMost(most)
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed || e.draining:
		return errStopping(op)
	case e.rooms[id] != nil:
		return nil // somebody else was quicker
	case len(e.rooms) >= e.limits.Rooms:
		return fault.New(fault.Unavailable, op, "rtc_full", "The server holds as many calls as it may. Try again later.")
	}
	rm := newRoom(e, id, most)
	e.rooms[id] = rm
	e.running.Go(rm.run)
	e.stats.roomsOpened.Add(1)
	return nil
}

// CloseRoom ends a room: everybody in it is told why. Closing one that is not open does nothing.
func (e *Engine) CloseRoom(id string, reason Reason) {
	e.mu.Lock()
	rm := e.rooms[id]
	delete(e.rooms, id)
	e.mu.Unlock()
	if rm != nil {
		rm.close(reason)
		e.events.put(Event{Type: RoomClosed, Room: id, Reason: reason, At: e.now()})
	}
}

// RemoveParticipant ends a participation. Tokens issued for it so far no longer open the room.
func (e *Engine) RemoveParticipant(roomID, identity string, reason Reason) {
	if rm := e.room(roomID); rm != nil {
		rm.remove(identity, reason)
	}
}

// codeStopping is the code of errStopping.
const codeStopping = "rtc_stopping"

func errStopping(op string) error {
	return fault.New(fault.Unavailable, op, codeStopping, "The server is stopping. Calls begin again when it is back.")
}

// stopping says whether nobody is let in any more.
func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.draining || e.closed
}

// Present counts who is in a room.
func (e *Engine) Present(id string) int {
	rm := e.room(id)
	if rm == nil {
		return 0
	}
	rm.mu.Lock()
	defer rm.mu.Unlock()
	return len(rm.participants)
}

// launch runs something that Close waits for. It reports false when Close no longer does.
func (e *Engine) launch(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.running.Go(f)
	return true
}

func (e *Engine) room(id string) *room {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rooms[id]
}

func (e *Engine) allRooms() []*room {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*room, 0, len(e.rooms))
	for _, rm := range e.rooms {
		all = append(all, rm)
	}
	return all
}

// Close ends every participation at once and waits until nothing of the engine runs any more. Drain first is kinder.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	rooms := e.rooms
	e.rooms = map[string]*room{}
	e.mu.Unlock()
	for _, rm := range rooms {
		rm.close(ReasonShutdown)
	}
	e.running.Wait()
	e.events.close()
	return nil
}

// Drain tells every participant that the server stops, lets nobody in any more, and returns when all have gone or ctx is done.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
	for _, rm := range e.allRooms() {
		rm.leaveAll(ReasonShutdown)
	}
	for {
		e.mu.Lock()
		gone := e.gone
		e.mu.Unlock()
		if e.stats.participants.Load() == 0 {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "rtc.Drain", ctx.Err())
		}
	}
}

// participantGone wakes who waits for participants to go.
func (e *Engine) participantGone() {
	e.stats.participants.Add(-1)
	e.mu.Lock()
	close(e.gone)
	e.gone = make(chan struct{})
	e.mu.Unlock()
}
