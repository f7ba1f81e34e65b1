package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of TCP. A connection is fresh until it has proved that it belongs to a call: over ICE-TCP by a check with the
// right password (the server writes nothing before), at the TURN server by an allocation.
const (
	maxTCP        = 4096             // connections of one listener
	maxTCPAddress = 128              // of them from one address (IPv6: one /64): an office behind one router
	maxFresh      = 512              // of them fresh; beyond, the oldest fresh one makes room
	freshFor      = 10 * time.Second // until a fresh one is closed
	writeStall    = 10 * time.Second // a client that takes nothing for so long is gone
	acceptPause   = 50 * time.Millisecond
)

// gate is a TCP listener with limits. The multiplexers above have none: they would keep every connection, and stop
// listening for good at the first error of Accept.
type gate struct {
	raw      net.Listener
	tls      *tls.Config   // nil: plain
	proveOn  proof         // what makes a connection known
	fresh    time.Duration // how long a connection may stay unknown
	ready    chan net.Conn
	done     chan struct{}
	wg       sync.WaitGroup
	refused  atomic.Uint64
	closeErr error
	once     sync.Once

	mu    sync.Mutex
	conns map[netip.AddrPort]*gateConn
	from  map[netip.Addr]int
	young *list.List // of *gateConn, oldest first
}

type proof uint8

const (
	byWriting proof = iota // ICE-TCP
	byCall                 // TURN: prove is called
)

func newGate(raw net.Listener, cfg *tls.Config, on proof, fresh time.Duration) *gate {
	if cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos = nil // some clients offer "stun.turn", others nothing: neither is refused
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	}
	g := &gate{raw: raw, tls: cfg, proveOn: on, fresh: fresh, ready: make(chan net.Conn), done: make(chan struct{}),
		conns: map[netip.AddrPort]*gateConn{}, from: map[netip.Addr]int{}, young: list.New()}
	g.wg.Go(g.accept)
	return g
}

// Accept gives the next connection; over TLS after its handshake.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.ready:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

// Addr is the listener's address.
func (g *gate) Addr() net.Addr { return g.raw.Addr() }

// Close closes the listener and every connection that came through it.
func (g *gate) Close() error {
	g.once.Do(func() {
		close(g.done)
		g.closeErr = g.raw.Close()
		for _, c := range g.all() {
			_ = c.Close()
		}
		g.wg.Wait()
	})
	return g.closeErr
}

func (g *gate) all() []*gateConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*gateConn, 0, len(g.conns))
	for _, c := range g.conns {
		out = append(out, c)
	}
	return out
}

func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func (g *gate) accept() {
	for {
		raw, err := g.raw.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, or a client that left in the meantime: listening goes on
			case <-time.After(acceptPause):
				continue
			case <-g.done:
				return
			}
		}
		c, oldest := g.admit(raw)
		if oldest != nil {
			g.refused.Add(1)
			_ = oldest.Close()
		}
		if c == nil {
			g.refused.Add(1)
			_ = raw.Close()
			continue
		}
		g.wg.Go(func() { g.serve(c) })
	}
}

// admit counts a new connection, or says no. A full house of fresh ones gives its oldest to be closed.
func (g *gate) admit(raw net.Conn) (c, oldest *gateConn) {
	tcp, ok := raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, nil
	}
	remote := tcp.AddrPort()
	remote = netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.done:
		return nil, nil
	default:
	}
	if _, taken := g.conns[remote]; taken || len(g.conns) >= maxTCP || g.from[site(remote.Addr())] >= maxTCPAddress {
		return nil, nil
	}
	if g.young.Len() >= maxFresh {
		oldest = g.young.Front().Value.(*gateConn)
	}
	c = &gateConn{Conn: raw, gate: g, remote: remote}
	c.timer = time.AfterFunc(g.fresh, c.tooLate)
	c.place = g.young.PushBack(c)
	g.conns[remote] = c
	g.from[site(remote.Addr())]++
	return c, oldest
}

// serve hands a connection over.
func (g *gate) serve(c *gateConn) {
	conn := net.Conn(c)
	if g.tls != nil {
		s := tls.Server(c, g.tls)
		ctx, cancel := context.WithTimeout(context.Background(), g.fresh)
		err := s.HandshakeContext(ctx)
		cancel()
		if err != nil {
			_ = c.Close()
			return
		}
		conn = s
	}
	select {
	case g.ready <- conn:
	case <-g.done:
		_ = c.Close()
	}
}

// prove marks the connection from remote as one that belongs to a call.
func (g *gate) prove(remote net.Addr) {
	if c := g.find(remote); c != nil {
		c.prove()
	}
}

// drop closes the connection from remote.
func (g *gate) drop(remote net.Addr) {
	if c := g.find(remote); c != nil {
		_ = c.Close()
	}
}

func (g *gate) find(remote net.Addr) *gateConn {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return nil
	}
	at := tcp.AddrPort()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns[netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())]
}

// site is what counts as one place: an IPv4 address, or an IPv6 network of one customer.
func site(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// gateConn is one connection that is counted.
type gateConn struct {
	net.Conn
	gate   *gate
	remote netip.AddrPort
	proven atomic.Bool
	timer  *time.Timer
	place  *list.Element // in gate.young; nil once proven or closed
	closed sync.Once
}

// Write writes with a limit of time. Over ICE-TCP a write proves the connection: nothing is answered to strangers.
func (c *gateConn) Write(b []byte) (int, error) {
	if c.gate.proveOn == byWriting && !c.proven.Load() {
		c.prove()
	}
	if err := c.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil { // what was cut can't be continued: the stream has lost its frames
		_ = c.Close()
	}
	return n, err
}

func (c *gateConn) prove() {
	if c.proven.Swap(true) {
		return
	}
	c.timer.Stop()
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.grown()
}

// grown takes the connection out of the fresh ones. gate.mu is held.
func (c *gateConn) grown() {
	if c.place != nil {
		c.gate.young.Remove(c.place)
		c.place = nil
	}
}

func (c *gateConn) tooLate() {
	if !c.proven.Load() {
		c.gate.refused.Add(1)
		_ = c.Close()
	}
}

// Close closes the connection and gives its place back.
func (c *gateConn) Close() (err error) {
	c.closed.Do(func() {
		err = c.Conn.Close()
		g := c.gate
		c.timer.Stop()
		g.mu.Lock()
		defer g.mu.Unlock()
		c.grown()
		delete(g.conns, c.remote)
		if s := site(c.remote.Addr()); g.from[s] <= 1 {
			delete(g.from, s)
		} else {
			g.from[s]--
		}
	})
	return err
}
