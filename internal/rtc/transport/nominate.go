package transport

import (
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"
)

// maxPaths is how many addresses one client may check from. A phone with two networks, IPv6 and a relay has some ten;
// one that changes networks all day stays far below.
const maxPaths = 256

// nominations decides which of the ways that a client nominates is used. The library, told to look at priorities,
// changes to a better way only. That is right for Firefox, which nominates every way that works and then takes the
// best, and wrong for Chrome, which nominates one and may have to fall back to a worse one, such as a relay when UDP
// stops. What tells them apart: a client that means the worse way nominates it again and no longer the other.
//
// One belongs to each peer connection. The agent calls it from one goroutine at a time.
type nominations struct {
	tooMany func() // called once, when the client checks from too many addresses

	user     string // of the checks: it changes when ICE restarts
	chosen   *ice.CandidatePair
	best     uint64
	rival    *ice.CandidatePair
	rivalTx  [stun.TransactionIDSize]byte
	paths    map[netip.AddrPort]struct{}
	reported bool
}

// request looks at a check that the agent has found authentic, and says whether to change to its pair although it is
// not the better one.
func (n *nominations) request(m *stun.Message, _, remote ice.Candidate, pair *ice.CandidatePair) bool {
	var user stun.Username
	_ = user.GetFrom(m)
	if n.user != user.String() {
		n.user, n.chosen, n.rival, n.best = user.String(), nil, nil, 0
	}
	n.count(remote)
	if !m.Contains(stun.AttrUseCandidate) {
		return false
	}
	priority := pairPriority(remote.Priority(), pair.Local.Priority())
	switch {
	case n.chosen == nil || pair != n.chosen && priority > n.best: // the library does the same
		n.chosen, n.best, n.rival = pair, priority, nil
	case pair == n.chosen:
		n.rival = nil
	case pair == n.rival && m.TransactionID != n.rivalTx:
		n.chosen, n.best, n.rival = pair, priority, nil
		return true
	default:
		n.rival, n.rivalTx = pair, m.TransactionID
	}
	return false
}

func (n *nominations) count(remote ice.Candidate) {
	a, err := netip.ParseAddr(remote.Address())
	if err != nil {
		return
	}
	if n.paths == nil {
		n.paths = map[netip.AddrPort]struct{}{}
	}
	n.paths[netip.AddrPortFrom(a, uint16(remote.Port()))] = struct{}{}
	if len(n.paths) > maxPaths && !n.reported {
		n.reported = true
		n.tooMany()
	}
}

// pairPriority is RFC 8445, 6.1.2.3. g is the controlling side's candidate: the client's.
func pairPriority(g, d uint32) uint64 {
	p := (1<<32-1)*uint64(min(g, d)) + 2*uint64(max(g, d))
	if g > d {
		p++
	}
	return p
}
