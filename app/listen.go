package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"parley/internal/fault"
)

// Limits against clients that are slow on purpose. A socket leaves them behind when it takes its connection over; a handler
// that must write for longer extends its own time through http.ResponseController.
const (
	headerWithin = 10 * time.Second // to send a request's header; TLS handshakes too
	readWithin   = time.Minute      // to send a whole request: 1 MiB at 17 kB/s
	writeWithin  = 2 * time.Minute  // to take an answer
	idleWithin   = 2 * time.Minute  // between two requests
	maxHeader    = 64 << 10         // bytes of a request's header
	h2Streams    = 100              // requests at a time on one HTTP/2 connection
	h2Stalled    = 30 * time.Second // without taking a byte, or answering a ping

	redirectWithin = 5 * time.Second // for a whole request to the listener that only redirects
	redirectHeader = 8 << 10
	redirectConns  = 1024 // connections to it at a time
	warnEvery      = time.Minute
)

// front is what the server listens on: its own port, and the one that sends plain HTTP to it.
type front struct {
	main     net.Listener
	redirect net.Listener // nil: none
}

// listenAll opens the ports.
func (c *Config) listenAll() (f front, err error) {
	if f.main, err = listen(c.Listen, "--listen"); err != nil {
		return f, err
	}
	if c.HTTPRedirect == "" || c.HTTPRedirect == off {
		return f, nil
	}
	if f.redirect, err = listen(c.HTTPRedirect, "--http-redirect"); err != nil {
		return f, errors.Join(err, f.main.Close())
	}
	return f, nil
}

// Close closes the ports. Servers close them too: a second time is no error.
func (f front) Close() error {
	err := closed(f.main.Close())
	if f.redirect != nil {
		err = errors.Join(err, closed(f.redirect.Close()))
	}
	return err
}

func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenFault(err, addr, flag)
	}
	return l, nil
}

// listenFault says what to do about a port that cannot be had.
func listenFault(err error, addr, flag string) error {
	const op = "app.listen"
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && flag == "--http-redirect":
		return fault.New(fault.Conflict, op, "port_in_use", fmt.Sprintf("%s %s: another program listens there. Stop it, choose another port, or say --http-redirect off: "+
			"visitors who type http:// then reach the other program, and certificates come through port 443 alone.", flag, addr))
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Conflict, op, "port_in_use", fmt.Sprintf("%s %s: another program listens there. Stop it or choose another port.", flag, addr))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.New(fault.Forbidden, op, "port_forbidden", fmt.Sprintf("%s %s: the system keeps ports below 1024 from ordinary programs. With systemd, add "+
			"AmbientCapabilities=CAP_NET_BIND_SERVICE to the unit; by hand, run setcap cap_net_bind_service=+ep on the program. Or choose a port above 1023 "+
			"and let the router or firewall pass 443 (and 80) on to it.", flag, addr))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.New(fault.Unavailable, op, "listen_failed", fmt.Sprintf("%s %s: this machine does not have that address. Behind a router listen on the machine's own "+
			"address, or on all of them with 0.0.0.0 or ::.", flag, addr))
	}
	return fault.New(fault.Unavailable, op, "listen_failed", fmt.Sprintf("%s %s: %v", flag, addr, err))
}

// listenWeb serves what people ask for until the server it returns is stopped, and beside it, until ctx ends, the way there from
// plain HTTP and the upkeep of the certificate. Requests live in inner.
func (s *server) listenWeb(ctx, inner context.Context, g *errgroup.Group, f front) *http.Server {
	web := &http.Server{Handler: s.edge.Handler(), ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin, IdleTimeout: idleWithin,
		MaxHeaderBytes: maxHeader, TLSConfig: s.webTLS(), ErrorLog: libraryLog(s.log, "http"), BaseContext: func(net.Listener) context.Context { return inner },
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: h2Streams, SendPingTimeout: h2Stalled, PingTimeout: h2Stalled, WriteByteTimeout: h2Stalled}}
	g.Go(func() error { return s.serveWeb(web, f.main) })
	if s.certs == nil {
		return web
	}
	g.Go(func() error { return s.certs.run(ctx) })
	if f.redirect == nil {
		return web
	}
	plain := &http.Server{Handler: http.HandlerFunc(s.redirect), ReadTimeout: redirectWithin, WriteTimeout: redirectWithin, IdleTimeout: redirectWithin,
		MaxHeaderBytes: redirectHeader, ErrorLog: libraryLog(s.log, "redirect")}
	g.Go(func() error { return served(plain.Serve(capConns(f.redirect, redirectConns))) })
	g.Go(func() error {
		<-ctx.Done()
		return plain.Close()
	})
	return web
}

// serveWeb serves HTTPS, or plain HTTP to this machine, its network and the trusted proxies (promise I6).
func (s *server) serveWeb(web *http.Server, l net.Listener) error {
	if web.TLSConfig != nil {
		return served(web.ServeTLS(l, "", ""))
	}
	proxies, err := s.cfg.proxies()
	if err != nil {
		return err
	}
	return served(web.Serve(&neighbours{Listener: l, trusted: proxies, log: s.log}))
}

// neighbours closes connections from public addresses: it stands before plain HTTP, which belongs between a proxy that
// ends TLS and this server and nowhere else.
type neighbours struct {
	net.Listener
	trusted []netip.Prefix
	log     *slog.Logger
	warned  atomic.Int64
}

// Accept waits for a connection from a neighbour.
func (n *neighbours) Accept() (net.Conn, error) {
	for {
		conn, err := n.Listener.Accept()
		if err != nil || n.knows(conn.RemoteAddr()) {
			return conn, err
		}
		_ = conn.Close() // nothing was said
		if now := time.Now().UnixNano(); now-n.warned.Load() > int64(warnEvery) {
			n.warned.Store(now)
			n.log.Warn("closed a plain connection from a public address: browsers reach Parley by https only. If it was your proxy's, name it in --trusted-proxies",
				"listen", n.Addr().String())
		}
	}
}

func (n *neighbours) knows(peer net.Addr) bool {
	ap, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return false
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range n.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// redirect answers plain HTTP with the way to HTTPS and with proofs for the certificate authority, and with nothing else.
func (s *server) redirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if s.certs.challenge(w, r) {
		return
	}
	to := s.cfg.BaseURL
	if to == "" {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !s.certs.covers(host) { // and so nobody is sent anywhere by a name that is not ours
			http.Error(w, "This server has no such name.", http.StatusMisdirectedRequest)
			return
		}
		to = "https://" + host
		if _, port, err := net.SplitHostPort(s.cfg.Listen); err == nil && port != "443" {
			to = "https://" + net.JoinHostPort(host, port)
		}
	}
	w.Header().Set("Location", wayTo(to, r.URL))
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	w.WriteHeader(http.StatusPermanentRedirect) // the method stays
}

// wayTo is what was asked for, at base: never at another host, whatever stands in the request.
func wayTo(base string, asked *url.URL) string {
	path := asked.EscapedPath()
	if path == "" || path[0] != '/' {
		path = "/"
	}
	if asked.RawQuery != "" {
		path += "?" + asked.RawQuery
	}
	return base + path
}

// capped lets so many connections in at a time; the others wait in the system's queue.
type capped struct {
	net.Listener
	slots chan struct{}
	once  sync.Once
	end   chan struct{}
}

func capConns(l net.Listener, n int) net.Listener {
	return &capped{Listener: l, slots: make(chan struct{}, n), end: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (c *capped) Accept() (net.Conn, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.end:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.slots
		return nil, err
	}
	return &cappedConn{Conn: conn, free: sync.OnceFunc(func() { <-c.slots })}, nil
}

// Close closes the listener and ends whoever waits for a slot.
func (c *capped) Close() error {
	c.once.Do(func() { close(c.end) })
	return c.Listener.Close()
}

type cappedConn struct {
	net.Conn
	free func()
}

// Close closes the connection and frees its slot.
func (c *cappedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
