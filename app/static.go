package app

import (
	"io/fs"
	"net/http"
	"path"
	"strings"

	"parley/chat"
	"parley/internal/api"
	"parley/internal/fault"
	"parley/web"
)

// The Content-Security-Policies of our pages. Nothing is inline and nobody else is asked for anything (promise D11).
const (
	pageCSP   = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
	appCSP    = pageCSP + "frame-ancestors 'none'"
	assetsCSP = "default-src 'none'; frame-ancestors 'none'"
)

// callPolicy lets our own pages, and no frame inside of them, ask for what a call needs. In the widget's frame it takes the
// host page's leave as well, which the loader asks for with allow=.
const callPolicy = "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), picture-in-picture=(self), " +
	"screen-wake-lock=(self), interest-cohort=(), browsing-topics=()"

// statics serves the front ends that are built into the binary.
type statics struct {
	files fs.FS
	chat  *chat.Service
}

func mountStatics(mux *http.ServeMux, c *chat.Service) {
	s := &statics{files: web.Dist(), chat: c}
	mux.HandleFunc("GET /app/", s.app)
	mux.HandleFunc("GET /w/{site}", s.frame)
	mux.HandleFunc("GET /w/check", s.check)
	mux.HandleFunc("GET /w/assets/", s.asset)
	mux.HandleFunc("GET /widget.js", s.loader)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/app/", http.StatusFound) })
	mux.HandleFunc("GET /app", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/app/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		api.Problem(w, r, fault.New(fault.NotFound, "app", "route_unknown", "There is nothing at this address."))
	})
}

// policies tells the edge which policy a path has; the frame's own depends on its site and is set by the handler.
func policies() []api.Policy {
	return []api.Policy{
		{Prefix: "/app/assets/", CSP: assetsCSP}, {Prefix: "/app/", CSP: appCSP}, {Prefix: "/w/assets/", CSP: assetsCSP},
		{Prefix: "/w/check", CSP: appCSP}, {Prefix: "/w/", CSP: pageCSP + "frame-ancestors 'none'", Framed: true}, {Prefix: "/widget.js", CSP: assetsCSP},
	}
}

func (s *statics) app(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/app/assets/") {
		s.asset(w, r)
		return
	}
	s.page(w, r, "app/app.html")
}

// check serves the preflight page: anybody may try camera, sound and network there, and it knows nobody.
func (s *statics) check(w http.ResponseWriter, r *http.Request) {
	s.page(w, r, "w/check.html")
}

// asset serves a file whose name changes with its content.
func (s *statics) asset(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if info, err := fs.Stat(s.files, name); err != nil || info.IsDir() {
		api.Problem(w, r, fault.New(fault.NotFound, "app", "route_unknown", "There is no such file."))
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeFileFS(w, r, s.files, name) //nolint:gosec // a file system of embedded files: there is nothing outside it
}

func (s *statics) page(w http.ResponseWriter, r *http.Request, name string) {
	data, err := fs.ReadFile(s.files, name)
	if err != nil {
		api.Problem(w, r, fault.New(fault.Unavailable, "app", "web_not_built", "The pages were not built into this binary. Run make build."))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Permissions-Policy", callPolicy)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(data) // the browser went away; nothing is lost
}

// frame serves the widget's frame to the pages that the site allows, and to no other: the browser enforces frame-ancestors.
func (s *statics) frame(w http.ResponseWriter, r *http.Request) {
	st, err := s.chat.Site(r.Context(), r.PathValue("site"))
	if err != nil {
		api.Problem(w, r, err)
		return
	}
	w.Header().Set("Content-Security-Policy", pageCSP+"frame-ancestors 'self' "+strings.Join(st.Origins, " "))
	s.page(w, r, "w/widget.html")
}

// loader serves the script of the embed snippet to any page; the site's origins are checked when it asks for the site.
func (s *statics) loader(w http.ResponseWriter, r *http.Request) {
	if _, err := fs.Stat(s.files, "widget.js"); err != nil {
		api.Problem(w, r, fault.New(fault.Unavailable, "app", "web_not_built", "The widget was not built into this binary. Run make build."))
		return
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	http.ServeFileFS(w, r, s.files, "widget.js")
}
