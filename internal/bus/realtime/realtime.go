// Package realtime is the hub of Parley's sockets: it speaks the Centrifuge client protocol (JSON over a bidirectional
// WebSocket), fans publications out to the subscribers of channels, and does so over many nodes through Redis pub/sub.
//
// It keeps no history and recovers nothing: a client reads what it missed by sequence number after it (re)connects.
// It authenticates nobody and knows no channel's meaning: Handlers decide who may connect, subscribe and call. It opens
// no sealed value: what is published is opened by Handlers.Open, once per node, and only where somebody listens.
// Redis receives ids and sealed bytes, nothing else.
package realtime

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/actor"
	"parley/internal/fault"
)

// JoinPrefix marks the channels whose joins and leaves are pushed to their subscribers.
const JoinPrefix = "conv:"

// Conn is one client's socket. Its methods may be called from any goroutine and never block on the network.
type Conn interface {
	ID() string                            // random, new for each connection
	Actor() actor.Actor                    // who Handlers.Connect said it is
	Subscribe(channel string)              // subscribes the client and tells it; nothing happens when it already is
	Unsubscribe(channel string)            // ends a subscription of either side and tells the client
	Send(data []byte)                      // a message outside channels; data is JSON
	Disconnect(code uint32, reason string) // after what is queued; codes 3500–3999 and 4500–4999 tell the client to stay away
	Context() context.Context              // ends with the connection; carries Actor
}

// ConnectReply is the answer to a client that may connect.
type ConnectReply struct {
	Actor     actor.Actor
	Channels  []string        // subscribed by the server
	Data      json.RawMessage // handed to the client, may be nil
	ExpiresAt time.Time       // the connection ends then unless refreshed; zero: it does not expire
}

// Handlers are the hub's questions to the application. Calls for one connection come one after the other, in the order
// of its commands; a context ends with the connection or after 30 s. Errors reach clients as the code of their fault.
type Handlers struct {
	// Connect says who connects. r is the handshake request without a body; token and data are the client's, possibly empty. Required.
	// An Unauthenticated fault with the code "token_expired" makes a client that can fetch a token fetch another.
	Connect func(ctx context.Context, r *http.Request, token string, data []byte) (ConnectReply, error)
	// Subscribe allows a client's subscription by returning nil. When nil, clients cannot subscribe by themselves.
	Subscribe func(ctx context.Context, c Conn, channel string) error
	// RPC answers a call. The result is encoded as JSON; a json.RawMessage must be valid.
	RPC func(ctx context.Context, c Conn, method string, data []byte) (any, error)
	// Open turns published bytes into the JSON that clients read. When nil, published bytes are that JSON.
	Open func(ctx context.Context, channel string, sealed []byte) ([]byte, error)
	// Refresh checks a new token of a connected client and returns the new expiry. When nil, clients are not asked to
	// refresh: an expired connection is closed with a code upon which they reconnect.
	Refresh func(ctx context.Context, c Conn, token string) (time.Time, error)
	// Gone is called once for every client that had connected, after its last subscription ended.
	Gone func(c Conn)
}

// Limits bound what clients can make the hub do. A zero field means its default.
type Limits struct {
	Frame         int64         // bytes in one incoming WebSocket message; 32 KiB
	CommandRate   float64       // commands per second and connection; 20
	CommandBurst  int           // commands at once; 40. As many again are refused, then the connection ends
	Queue         int           // bytes waiting for one client before it counts as slow; 1 MiB
	Channels      int           // subscriptions of one client; 128
	ConnectRate   float64       // handshakes per second and address (IPv6: /64); 20
	ConnectBurst  int           // handshakes at once; 2,000
	Conns         int           // open sockets on this node; 50,000
	Pending       int           // publications of one channel that wait to be opened; 4,096, the oldest is dropped
	Ping          time.Duration // between pings to an idle client, whole seconds, at least 1 s; 25 s
	Pong          time.Duration // for the answer to a ping; 10 s
	Hello         time.Duration // for the connect command after the handshake; 10 s
	Write         time.Duration // for one write to the socket; 10 s
	PresenceTTL   time.Duration // after which a vanished node's clients count as gone, with Redis; 60 s
	RelayQueue    int           // bytes waiting for Redis; 64 MiB
	RelayInterval time.Duration // between checks of a silent Redis subscription; 5 s
}

func (l Limits) withDefaults() Limits {
	def(&l.Frame, 32<<10)
	def(&l.CommandRate, 20)
	def(&l.CommandBurst, 40)
	def(&l.Queue, 1<<20)
	def(&l.Channels, 128)
	def(&l.ConnectRate, 20)
	def(&l.ConnectBurst, 2000)
	def(&l.Conns, 50_000)
	def(&l.Pending, 4096)
	def(&l.Ping, 25*time.Second)
	def(&l.Pong, 10*time.Second)
	def(&l.Hello, 10*time.Second)
	def(&l.Write, 10*time.Second)
	def(&l.PresenceTTL, time.Minute)
	def(&l.RelayQueue, 64<<20)
	def(&l.RelayInterval, 5*time.Second)
	l.Ping = max(l.Ping.Round(time.Second), time.Second)
	return l
}

func def[T int | int64 | float64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Options configure a hub.
type Options struct {
	Handlers    Handlers
	Redis       *redis.Client // speaks RESP2 (bus.CheckRedis); nil: this process is the only node
	RedisPrefix string        // of every key and channel in Redis; "parley:rt:"
	Logger      *slog.Logger  // nil: no log
	Limits      Limits
	AllowOrigin func(r *http.Request) bool       // nil: an Origin header must name the request's host
	ClientAddr  func(r *http.Request) netip.Addr // whom handshakes count against; nil: the peer
	Version     string                           // told to clients
}

// Hub holds this node's connections and channels.
type Hub struct {
	opts   Options
	limits Limits
	log    *slog.Logger
	node   [nodeBytes]byte

	conns    [shards]connShard
	channels [shards]channelShard
	addrs    *addressLimiter
	orders   orders
	opens    chan struct{} // bounds the concurrent calls of Handlers.Open
	relay    *relay        // nil without Redis
	stats    counters

	closing  atomic.Bool
	stop     context.CancelFunc
	ctx      context.Context
	live     sync.WaitGroup // connections
	internal sync.WaitGroup // the hub's own goroutines
}

// shards divide the locks on connections and channels.
const shards = 64

// concurrentOpens bounds how many channels have their publications opened at one time.
const concurrentOpens = 64

// New makes a hub and starts its housekeeping. With Redis it returns once the subscription stands, or a fault of kind
// Unavailable. Shutdown ends what it starts.
func New(o Options) (*Hub, error) {
	if o.Handlers.Connect == nil {
		return nil, fault.New(fault.Internal, "realtime.New", "handler_missing", "Handlers.Connect is required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.RedisPrefix == "" {
		o.RedisPrefix = "parley:rt:"
	}
	h := &Hub{opts: o, limits: o.Limits.withDefaults(), log: o.Logger, opens: make(chan struct{}, concurrentOpens)}
	_, _ = rand.Read(h.node[:]) // never fails
	h.addrs = newAddressLimiter(h.limits.ConnectRate, h.limits.ConnectBurst)
	h.ctx, h.stop = context.WithCancel(context.Background())
	for i := range shards {
		h.conns[i].conns = map[*conn]struct{}{}
		h.channels[i].byName = map[string]*channel{}
	}
	if o.Redis != nil {
		r, err := newRelay(h, o.Redis, o.RedisPrefix)
		if err != nil {
			h.stop()
			return nil, err
		}
		h.relay = r
	}
	h.internal.Go(h.keepHouse)
	return h, nil
}

// Publish sends sealed bytes to the channel's subscribers on every node. It never blocks on clients, Redis or
// Handlers.Open, so that it may be called from an after-commit hook; sealed must not be changed afterwards. Publications
// of one caller to one channel keep their order. An error means that nothing was sent: the hub is shut down
// (Unavailable), the bytes are more than 1 MiB or the channel's name is unusable (both TooLarge or Invalid).
func (h *Hub) Publish(_ context.Context, channel string, sealed []byte) error {
	const op = "realtime.Publish"
	switch {
	case h.closing.Load():
		return fault.New(fault.Unavailable, op, "shutdown", "the hub is shut down")
	case !validChannel(channel):
		return fault.Bad(op, "channel", "channel_invalid", "a channel's name has 1 to 255 printable characters")
	case len(sealed) > maxPublication:
		return fault.New(fault.TooLarge, op, "publication_too_large", "a publication has at most 1 MiB")
	}
	h.stats.published.Add(1)
	h.publishLocal(channel, sealed)
	if h.relay != nil {
		return h.relay.send(record{kind: recordPublish, name: channel, body: sealed})
	}
	return nil
}

// cutPatience is how long Shutdown waits for connections that it has cut off.
const cutPatience = time.Second

// maxPublication is the most bytes of one publication.
const maxPublication = 1 << 20

// Presence returns who is subscribed to each of the channels, on any node, as "kind:id" without doubles; a channel with
// nobody is left out. When Redis is away the answer holds this node's clients and the error is Unavailable.
func (h *Hub) Presence(ctx context.Context, channels []string) (map[string][]string, error) {
	users := make(map[string][]string, len(channels))
	for _, name := range channels {
		if here := h.localUsers(name); len(here) > 0 {
			users[name] = here
		}
	}
	if h.relay == nil {
		return users, nil
	}
	all, err := h.relay.presence(ctx, channels)
	if err != nil {
		return users, fault.Wrap(fault.Unavailable, "realtime.Presence", err)
	}
	for name, there := range all {
		users[name] = union(users[name], there)
	}
	return users, nil
}

// Drop disconnects, on every node, the actor's connections that belong to the session; all of them when session is
// empty. Clients do not come back by themselves (code 3503).
func (h *Hub) Drop(kind actor.Kind, id, session string) {
	h.carryOut(order{user: user(kind, id), session: session})
	if h.relay != nil {
		_ = h.relay.send(record{kind: recordDrop, name: user(kind, id), body: []byte(session)})
	}
}

// SubscribeActor subscribes every connection of the actor, on every node, to the channel: for a channel that came into
// being after it connected.
func (h *Hub) SubscribeActor(kind actor.Kind, id, channel string) {
	if !validChannel(channel) {
		return
	}
	h.carryOut(order{user: user(kind, id), channel: channel})
	if h.relay != nil {
		_ = h.relay.send(record{kind: recordSubscribe, name: user(kind, id), body: []byte(channel)})
	}
}

// Shutdown refuses new connections, tells the clients to reconnect (code 3001) and returns when all have gone. When ctx
// ends first the rest is cut off and ctx's error returned. A second call does nothing.
func (h *Hub) Shutdown(ctx context.Context) error {
	if h.closing.Swap(true) {
		return nil
	}
	h.eachConn(func(c *conn) { c.Disconnect(codeShutdown, "shutdown") })
	gone := make(chan struct{})
	go func() { h.live.Wait(); close(gone) }()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		h.eachConn(func(c *conn) { c.cut() })
		select {
		case <-gone:
		case <-time.After(cutPatience): // a handler does not heed its context
		}
	}
	if h.relay != nil {
		h.relay.flush(ctx)
	}
	h.stop()
	h.internal.Wait()
	return err
}

// user is how presence names an actor.
func user(kind actor.Kind, id string) string { return string(kind) + ":" + id }

func validChannel(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == 0xfffd || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return true
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
