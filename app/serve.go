package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"parley/account"
	"parley/internal/api"
	"parley/internal/bus/realtime"
)

const stopWithin = 15 * time.Second // for requests under way when the server is asked to stop

// Serve opens the data of cfg and serves it until ctx ends, then stops gracefully: sockets are told to come back, requests
// under way are answered, everything is closed. What to open in a browser is printed to stdout.
func Serve(ctx context.Context, cfg Config, stdout, stderr io.Writer) (err error) {
	started := time.Now()
	if err := cfg.resolve(); err != nil {
		return err
	}
	if err := errors.Join(cfg.checkListen(), cfg.checkCertFiles()); err != nil {
		return err
	}
	// The ports first: a second server on the same port must say so before it waits for locks.
	f, err := cfg.listenAll()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	cfg.Listen = f.main.Addr().String()
	a, err := open(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	err = a.serve(ctx, f, started, stdout)
	return errors.Join(err, a.Close())
}

// server is an App with its listeners.
type server struct {
	*App
	edge  *api.API
	hub   *realtime.Hub
	calls calls
	certs certificates // nil: somebody else ends TLS, or nobody needs it
	ready atomic.Bool
}

func (a *App) serve(ctx context.Context, f front, started time.Time, stdout io.Writer) error {
	s := &server{App: a}
	if err := a.aloneOrJoined(ctx); err != nil {
		return err
	}
	if err := s.openTLS(ctx); err != nil {
		return err
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx)) // what must outlive the request to stop
	defer stop()
	if err := s.openCalls(inner); err != nil {
		return err
	}
	if err := s.mount(); err != nil {
		return err
	}
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
	if err := s.serveCalls(inner); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // so that a failure below ends what was begun
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.bus.Run(gctx) })
	g.Go(func() error { return a.serveControl(gctx, control) })
	web := s.listenWeb(gctx, inner, g, f)
	if err := s.demo(gctx, g, stdout); err != nil {
		cancel()
		return errors.Join(err, web.Close(), g.Wait())
	}
	g.Go(func() error {
		<-gctx.Done()
		return s.stop(web)
	})
	s.ready.Store(true)
	a.log.Info("ready", "listen", f.main.Addr().String(), "engine", a.data.Engine().String(), "data", a.cfg.Data, "version", a.cfg.Version,
		"took", time.Since(started).Round(time.Millisecond))
	if a.cfg.OnReady != nil {
		a.cfg.OnReady(a.cfg.scheme() + a.cfg.Listen)
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

// stop ends the calls while people can still be told, then the sockets, with the advice to come back, and waits for requests under way.
func (s *server) stop(web *http.Server) error {
	s.ready.Store(false)
	s.log.Info("stopping")
	calls, done := context.WithTimeout(context.Background(), stopWithin)
	defer done()
	err := s.stopCalls(calls)
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin) // whatever the calls took: requests have the time that is documented
	defer cancel()
	return errors.Join(err, s.hub.Shutdown(ctx), served(web.Shutdown(ctx)))
}
