package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"parley/account"
	"parley/internal/api"
	"parley/internal/bus/realtime"
	"parley/internal/fault"
)

const (
	stopWithin   = 15 * time.Second // for requests under way when the server is asked to stop
	headerWithin = 10 * time.Second
)

// Serve opens the data of cfg and serves it until ctx ends, then stops gracefully: sockets are told to come back, requests
// under way are answered, everything is closed. What to open in a browser is printed to stdout.
func Serve(ctx context.Context, cfg Config, stdout, stderr io.Writer) error {
	started := time.Now()
	if err := cfg.resolve(); err != nil {
		return err
	}
	if err := cfg.checkListen(); err != nil {
		return err
	}
	// The port first: a second server on the same port must say so before it waits for locks.
	l, err := listen(cfg.Listen, "--listen")
	if err != nil {
		return err
	}
	cfg.Listen = l.Addr().String()
	a, err := open(ctx, cfg, stderr)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	err = a.serve(ctx, l, started, stdout)
	return errors.Join(err, a.Close())
}

func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Conflict, "app.listen", "port_in_use", fmt.Sprintf("%s %s: another program listens there. Stop it or choose another port.", flag, addr))
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "app.listen", "listen_failed", fmt.Sprintf("%s %s: %v", flag, addr, err))
	}
	return l, nil
}

// server is an App with its listeners.
type server struct {
	*App
	edge  *api.API
	hub   *realtime.Hub
	ready atomic.Bool
}

func (a *App) serve(ctx context.Context, l net.Listener, started time.Time, stdout io.Writer) error {
	s := &server{App: a}
	if err := a.aloneOrJoined(ctx); err != nil {
		return err
	}
	if err := s.mount(); err != nil {
		return err
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx)) // what must outlive the request to stop
	defer stop()
	a.account.Link(account.Links{Announcer: announcer{a.bus}, Dropper: s.hub, Presence: presence{s.hub}})
	if !a.cfg.Demo { // the demo makes its own member
		if _, err := a.account.PrepareFirstRun(ctx); err != nil {
			return err
		}
	}
	control, err := a.listenControl()
	if err != nil {
		return err
	}
	a.chat.Serve(inner, s.hub)
	ctx, cancel := context.WithCancel(ctx) // so that a failure below ends what was begun
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	web := &http.Server{Handler: s.edge.Handler(), ReadHeaderTimeout: headerWithin, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return inner }, ErrorLog: libraryLog(a.log, "http")}
	g.Go(func() error { return a.bus.Run(gctx) })
	g.Go(func() error { return a.serveControl(gctx, control) })
	g.Go(func() error { return served(web.Serve(l)) })
	if err := s.demo(gctx, g, stdout); err != nil {
		cancel()
		return errors.Join(err, web.Close(), g.Wait())
	}
	g.Go(func() error {
		<-gctx.Done()
		return s.stop(web)
	})
	s.ready.Store(true)
	a.log.Info("ready", "listen", l.Addr().String(), "engine", a.data.Engine().String(), "data", a.cfg.Data, "version", a.cfg.Version,
		"took", time.Since(started).Round(time.Millisecond))
	if a.cfg.OnReady != nil {
		a.cfg.OnReady("http://" + a.cfg.Listen)
	}
	if !a.cfg.Demo {
		fmt.Fprintf(stdout, "Parley is ready: %s/app/\n", a.cfg.publicURL())
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// served hides the error that a server returns when it was stopped.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop ends the sockets first, with the advice to come back, then waits for requests under way.
func (s *server) stop(web *http.Server) error {
	s.ready.Store(false)
	s.log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return errors.Join(s.hub.Shutdown(ctx), served(web.Shutdown(ctx)))
}
