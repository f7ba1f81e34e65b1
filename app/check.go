package app

import (
	"context"
	"time"

	"parley/internal/api"
	"parley/internal/fault"
	"parley/internal/rtc/transport"
)

const (
	checksPerSecond = 0.5 // of one address
	checksBurst     = 12  // three ways and the relay's address, for a few people behind one address
	// checkCredential is how long relays may be opened for a check. Anybody gets such a credential, so transport gives little for it:
	// four relays, a minute each, of a share that is not the callers'.
	checkCredential = 2 * time.Minute
)

type iceOutput struct {
	Body struct {
		Servers []transport.ICEServer `json:"ice_servers" nullable:"false" doc:"The relay (TURN), with a credential for two minutes"`
		UDP     bool                  `json:"udp" doc:"Media can go over UDP"`
		TCP     bool                  `json:"tcp"`
		TURN    bool                  `json:"turn" doc:"There is a relay over UDP"`
		TURNTLS bool                  `json:"turn_tls" doc:"There is a relay over TLS"`
	}
}

type offerInput struct {
	Body struct {
		Kind string `json:"kind" enum:"udp,tcp,relay" doc:"The way to try; for relay the client restricts itself to relays"`
		SDP  string `json:"sdp" maxLength:"16384" doc:"An offer with one data channel named echo, its candidates gathered"`
	}
}

type answerOutput struct {
	Body struct {
		SDP string `json:"sdp" doc:"The answer. The data channel returns whatever it is sent, for twenty seconds"`
	}
}

// checkRoutes are what the page /w/check tries the network with. They know nobody: an address counts for the limit, for as
// long as that needs it.
func (s *server) checkRoutes() []api.Route {
	route := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: "/widget/check" + path, Access: api.Public, Name: name, Summary: summary, Tag: "Calls"}
	}
	limit := api.NewLimiter(checksPerSecond, checksBurst)
	allowed := func(ctx context.Context, op string) error {
		if s.calls.transport == nil {
			return fault.New(fault.Unavailable, op, "calls_off", "Calls are switched off on this server.")
		}
		if wait := limit.Address(api.ClientAddrOf(ctx)); wait > 0 {
			return fault.Retry(op, "too_many_checks", "Too many checks from here. Wait a little.", wait)
		}
		return nil
	}
	return []api.Route{
		api.Op(route("GET", "/ice", "check-ways", "The ways that media can take to this server"), func(ctx context.Context, _ *struct{}) (*iceOutput, error) {
			if err := allowed(ctx, "app.checkWays"); err != nil {
				return nil, err
			}
			out := &iceOutput{}
			udp, tcp, turn, turnTLS := s.calls.transport.Addresses()
			out.Body.UDP, out.Body.TCP, out.Body.TURN, out.Body.TURNTLS = udp.IsValid(), tcp.IsValid(), turn.IsValid(), turnTLS.IsValid()
			out.Body.Servers = append([]transport.ICEServer{}, s.calls.transport.ICEServers("", checkCredential)...)
			return out, nil
		}),
		api.Op(route("POST", "/offer", "check-way", "Try one way"), func(ctx context.Context, in *offerInput) (out *answerOutput, err error) {
			if err := allowed(ctx, "app.checkWay"); err != nil {
				return nil, err
			}
			kind, err := transport.ParseKind(in.Body.Kind)
			if err != nil {
				return nil, err
			}
			out = &answerOutput{}
			out.Body.SDP, err = s.calls.transport.Check(ctx, kind, in.Body.SDP)
			return out, err
		}),
	}
}
