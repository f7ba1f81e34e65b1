package app

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"parley/internal/api"
	"parley/internal/rtc"
	"parley/internal/rtc/transport"
	"parley/video"
)

// drainWithin is how long the people in calls may take to go when the server stops.
const drainWithin = 5 * time.Second

// calls are the media ports and the engine behind them; both nil where calls are off.
type calls struct {
	transport *transport.Transport
	engine    *rtc.Engine
}

// openCalls opens the media ports and the engine. Without any port, calls are off; and where several processes share the data,
// because a call's room is in one of them and a load balancer does not know which.
func (s *server) openCalls(ctx context.Context) error {
	p := s.cfg.ports
	if p.udp == "" && p.tcp == "" {
		s.log.Info("calls are off: --rtc-udp and --rtc-tcp are")
		return nil
	}
	if s.cfg.Redis != "" {
		s.log.Warn("calls are off: with --redis a call's room would be in one of several processes")
		return nil
	}
	ips, err := s.cfg.publicIPs()
	if err != nil {
		return err
	}
	cfg := transport.Config{UDP: p.udp, TCP: p.tcp, TURN: p.turn, PublicIPs: ips, Loopback: p.loopback, Log: s.log}
	if s.cfg.TLSCert != "" || s.cfg.Domain != "" {
		cfg.TURNTLS, cfg.TLS = p.turnTLS, s.tlsConfig()
		if u, err := url.Parse(s.cfg.BaseURL); err == nil { // the name that the certificate is for; with --domain its first
			cfg.TURNHost = u.Hostname()
		}
	}
	if p.udp == "" { // the relay ends at the UDP port
		cfg.TURN, cfg.TURNTLS = "", ""
	}
	if s.calls.transport, err = transport.Open(cfg); err != nil {
		return err
	}
	s.closing(s.calls.transport.Close)
	s.calls.engine, err = rtc.New(rtc.Config{Transport: s.calls.transport, Log: s.log, ClientAddr: api.ClientAddr, AllowOrigin: api.SameOrigin,
		OnEvent: func(ev rtc.Event) { s.happened(ctx, ev) }})
	if err != nil {
		return err
	}
	s.closing(s.calls.engine.Close)
	return nil
}

// serveCalls gives the domain its engine.
func (s *server) serveCalls(ctx context.Context) error {
	if s.calls.engine == nil {
		return s.video.Serve(ctx, nil)
	}
	return s.video.Serve(ctx, room{s.calls.engine})
}

// mountCalls puts the engine's signalling on the mux.
func (s *server) mountCalls(mux *http.ServeMux) {
	if s.calls.engine == nil {
		return
	}
	mux.Handle("GET /rtc", s.calls.engine)
	mux.Handle("/rtc/", s.calls.engine)
}

// stopCalls ends the calls, tells the people in them and waits for them to go.
func (s *server) stopCalls(ctx context.Context) error {
	err := s.video.Shutdown(ctx)
	if s.calls.engine != nil {
		ctx, cancel := context.WithTimeout(ctx, drainWithin)
		defer cancel()
		if e := s.calls.engine.Drain(ctx); e != nil && !errors.Is(e, context.DeadlineExceeded) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// happened hands what the engine says to the domain.
func (s *server) happened(ctx context.Context, ev rtc.Event) {
	kinds := map[rtc.EventType]video.MediaEventKind{rtc.ParticipantJoined: video.MediaJoined, rtc.ParticipantLeft: video.MediaLeft, rtc.RoomClosed: video.MediaClosed}
	if kind, ok := kinds[ev.Type]; ok {
		s.video.Happened(ctx, video.MediaEvent{Kind: kind, Room: ev.Room, Identity: ev.Identity})
	}
}

// room is the engine, as calls want it.
type room struct{ engine *rtc.Engine }

// Open opens a room.
func (r room) Open(id string, most int) error { return r.engine.OpenRoom(id, most) }

// Close ends a room.
func (r room) Close(id string, why video.Reason) {
	reason := rtc.ReasonRoomClosed
	if why == video.Shutdown {
		reason = rtc.ReasonShutdown
	}
	r.engine.CloseRoom(id, reason)
}

// Remove ends somebody's participation.
func (r room) Remove(id, identity string, why video.Departure) {
	reason := rtc.ReasonRoomClosed
	switch why {
	case video.Replaced:
		reason = rtc.ReasonDuplicate
	case video.Removed:
		reason = rtc.ReasonRemoved
	case video.Left:
		reason = rtc.ReasonLeft
	case video.Over:
	}
	r.engine.RemoveParticipant(id, identity, reason)
}

// Token lets the bearer into a room.
func (r room) Token(g video.Grant) (string, error) {
	return r.engine.Token(rtc.Grant{Room: g.Room, Identity: g.Identity, Role: rtc.Publisher, Life: g.Life})
}

// Present counts who is in a room.
func (r room) Present(id string) int { return r.engine.Present(id) }

// ports are where the media listen; "" is off.
type ports struct {
	udp, tcp, turn, turnTLS string
	loopback                bool
}

// listensOnLoopback reports whether an address is this machine's alone.
func listensOnLoopback(hostport string) bool {
	a, err := netip.ParseAddrPort(hostport)
	return err == nil && a.Addr().IsLoopback()
}
