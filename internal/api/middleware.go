package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"sort"
	"strings"
	"time"

	"parley/internal/fault"
)

// Policy is the Content-Security-Policy of the paths below a prefix.
type Policy struct {
	Prefix string // "/app/"
	CSP    string
	Framed bool // other sites may show it in a frame; CSP says which, by frame-ancestors
}

const apiCSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// Handler returns the whole server's handler: the mux inside everything that every request passes. Outermost first:
// request id and origin, access log, recovery, security headers and cookie gate, cross-origin protection, body limit.
func (a *API) Handler() http.Handler {
	policies := append([]Policy(nil), a.opt.Policies...)
	sort.SliceStable(policies, func(i, j int) bool { return len(policies[i].Prefix) > len(policies[j].Prefix) })
	var h http.Handler = http.HandlerFunc(a.dispatch)
	h = a.limitBody(h)
	h = a.cross.Handler(h)
	h = a.secure(policies, h)
	h = a.recover(h)
	h = a.accessLog(h)
	return a.withInfo(h)
}

// dispatch runs the mux and remembers the route's pattern for the log.
func (a *API) dispatch(w http.ResponseWriter, r *http.Request) {
	i := infoOf(r.Context())
	if i.refused {
		Problem(w, r, fault.Bad("api", "Idempotency-Key", "idempotency_key_too_long", ""))
		return
	}
	_, i.pattern = a.mux.Handler(r)
	a.mux.ServeHTTP(w, r)
}

func (a *API) protect() (err error) {
	a.cross = http.NewCrossOriginProtection()
	if a.opt.BaseURL != "" {
		if err := a.cross.AddTrustedOrigin(a.opt.BaseURL); err != nil {
			return fmt.Errorf("base URL: %w", err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cross-origin pattern: %v", p)
		}
	}()
	for _, p := range a.opt.CrossOrigin {
		a.cross.AddInsecureBypassPattern(p)
	}
	a.cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.sameBehindProxy(r) {
			a.limitBody(http.HandlerFunc(a.dispatch)).ServeHTTP(w, r)
			return
		}
		Problem(w, r, fault.New(fault.Forbidden, "api.CrossOrigin", "cross_origin", ""))
	}))
	return nil
}

// sameBehindProxy allows what the standard check refuses only because a trusted proxy changed the Host header: a
// browser that does not send Sec-Fetch-Site, from the origin that the proxy says is ours.
func (a *API) sameBehindProxy(r *http.Request) bool {
	i := infoOf(r.Context())
	if r.Header.Get("Sec-Fetch-Site") != "" || !a.trusted(i.peer) || i.base == "" {
		return false
	}
	return strings.EqualFold(r.Header.Get("Origin"), i.base)
}

func (a *API) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > a.opt.MaxBody {
			Problem(w, r, fault.New(fault.TooLarge, "api.MaxBody", "body_too_large", ""))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, a.opt.MaxBody)
		next.ServeHTTP(w, r)
	})
}

// secure sets the headers that every answer has; a handler may set its own over them.
func (a *API) secure(policies []Policy, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		csp, framed := apiCSP, false
		for _, p := range policies {
			if strings.HasPrefix(r.URL.Path, p.Prefix) {
				csp, framed = p.CSP, p.Framed
				break
			}
		}
		h.Set("Content-Security-Policy", csp)
		if !framed {
			h.Set("X-Frame-Options", "DENY")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
		if strings.HasPrefix(r.URL.Path, Prefix+"/") {
			h.Set("Cache-Control", "no-store")
			h.Set("Referrer-Policy", "no-referrer")
		}
		h.Set("Permissions-Policy", "interest-cohort=(), browsing-topics=()")
		if pinned(PublicURL(r)) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// pinned reports whether browsers shall ask for the public address by HTTPS only, for a year (promise I6). An address or localhost is
// whatever it is today: pinning it would shut out what somebody else runs there tomorrow.
func pinned(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	_, err = netip.ParseAddr(host)
	return err != nil && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}

// recover answers a panic with a 500. The value is not logged: it may hold what a person wrote.
func (a *API) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) || r.Context().Err() != nil {
				panic(http.ErrAbortHandler)
			}
			a.log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("request", RequestID(r.Context())),
				slog.String("route", infoOf(r.Context()).pattern), slog.String("cause", fmt.Sprintf("%T", p)),
				slog.String("stack", stack()))
			if rec, ok := w.(*recorder); ok && rec.wrote {
				panic(http.ErrAbortHandler) // half an answer is out: end the connection rather than pretend
			}
			Problem(w, r, fault.New(fault.Internal, "api.Recover", "internal", ""))
		}()
		next.ServeHTTP(w, r)
	})
}

// stack lists functions and lines, without arguments.
func stack() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "net/http.") && !strings.HasPrefix(f.Function, "runtime.") {
			file := f.File[strings.LastIndexByte(f.File, '/')+1:]
			fmt.Fprintf(&b, "%s %s:%d; ", f.Function, file, f.Line)
		}
		if !more {
			return strings.TrimSuffix(b.String(), "; ")
		}
	}
}

// accessLog writes one record a request: no address, no account, no query, no path but the route's pattern (promises E1, E3).
func (a *API) accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, allow: a.opt.Cookie}
		start := time.Now()
		defer func() {
			took, i := time.Since(start), infoOf(r.Context())
			status := rec.status
			if status == 0 {
				status = http.StatusOK
			}
			if a.opt.Observe != nil {
				a.opt.Observe(Observation{Method: method(r), Route: i.pattern, Status: status, Took: took})
			}
			a.log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("request", i.id), slog.String("method", method(r)),
				slog.String("route", i.pattern), slog.Int("status", status), slog.Float64("ms", float64(took.Microseconds())/1000))
			if rec.dropped > 0 {
				a.log.LogAttrs(r.Context(), slog.LevelWarn, "undeclared cookie dropped", slog.String("request", i.id), slog.String("route", i.pattern))
			}
		}()
		next.ServeHTTP(rec, r)
		rec.end()
	})
}

// method returns the method if it is a known one: a client may send any word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "OTHER"
}

// recorder notes the status and is the cookie gate: headers go out through it alone.
type recorder struct {
	http.ResponseWriter
	allow   func(name string) bool
	status  int
	dropped int
	wrote   bool
}

// WriteHeader drops undeclared cookies, then sends the header.
func (rec *recorder) WriteHeader(status int) {
	rec.gate()
	if status >= 200 || status == http.StatusSwitchingProtocols {
		if !rec.wrote {
			rec.status = status
		}
		rec.wrote = true
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write sends the header if that has not happened.
func (rec *recorder) Write(b []byte) (int, error) {
	if !rec.wrote {
		rec.WriteHeader(http.StatusOK)
	}
	return rec.ResponseWriter.Write(b)
}

// FlushError sends the header through the gate before anything beneath it would.
func (rec *recorder) FlushError() error {
	if !rec.wrote {
		rec.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(rec.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController and sockets reach the connection.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// end passes the gate for a handler that wrote nothing: net/http sends its header after it returned.
func (rec *recorder) end() {
	if !rec.wrote {
		rec.gate()
	}
}

func (rec *recorder) gate() {
	set := rec.Header()["Set-Cookie"]
	if len(set) == 0 {
		return
	}
	var keep []string
	for _, line := range set {
		name, _, _ := strings.Cut(line, "=")
		if rec.allow(strings.TrimSpace(name)) {
			keep = append(keep, line)
		} else {
			rec.dropped++
		}
	}
	if len(keep) == 0 {
		rec.Header().Del("Set-Cookie")
		return
	}
	rec.Header()["Set-Cookie"] = keep
}

// CookieGate wraps a handler that does not stand behind Handler: it drops every Set-Cookie whose name allow does not know.
func CookieGate(allow func(name string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, allow: allow}
		next.ServeHTTP(rec, r)
		rec.end()
	})
}

// sameOrigin reports whether an Origin header names this server.
func sameOrigin(origin, base string) bool {
	o, err := url.Parse(origin)
	if err != nil || base == "" {
		return false
	}
	return strings.EqualFold(o.Scheme+"://"+o.Host, base)
}

// SameOrigin reports whether a request comes from this server's own pages or from no page at all. Sockets ask: the
// standard protection only looks at unsafe methods.
func SameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		o := r.Header.Get("Origin")
		return o == "" || sameOrigin(o, PublicURL(r))
	}
	return false
}
