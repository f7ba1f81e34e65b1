// Package api is the HTTP edge that every domain shares: the route table with its one authorisation rule, problem
// documents, cursors, idempotency keys, security headers, the access log, and the pages that describe the API.
//
// It knows no domain: who a caller is comes from the Authenticators it is given, and what a route does from the
// domain's handler. It writes no address, query or body to a log, and sets no cookie; it drops those nobody declared.
package api

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"parley/internal/actor"
)

// Prefix is the path that every operation is below.
const Prefix = "/api/v1"

// DefaultMaxBody is the limit of a JSON request body, in bytes, unless a route says otherwise.
const DefaultMaxBody = 64 << 10

// Authenticator says who sent a request. It returns a fault of kind Unauthenticated when nobody it knows did.
type Authenticator func(r *http.Request) (actor.Actor, error)

// Options configure an API. Only Title is required.
type Options struct {
	Title   string // of the OpenAPI document and its page
	Version string
	Doc     string // Markdown-free introduction shown above the operations

	Logger *slog.Logger // nil: nothing is logged

	// BaseURL is the public address ("https://chat.example"), without a final slash. Empty: taken from the
	// request, and from X-Forwarded-* where a trusted proxy sent it.
	BaseURL string
	// TrustedProxies may say who called and under which address, by X-Forwarded-For, -Proto and -Host.
	TrustedProxies []netip.Prefix

	Members  Authenticator // of Member and Manager routes
	Visitors Authenticator // of Visitor and AnyVisitor routes
	// HasBearer reports whether a request brings a visitor's token at all; nil: by its Authorization header.
	HasBearer func(r *http.Request) bool

	// Cookie reports whether the catalogue declares a cookie of the name; a Set-Cookie it does not know is
	// dropped (promise D1). nil drops them all.
	Cookie func(name string) bool

	// Policies give the Content-Security-Policy of paths outside the API, longest prefix first wins.
	Policies []Policy
	// CrossOrigin are ServeMux patterns of unsafe routes that other origins may call because no cookie
	// authorises them ("POST /api/v1/widget/").
	CrossOrigin []string

	MaxBody int64 // upper limit of any request body in bytes; default 1 MiB
	Texts   []Texts
	Observe func(Observation) // called once per request, for metrics; must not block
}

// Observation is what is known of a finished request. It identifies nobody.
type Observation struct {
	Method string
	Route  string // pattern, never the path: ids stay out of metrics
	Status int
	Took   time.Duration
}

// API is one server's HTTP edge.
type API struct {
	opt    Options
	mux    *http.ServeMux
	huma   huma.API
	texts  *catalogue
	cross  *http.CrossOriginProtection
	routes []Route
	log    *slog.Logger

	describe sync.Once
	openapi  []byte
	page     []byte
	pageCSP  string
}

// New makes an API without routes. Errors are those of configuration: a base URL, pattern or text that cannot be read.
func New(opt Options) (*API, error) {
	if opt.MaxBody <= 0 {
		opt.MaxBody = 1 << 20
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Cookie == nil {
		opt.Cookie = func(string) bool { return false }
	}
	if opt.HasBearer == nil {
		opt.HasBearer = func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }
	}
	base, err := cleanBase(opt.BaseURL)
	if err != nil {
		return nil, err
	}
	opt.BaseURL = base
	texts, err := newCatalogue(opt.Texts)
	if err != nil {
		return nil, err
	}
	a := &API{opt: opt, mux: http.NewServeMux(), texts: texts, log: opt.Logger}
	if err := a.protect(); err != nil {
		return nil, err
	}
	a.huma = a.newHuma()
	a.mux.HandleFunc("GET /openapi.json", a.serveOpenAPI)
	a.mux.HandleFunc("GET /api", a.servePage)
	a.mux.HandleFunc("GET /api/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/api", http.StatusMovedPermanently)
	})
	a.mux.HandleFunc(Prefix+"/", a.serveUnknown)
	return a, nil
}

func (a *API) newHuma() huma.API {
	cfg := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: a.opt.Title, Version: a.opt.Version, Description: a.opt.Doc},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"member":  {Type: "apiKey", In: "cookie", Name: "__Host-parley", Description: "A member's session, from POST /session."},
					"visitor": {Type: "http", Scheme: "bearer", Description: "A visitor's token, from the answer to the first message."},
				},
			},
		},
		Formats:       formats(),
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.transform},
	}
	return humago.NewWithPrefix(a.mux, Prefix, cfg)
}

// Huma returns the operations' registry, for what Route does not cover.
func (a *API) Huma() huma.API { return a.huma }

// Mux returns the mux on which the API stands; the server mounts its other paths on it.
func (a *API) Mux() *http.ServeMux { return a.mux }

// Routes returns what was mounted, in order.
func (a *API) Routes() []Route { return a.routes }

// serveUnknown answers for paths below Prefix that no route has: 405 where another method would do, else 404.
func (a *API) serveUnknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := a.mux.Handler(probe); pattern != "" && pattern != Prefix+"/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		a.write(w, r, &Document{Status: http.StatusNotFound, Code: "route_unknown"})
		return
	}
	for _, m := range allowed {
		w.Header().Add("Allow", m)
	}
	a.write(w, r, &Document{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed"})
}
