package prove

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"parley/app"
)

// server is the real one, in this process, on the scratch installation.
type server struct {
	url    string
	cancel context.CancelFunc
	done   chan error
}

const (
	startWithin = time.Minute
	stopWithin  = 30 * time.Second
)

// config is how the scratch installation is run: behind a proxy that it trusts, as in production, so that what clients say of
// their addresses is believed and used.
func (r *run) config() app.Config {
	return app.Config{Data: r.data, Listen: "127.0.0.1:0", Database: r.opt.Database, Redis: r.opt.Redis, Proxies: "127.0.0.1/32",
		LogLevel: "debug", LogFormat: "json", Version: r.opt.Version}
}

// start starts the server and lets the proof speak to it.
func (r *run) start(ctx context.Context) error {
	cfg, ready := r.config(), make(chan string, 1)
	cfg.OnReady = func(url string) { ready <- url }
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &server{cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- app.Serve(ctx, cfg, r.out, r.log) }()
	select {
	case s.url = <-ready:
	case err := <-s.done:
		cancel()
		return fmt.Errorf("the scratch server did not start: %w", err)
	case <-time.After(startWithin):
		cancel()
		return errors.New("the scratch server was not ready in time")
	}
	r.server = s
	return r.gate.Allow("self", strings.TrimPrefix(s.url, "http://"))
}

// stop stops the server, if it runs.
func (r *run) stop() error {
	s := r.server
	if s == nil {
		return nil
	}
	r.server = nil
	r.http.CloseIdleConnections()
	s.cancel()
	select {
	case err := <-s.done:
		if err != nil {
			return fmt.Errorf("the scratch server stopped badly: %w", err)
		}
		return nil
	case <-time.After(stopWithin):
		return errors.New("the scratch server did not stop in time")
	}
}

// opened opens the installation without serving it, for as long as fn runs.
func (r *run) opened(ctx context.Context, fn func(*app.App) error) error {
	cfg := r.config()
	cfg.LogLevel = "error"
	a, err := app.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("the scratch installation could not be opened: %w", err)
	}
	return errors.Join(fn(a), a.Close())
}

// control is the operator's way in: the socket in the data directory.
func (r *run) control(ctx context.Context, fn func(app.Admin) error) error {
	if _, err := os.Stat(r.data); err != nil {
		return err
	}
	admin, done, err := app.Control(ctx, app.Config{Data: r.data, LogLevel: "error"})
	if err != nil {
		return err
	}
	return errors.Join(fn(admin), done())
}
