package realtime

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"parley/internal/fault"
)

// channel is a channel with subscribers on this node. It lives as long as it has some.
//
// Locks are taken in the order conn.subsMu, channel.mu, channelShard.mu, then one of conn.mu and relay.mu.
type channel struct {
	name string

	mu       sync.Mutex
	dead     bool // the last subscriber left; look the name up again
	members  []*membership
	users    map[string]int // connections of each user
	pending  [][]byte       // published, not yet opened, in order
	draining bool           // a goroutine works on pending
}

// membership is one connection's subscription to one channel.
type membership struct {
	conn   *conn
	ch     *channel
	index  int  // in ch.members
	server bool // made by the server
}

type channelShard struct {
	mu     sync.RWMutex
	byName map[string]*channel
}

// openTimeout bounds one call of Handlers.Open.
const openTimeout = 10 * time.Second

func (h *Hub) channelShard(name string) *channelShard {
	hash := uint32(2166136261) // FNV-1a
	for i := range len(name) {
		hash = (hash ^ uint32(name[i])) * 16777619
	}
	return &h.channels[hash%shards]
}

// find returns the channel, or nil when nobody here is subscribed.
func (h *Hub) find(name string) *channel {
	s := h.channelShard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[name]
}

// findLocked returns the channel locked and alive, made where it must be.
func (h *Hub) findLocked(name string) *channel {
	s := h.channelShard(name)
	for {
		s.mu.Lock()
		ch := s.byName[name]
		if ch == nil {
			ch = &channel{name: name, users: map[string]int{}}
			s.byName[name] = ch
		}
		s.mu.Unlock()
		ch.mu.Lock()
		if !ch.dead {
			return ch
		}
		ch.mu.Unlock() // whoever emptied it is about to take it out of the map
		s.mu.Lock()
		if s.byName[name] == ch {
			delete(s.byName, name)
		}
		s.mu.Unlock()
	}
}

// join adds a subscription. announce is queued for the client before anything that is published from now on: it is the
// reply or the push that tells the client of the subscription, so that it knows the channel when publications come.
func (h *Hub) join(c *conn, name string, server bool, announce []byte) *membership {
	ch := h.findLocked(name)
	defer ch.mu.Unlock()
	m := &membership{conn: c, ch: ch, index: len(ch.members), server: server}
	if announce != nil {
		c.enqueue(announce)
	}
	ch.members = append(ch.members, m)
	ch.users[c.user]++
	if ch.users[c.user] == 1 {
		h.tell(ch, c, true)
	}
	h.stats.subscriptions.Add(1)
	return m
}

// leave ends a subscription. announce, when not nil, is queued for the client.
func (h *Hub) leave(m *membership, announce []byte) {
	ch := m.ch
	ch.mu.Lock()
	last := len(ch.members) - 1
	ch.members[m.index] = ch.members[last]
	ch.members[m.index].index = m.index
	ch.members[last] = nil
	ch.members = ch.members[:last]
	if announce != nil {
		m.conn.enqueue(announce)
	}
	if ch.users[m.conn.user]--; ch.users[m.conn.user] == 0 {
		delete(ch.users, m.conn.user)
		h.tell(ch, m.conn, false)
	}
	ch.dead = last == 0
	ch.mu.Unlock()
	h.stats.subscriptions.Add(-1)
	if last > 0 {
		return
	}
	s := h.channelShard(ch.name)
	s.mu.Lock()
	if s.byName[ch.name] == ch {
		delete(s.byName, ch.name)
	}
	s.mu.Unlock()
}

// tell spreads that the connection's user came to the channel on this node or left it. ch is locked. With Redis only
// Redis knows whether the user is on another node too, so it decides whether subscribers are told.
func (h *Hub) tell(ch *channel, c *conn, joined bool) {
	if h.relay != nil {
		h.relay.presenceChanged(ch.name, c.user, c.id, joined)
		return
	}
	if frame := joinFrame(ch.name, c.user, c.id, joined); frame != nil {
		ch.broadcast(h, frame)
	}
}

// joinFrame is the push of a join or leave; nil where the channel's are not pushed.
func joinFrame(name, user, client string, joined bool) []byte {
	if len(name) < len(JoinPrefix) || name[:len(JoinPrefix)] != JoinPrefix {
		return nil
	}
	kind := "leave"
	if joined {
		kind = "join"
	}
	return push(name, kind, infoBody(clientInfo{Client: client, User: user}))
}

// broadcast queues the frame for every subscriber. ch is locked.
func (ch *channel) broadcast(h *Hub, frame []byte) {
	for _, m := range ch.members {
		m.conn.enqueue(frame)
	}
	h.stats.deliveries.Add(int64(len(ch.members)))
}

// broadcastTo queues the frame for the channel's subscribers here.
func (h *Hub) broadcastTo(name string, frame []byte) {
	if ch := h.find(name); ch != nil {
		ch.mu.Lock()
		ch.broadcast(h, frame)
		ch.mu.Unlock()
	}
}

// publishLocal hands sealed bytes to the channel's subscribers here. Opening them may take time, so a goroutine of the
// channel does it, and keeps the order.
func (h *Hub) publishLocal(name string, sealed []byte) {
	ch := h.find(name)
	if ch == nil {
		return // nobody listens: nothing is opened
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if len(ch.members) == 0 {
		return
	}
	if len(ch.pending) >= h.limits.Pending {
		ch.pending = append(ch.pending[:0], ch.pending[1:]...)
		h.stats.dropped.Add(1)
	}
	ch.pending = append(ch.pending, sealed)
	if !ch.draining {
		ch.draining = true
		go h.drain(ch)
	}
}

// drain opens what was published to the channel, each publication once, and queues it for the subscribers.
func (h *Hub) drain(ch *channel) {
	for {
		ch.mu.Lock()
		if len(ch.members) == 0 || len(ch.pending) == 0 {
			ch.pending, ch.draining = nil, false
			ch.mu.Unlock()
			return
		}
		batch := ch.pending
		ch.pending = nil
		ch.mu.Unlock()
		for _, sealed := range batch {
			frame, missed := h.open(ch.name, sealed)
			ch.mu.Lock()
			switch {
			case frame != nil:
				ch.broadcast(h, frame)
			case missed:
				ch.resync()
			}
			ch.mu.Unlock()
		}
	}
}

// resync asks the subscribers to connect again and read what they missed: without a later publication none would see
// the gap in the sequence. ch is locked.
func (ch *channel) resync() {
	now := time.Now()
	for _, m := range ch.members {
		m.conn.mu.Lock()
		if m.conn.cutAt.IsZero() {
			m.conn.cutAt = now.Add(rand.N(resyncSpread))
		}
		m.conn.mu.Unlock()
	}
}

// open makes the frame of a publication, or nil when that fails; missed: it may be there for whoever reads again.
func (h *Hub) open(name string, sealed []byte) (frame []byte, missed bool) {
	const op = "realtime.open"
	h.opens <- struct{}{}
	defer func() {
		<-h.opens
		if frame == nil {
			h.stats.openFailed.Add(1)
		}
	}()
	data := sealed
	if h.opts.Handlers.Open != nil {
		ctx, cancel := context.WithTimeout(h.ctx, openTimeout)
		defer cancel()
		err := h.guard(op, func() (err error) { data, err = h.opts.Handlers.Open(ctx, name, sealed); return err })
		if err != nil {
			h.logFault(op, err)
			return nil, !fault.Is(err, fault.Gone)
		}
		h.stats.opened.Add(1)
	}
	frame, err := publication(name, data)
	if err != nil {
		h.log.Warn("a publication is not JSON", "op", op)
		return nil, false
	}
	return frame, false
}

// localUsers lists the users subscribed to the channel on this node.
func (h *Hub) localUsers(name string) []string {
	ch := h.find(name)
	if ch == nil {
		return nil
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	users := make([]string, 0, len(ch.users))
	for u := range ch.users {
		users = append(users, u)
	}
	return users
}

// eachChannel calls fn with the name and users of every channel here.
func (h *Hub) eachChannel(fn func(name string, users []string)) {
	for i := range h.channels {
		s := &h.channels[i]
		s.mu.RLock()
		names := make([]string, 0, len(s.byName))
		for name := range s.byName {
			names = append(names, name)
		}
		s.mu.RUnlock()
		for _, name := range names {
			if users := h.localUsers(name); len(users) > 0 {
				fn(name, users)
			}
		}
	}
}
