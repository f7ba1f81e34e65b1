package app

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parley/account"
	"parley/chat"
	"parley/internal/api"
	"parley/internal/bus/realtime"
	"parley/person"
	"parley/privacy"
	"parley/video"
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
		Policies: policies(), CrossOrigin: nil, Observe: m.observe, Texts: []api.Texts{{FS: texts(chat.Texts)}, {FS: texts(person.Texts)}, {FS: texts(video.Texts)}, {FS: texts(privacy.Texts)}},
	})
	if err != nil {
		return err
	}
	s.edge.Mount(slices.Concat(account.Routes(s.account), s.persons.Routes(), s.chat.Routes(), s.video.Routes(), s.privacy.Routes(), s.checkRoutes())...)
	s.hub, err = realtime.New(realtime.Options{
		Handlers: s.chat.Handlers(s.account.Identify), Redis: s.redis, Logger: s.log, Version: s.cfg.Version,
		AllowOrigin: api.SameOrigin, ClientAddr: api.ClientAddr,
		Limits: realtime.Limits{ConnectRate: float64(s.cfg.ConnectsPerSecond), ConnectBurst: 10 * s.cfg.ConnectsPerSecond,
			CommandRate: float64(s.cfg.SocketCommands), CommandBurst: 2 * s.cfg.SocketCommands},
	})
	if err != nil {
		return err
	}
	mux := s.edge.Mux()
	mux.Handle("GET /ws", s.hub)
	s.mountCalls(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", nearby(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})))
	mountStatics(mux, s.chat)
	return nil
}

// texts is the folder that every domain embeds its messages in.
func texts(fsys fs.FS) fs.FS {
	sub, err := fs.Sub(fsys, "texts")
	if err != nil { // the name is a constant of the program
		panic("app: " + err.Error())
	}
	return sub
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
