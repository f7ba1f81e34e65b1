package realtime

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/bus"
	"parley/internal/fault"
)

// relay connects the hub to those of other nodes. All nodes share one Redis channel: every node receives every
// publication, which it drops at once where nobody listens. That costs bandwidth between nodes, and buys that a
// subscription needs no word with Redis and so has no moment in which it is told of but not yet in force.
type relay struct {
	hub     *Hub
	rdb     *redis.Client
	channel string
	prefix  string
	node    string // the hub's id, in hex

	mu      sync.Mutex
	ends    []int  // where each record ends in out
	out     []byte // records that wait
	changes []presenceChange
	lost    bool // records were given up: tell the others
	wake    chan struct{}
	idle    *sync.Cond // broadcast when nothing waits
	busy    bool
}

// presenceChange is a user's first coming to a channel on this node, or the last going.
type presenceChange struct {
	channel, user, client string
	joined                bool
}

const (
	chunkBytes   = 128 << 10 // of one message to Redis
	maxChanges   = 200_000   // that wait; then Redis learns of them at the next refresh
	retryPause   = 500 * time.Millisecond
	firstConnect = 5 * time.Second // for the subscription to stand, in New
	lastFlush    = 2 * time.Second // for Redis to take what waits, in Shutdown
)

// newRelay subscribes and starts the goroutines that read and write.
func newRelay(h *Hub, rdb *redis.Client, prefix string) (*relay, error) {
	r := &relay{hub: h, rdb: rdb, channel: prefix + "all", prefix: prefix + "p:", node: hex.EncodeToString(h.node[:]), wake: make(chan struct{}, 1)}
	r.idle = sync.NewCond(&r.mu)
	if err := bus.CheckRedis(rdb); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.ctx, firstConnect)
	defer cancel()
	sub := rdb.Subscribe(ctx, r.channel)
	if _, err := sub.Receive(ctx); err != nil {
		_ = sub.Close()
		return nil, &fault.Error{Kind: fault.Unavailable, Op: "realtime.New", Code: "redis_unavailable", Text: "Redis does not answer", Cause: err}
	}
	h.internal.Go(func() { r.read(sub) })
	h.internal.Go(r.write)
	return r, nil
}

// send queues a record for the other nodes. When too much waits because Redis is away, what waits is given up, and the
// other nodes' clients are asked to read again once it is back.
func (r *relay) send(rec record) error {
	r.mu.Lock()
	if len(r.out)+len(rec.name)+len(rec.body) > r.hub.limits.RelayQueue {
		r.hub.stats.dropped.Add(int64(len(r.ends)))
		r.out, r.ends, r.lost = nil, nil, true
	}
	r.out = appendRecord(r.out, rec)
	r.ends = append(r.ends, len(r.out))
	r.mu.Unlock()
	r.nudge()
	return nil
}

func (r *relay) presenceChanged(channel, user, client string, joined bool) {
	r.mu.Lock()
	if len(r.changes) < maxChanges {
		r.changes = append(r.changes, presenceChange{channel, user, client, joined})
	}
	r.mu.Unlock()
	r.nudge()
}

func (r *relay) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// flush waits until what was queued has gone to Redis, for as long as ctx and its own patience last.
func (r *relay) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastFlush)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.mu.Lock(); r.idle.Broadcast(); r.mu.Unlock() })
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for ctx.Err() == nil && (r.busy || len(r.out) > 0 || len(r.changes) > 0) {
		r.idle.Wait()
	}
}

// write sends what waits, in order, and renews this node's presence before it expires.
func (r *relay) write() {
	refresh := time.NewTicker(r.hub.limits.PresenceTTL / 3)
	defer refresh.Stop()
	for {
		select {
		case <-r.hub.ctx.Done():
			return
		case <-refresh.C:
			r.refresh()
		case <-r.wake:
			for r.writeWaiting() {
			}
		}
	}
}

// writeWaiting sends what waits now and reports whether there was something.
func (r *relay) writeWaiting() bool {
	r.mu.Lock()
	out, ends, changes, lost := r.out, r.ends, r.changes, r.lost
	r.out, r.ends, r.changes, r.lost = nil, nil, nil, false
	r.busy = len(out) > 0 || len(changes) > 0
	if !r.busy {
		r.idle.Broadcast()
		r.mu.Unlock()
		return false
	}
	r.mu.Unlock()
	if lost {
		out, ends = prependGap(out, ends)
	}
	for _, message := range r.chunks(out, ends) {
		r.must(func(ctx context.Context) error { return r.rdb.Publish(ctx, r.channel, message).Err() })
	}
	r.hub.stats.relaySent.Add(int64(len(ends)))
	for len(changes) > 0 {
		n := min(len(changes), 500)
		r.must(func(ctx context.Context) error { return r.apply(ctx, changes[:n]) })
		changes = changes[n:]
	}
	return true
}

func prependGap(out []byte, ends []int) ([]byte, []int) {
	gap := appendRecord(nil, record{kind: recordGap})
	for i := range ends {
		ends[i] += len(gap)
	}
	return append(gap, out...), append([]int{len(gap)}, ends...)
}

// chunks cuts records into messages.
func (r *relay) chunks(out []byte, ends []int) (messages [][]byte) {
	start := 0
	for i, end := range ends {
		if i+1 < len(ends) && ends[i+1]-start <= chunkBytes {
			continue
		}
		m := appendHeader(make([]byte, 0, headerBytes+end-start), r.hub.node)
		messages = append(messages, append(m, out[start:end]...))
		start = end
	}
	return messages
}

// must repeats what Redis did not take until it does, so that order is kept and nothing is lost but by overflow. It
// gives up when the hub stops. A repetition after an unclear failure may deliver twice, which clients bear: they go by
// sequence numbers.
func (r *relay) must(do func(ctx context.Context) error) {
	for failed := false; r.hub.ctx.Err() == nil; failed = true {
		err := do(r.hub.ctx)
		if err == nil {
			return
		}
		r.hub.stats.relayErrors.Add(1)
		if !failed {
			r.hub.log.Warn("Redis does not take messages", "op", "realtime.relay")
		}
		pause(r.hub.ctx, retryPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// read hands what other nodes publish to the hub. Whenever the subscription had to be made anew, messages may have
// been missed, and clients are asked to reconnect.
func (r *relay) read(sub *redis.PubSub) {
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(r.hub.ctx, func() { _ = sub.Close() })
	defer stop()
	silent := false
	for r.hub.ctx.Err() == nil {
		got, err := sub.ReceiveTimeout(r.hub.ctx, r.hub.limits.RelayInterval)
		var slow net.Error
		switch {
		case err == nil:
			silent = false
			r.receive(got)
		case r.hub.ctx.Err() != nil:
		case errors.As(err, &slow) && slow.Timeout() && !silent:
			silent = true // a living connection answers the ping
			_ = sub.Ping(r.hub.ctx)
		default:
			r.hub.stats.relayErrors.Add(1)
			r.hub.log.Warn("the subscription to Redis broke", "op", "realtime.relay")
			if silent {
				stop()
				_ = sub.Close()
				sub = r.rdb.Subscribe(r.hub.ctx, r.channel)
				stop = context.AfterFunc(r.hub.ctx, func() { _ = sub.Close() })
				silent = false
			}
			pause(r.hub.ctx, retryPause)
		}
	}
}

func (r *relay) receive(got any) {
	switch m := got.(type) {
	case *redis.Subscription: // not the first: New has taken that
		r.hub.log.Info("the subscription to Redis stands again", "op", "realtime.relay")
		r.hub.resync()
	case *redis.Message:
		if err := DecodeRelayed([]byte(m.Payload), r.record); err != nil {
			r.hub.stats.relayErrors.Add(1)
			r.hub.log.Warn("a message of another node cannot be read", "op", "realtime.relay")
		}
	}
}

// record acts upon what a node tells. Of itself a node only hears joins and leaves, upon which Redis decides.
func (r *relay) record(node [nodeBytes]byte, kind byte, name string, body []byte) {
	own := node == r.hub.node
	if !own {
		r.hub.stats.relayReceived.Add(1)
	}
	switch {
	case kind == recordJoin || kind == recordLeave:
		if who, client, ok := bytes.Cut(body, []byte{0}); ok {
			if frame := joinFrame(name, string(who), string(client), kind == recordJoin); frame != nil {
				r.hub.broadcastTo(name, frame)
			}
		}
	case own:
	case kind == recordPublish:
		r.hub.publishLocal(name, body)
	case kind == recordDrop:
		r.hub.carryOut(order{user: name, session: string(body)})
	case kind == recordSubscribe:
		if validChannel(string(body)) {
			r.hub.carryOut(order{user: name, channel: string(body)})
		}
	case kind == recordGap:
		r.hub.resync()
	}
}

// Presence is a sorted set for each channel, with "user|node" scored by the time in milliseconds at which it expires by
// Redis' own clock. Scripts make a change and the decision whether to tell of it one step.
const (
	scriptNow = `local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
`
	scriptOthers = `local own = ARGV[1] .. '|' .. ARGV[2]
local function elsewhere()
  for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if m ~= own and string.sub(m, 1, #ARGV[1] + 1) == ARGV[1] .. '|' then return true end
  end
  return false
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
`
	// ARGV: user, node, TTL in ms, channel to tell, message to tell ("": none)
	scriptJoin = scriptNow + scriptOthers + `local tell = ARGV[5] ~= '' and not elsewhere()
redis.call('ZADD', KEYS[1], now + ARGV[3], own)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if tell then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 0`
	scriptLeave = scriptNow + scriptOthers + `local gone = redis.call('ZREM', KEYS[1], own)
if gone == 1 and ARGV[5] ~= '' and not elsewhere() then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 0`
	// ARGV: node, TTL in ms, users
	scriptRefresh = scriptNow + `for i = 3, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i] .. '|' .. ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0`
	scriptPresent = scriptNow + `return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')`
)

// apply makes the changes of presence, in order.
func (r *relay) apply(ctx context.Context, changes []presenceChange) error {
	ttl := r.hub.limits.PresenceTTL.Milliseconds()
	_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, c := range changes {
			kind, script := byte(recordLeave), scriptLeave
			if c.joined {
				kind, script = recordJoin, scriptJoin
			}
			var tell []byte
			if strings.HasPrefix(c.channel, JoinPrefix) {
				tell = appendRecord(appendHeader(nil, r.hub.node), record{kind: kind, name: c.channel, body: []byte(c.user + "\x00" + c.client)})
			}
			p.Eval(ctx, script, []string{r.prefix + c.channel}, c.user, r.node, ttl, r.channel, tell)
		}
		return nil
	})
	return err
}

// refresh keeps this node's clients present for another TTL.
func (r *relay) refresh() {
	p := r.rdb.Pipeline()
	exec := func() {
		if _, err := p.Exec(r.hub.ctx); err != nil && r.hub.ctx.Err() == nil {
			r.hub.stats.relayErrors.Add(1)
		}
	}
	r.hub.eachChannel(func(name string, users []string) {
		args := append(make([]any, 0, 2+len(users)), r.node, r.hub.limits.PresenceTTL.Milliseconds())
		for _, u := range users {
			args = append(args, u)
		}
		p.Eval(r.hub.ctx, scriptRefresh, []string{r.prefix + name}, args...)
		if p.Len() >= 500 {
			exec()
		}
	})
	if p.Len() > 0 {
		exec()
	}
}

// presence asks Redis who is subscribed to the channels on any node.
func (r *relay) presence(ctx context.Context, channels []string) (map[string][]string, error) {
	users := make(map[string][]string, len(channels))
	for len(channels) > 0 {
		n := min(len(channels), 500)
		asked := make([]*redis.Cmd, n)
		_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, name := range channels[:n] {
				asked[i] = p.Eval(ctx, scriptPresent, []string{r.prefix + name})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, name := range channels[:n] {
			members, err := asked[i].StringSlice()
			if err != nil {
				return nil, err
			}
			for _, m := range members {
				cut := strings.LastIndexByte(m, '|')
				if who, node := m[:max(cut, 0)], m[cut+1:]; cut > 0 && node != r.node { // this node knows its own
					users[name] = union(users[name], []string{who})
				}
			}
		}
		channels = channels[n:]
	}
	return users, nil
}
