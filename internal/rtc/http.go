package rtc

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"parley/internal/fault"
)

// Paths that the engine answers. Those of newer protocols are 404, and clients fall back to these.
const (
	pathJoin     = "/rtc"
	pathValidate = "/rtc/validate"
)

// joinRequest is what the URL of a join says.
type joinRequest struct {
	verified

	resume        bool   // go on with the participation named by sid
	sid           string // of the participation to be resumed
	autoSubscribe bool
	mids          bool // the client finds out by the section of an offer which track it is
}

// ServeHTTP answers GET /rtc, a WebSocket that carries signalling, and GET /rtc/validate, which says in words what is wrong when a
// browser could not open the former: it tells pages no status of a refused WebSocket.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path != pathJoin && path != pathValidate {
		http.Error(w, "There is nothing here: this server speaks the signalling protocol's version 0, at "+pathJoin+".", http.StatusNotFound)
		return
	}
	if !e.allowOrigin(r) {
		e.refuse(w, fault.New(fault.Forbidden, "rtc.ServeHTTP", "origin_refused", "This page may not take part in calls on this server."))
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" { // allowOrigin has said yes
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Add("Vary", "Origin")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET is answered here.", http.StatusMethodNotAllowed)
		return
	}
	socket := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	req, err := e.admit(r, socket && path == pathJoin)
	if err != nil {
		e.refuse(w, err)
		return
	}
	if path == pathValidate {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("success"))
		return
	}
	if !socket {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "This address is for WebSockets.", http.StatusUpgradeRequired)
		return
	}
	e.accept(w, r, req)
}

func (e *Engine) allowOrigin(r *http.Request) bool {
	if e.cfg.AllowOrigin != nil {
		return e.cfg.AllowOrigin(r)
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser, or a page of this host that does not say so
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// admit checks everything that can be said about a join before the connection is made. enters is false for who only asks.
func (e *Engine) admit(r *http.Request, enters bool) (joinRequest, error) {
	const op = "rtc.admit"
	if ok, wait := e.joins.take(e.clientAddr(r), e.now()); !ok {
		e.stats.refusedJoins.Add(1)
		return joinRequest{}, fault.Retry(op, "too_many_joins", "Too many people join from your address at once. Try again in a moment.", wait)
	}
	q := r.URL.Query()
	token := q.Get("access_token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && token == "" {
		token = bearer
	}
	v, err := e.verify(token)
	if err != nil {
		e.stats.refusedTokens.Add(1)
		return joinRequest{}, err
	}
	req := joinRequest{verified: v, resume: truth(q.Get("reconnect"), false), sid: q.Get("sid"), autoSubscribe: truth(q.Get("auto_subscribe"), true),
		mids: readsMids(q)}
	rm := e.room(v.Room)
	switch {
	case e.stopping():
		return req, errStopping(op)
	case rm == nil:
		e.stats.refusedTokens.Add(1)
		return req, fault.New(fault.NotFound, op, "room_unknown", "requested room does not exist: the call is over, or has not begun.")
	}
	if err := rm.mayJoin(req); err != nil || req.resume {
		return req, err
	}
	return req, rm.pace(req.Identity, enters)
}

func (e *Engine) clientAddr(r *http.Request) netip.Addr {
	if e.cfg.ClientAddr != nil {
		return e.cfg.ClientAddr(r)
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr()
}

func truth(s string, otherwise bool) bool {
	if s == "" {
		return otherwise
	}
	b, err := strconv.ParseBool(s)
	return err == nil && b
}

// midProtocol is the first version of the signalling protocol whose browser client reads mid_to_track_id.
const midProtocol = 16

func readsMids(q url.Values) bool {
	version, err := strconv.Atoi(q.Get("protocol"))
	return err == nil && version >= midProtocol && q.Get("sdk") == "js"
}

// refuse answers with a status and a text for people: livekit-client shows it as the error's message.
func (e *Engine) refuse(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	status, text := http.StatusInternalServerError, "Something went wrong on the server."
	switch f.Kind {
	case fault.Unauthenticated:
		status, text = http.StatusUnauthorized, f.Text
	case fault.Forbidden:
		status, text = http.StatusForbidden, f.Text
	case fault.NotFound:
		status, text = http.StatusNotFound, f.Text
	case fault.Conflict:
		status, text = http.StatusConflict, f.Text
	case fault.RateLimited:
		status, text = http.StatusTooManyRequests, f.Text
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(f.RetryAfter, time.Second).Seconds()))))
	case fault.Unavailable:
		status, text = http.StatusServiceUnavailable, f.Text
	case fault.Internal, fault.Invalid, fault.Malformed, fault.Gone, fault.TooLarge, fault.Full:
	}
	http.Error(w, text, status)
}

// accept makes the connection and serves it until it ends.
func (e *Engine) accept(w http.ResponseWriter, r *http.Request, req joinRequest) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // allowOrigin has decided
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(int64(e.limits.SignalBytes))
	e.stats.signalling.Add(1)
	defer e.stats.signalling.Add(-1)
	c := newSignalConn(e, ws)
	p, err := e.enter(req, c)
	if err != nil {
		c.leave(reasonOf(err), signalLeaveAction(err))
		c.finish()
		return
	}
	c.serve(p)
	p.do(func() { p.signallingLost(c) })
	c.finish()
}

// errResume says that there is nothing to be resumed; the client then joins anew by itself.
var errResume = errors.New("the participation is not there any more")
