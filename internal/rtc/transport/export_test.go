package transport

import (
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/stun/v3"
)

// Shorter is cfg with other limits of time: for TCP connections that prove nothing, and for checks.
func Shorter(cfg Config, fresh, check time.Duration) Config {
	cfg.fresh, cfg.checkLife = fresh, check
	return cfg
}

// DefaultInterface is the reader of Linux's table of routes.
func DefaultInterface(r io.Reader) string { return defaultInterface(r) }

// Choose is the choice of addresses on a machine that has some: what is bound, and what is announced for each.
func Choose(cfg Config, host netip.Addr, has []netip.Addr, byRoute netip.Addr) (bound []netip.Addr, announced [][]netip.Addr, err error) {
	ls, err := machine{has, byRoute}.choose(cfg, host)
	for _, l := range ls {
		bound, announced = append(bound, l.addr), append(announced, l.announce)
	}
	return bound, announced, err
}

// Limits of TCP.
const (
	MaxTCPAddress = maxTCPAddress
	MaxFresh      = maxFresh
)

// ParseTURNUser reads a user name of TURN.
func ParseTURNUser(s string) (time.Time, string, bool) { return parseUser(s) }

// Quota says whether the user, who comes from the address, could have one more allocation.
func Quota(t *Transport, user string, from net.Addr) bool {
	_, id, _ := parseUser(user)
	return t.relays.quota(id, "", from)
}

// Plausible says what a packet could be.
func Plausible(b []byte) (media, turn bool) { return mediaPacket(b), turnPacket(b) }

// Nominations is the judge of nominations.
type Nominations struct{ n nominations }

// NewNominations makes one.
func NewNominations(tooMany func()) *Nominations {
	return &Nominations{nominations{tooMany: tooMany}}
}

// Request is one check.
func (n *Nominations) Request(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool {
	return n.n.request(m, local, remote, pair)
}

// Ack is what a client says about a packet.
type Ack struct {
	Sent, Arrived time.Duration
	Size          int
	Lost          bool
}

// Estimate is the controller.
type Estimate struct{ e *estimate }

// NewEstimate makes one.
func NewEstimate() Estimate { return Estimate{newEstimate()} }

// Feedback is one report.
func (e Estimate) Feedback(now time.Duration, acks []Ack) float64 {
	in := make([]ack, len(acks))
	for i, a := range acks {
		in[i] = ack{a.Sent, a.Arrived, a.Size, a.Lost}
	}
	return e.e.feedback(now, in)
}

// Remote is an estimate that the client has made.
func (e Estimate) Remote(now time.Duration, bits float64) float64 { return e.e.remote(now, bits) }

// Downlink is the interceptor of subscribers, with a clock.
func Downlink(clock func() time.Time) (interceptor.Interceptor, Estimator, func([]rtcp.Packet)) {
	d := newDownlink(clock)
	return d, d, d.reports
}
