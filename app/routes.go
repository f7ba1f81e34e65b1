package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parley/account"
	"parley/internal/api"
	"parley/internal/bus/realtime"
)

// mount puts the whole server on one mux: the API's routes, the socket, the pages, and what operators watch.
func (s *server) mount() error {
	proxies, err := s.cfg.proxies()
	if err != nil {
		return err
	}
	m := newMetrics(s)
	s.edge, err = api.New(api.Options{
		Title: "Parley", Version: s.cfg.Version, Doc: "Conversations between a website's visitors and the people who answer them.",
		Logger: s.log, BaseURL: s.cfg.BaseURL, TrustedProxies: proxies,
		Members: s.account.Authenticate, Visitors: s.chat.Bearer,
		Cookie:   func(name string) bool { _, ok := s.catalog.Cookie(name); return ok },
		Policies: policies(), CrossOrigin: nil, Observe: m.observe,
	})
	if err != nil {
		return err
	}
	s.edge.Mount(slices.Concat(account.Routes(s.account), s.persons.Routes(), s.chat.Routes(), s.privacy.Routes())...)
	s.hub, err = realtime.New(realtime.Options{
		Handlers: s.chat.Handlers(s.account.Authenticate), Redis: s.redis, Logger: s.log, Version: s.cfg.Version,
		AllowOrigin: sameOrigin, ClientAddr: api.ClientAddr,
		Limits: realtime.Limits{ConnectRate: float64(s.cfg.ConnectsPerSecond), ConnectBurst: 10 * s.cfg.ConnectsPerSecond,
			CommandRate: float64(s.cfg.SocketCommands), CommandBurst: 2 * s.cfg.SocketCommands},
	})
	if err != nil {
		return err
	}
	mux := s.edge.Mux()
	mux.Handle("GET /ws", s.hub)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", nearby(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})))
	mountStatics(mux, s.chat)
	return nil
}

// sameOrigin lets browsers connect from our own pages only: the cookie would otherwise open the socket to any site that a
// member visits. The widget's frame is one of our pages. Programs send no Origin.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || origin == api.PublicURL(r)
}

// readyz tells a load balancer whether to send people here.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.check(r.Context()); err != nil || !s.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s *server) check(ctx context.Context) error {
	if err := s.data.Ping(ctx); err != nil {
		return err
	}
	return s.keys.Ping(ctx)
}

// nearby keeps figures for this machine and its private network.
func nearby(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !api.Nearby(r.Context()) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
