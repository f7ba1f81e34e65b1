package transport

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
)

const (
	// tcpQueue is how many bytes may wait for a client over ICE-TCP: two seconds of a 720p stream. More would be old
	// when it arrives; what does not fit is dropped, as UDP would.
	tcpQueue = 512 << 10
	// tcpPackets is how many packets of one client may wait to be read.
	tcpPackets = 64
	// smallBuffer is what a UDP socket should have at least: with less, a few calls are enough to lose packets.
	smallBuffer = 1 << 20
	// unknownFor is how long a TCP connection with a user name that no call has is kept.
	unknownFor = 5 * time.Second
)

// Transport holds the sockets. Its methods may be called at any time from any goroutine.
type Transport struct {
	cfg     Config
	log     *silencer
	now     func() time.Time
	cert    webrtc.Certificate
	addrs   []local // of UDP and TCP together
	net     *sealed
	rewrite []webrtc.ICEAddressRewriteRule
	sockets []*udpSocket
	udpMux  ice.UDPMux
	tcp     *gate
	tcpMux  ice.TCPMux
	relays  *relays
	turn    []*udpSocket
	turnTLS *gate
	checks  checks

	mu     sync.Mutex
	peers  map[*peer]struct{}
	closed bool
	once   sync.Once
	err    error
}

// Open opens the ports of cfg. A port in use is a fault whose Field is the flag: --rtc-udp, --rtc-tcp, --rtc-turn.
func Open(cfg Config) (_ *Transport, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.fresh, cfg.checkLife = cmp.Or(cfg.fresh, freshFor), cmp.Or(cfg.checkLife, CheckLife)
	t := &Transport{cfg: cfg, log: newSilencer(cfg.Log), now: cfg.Now, peers: map[*peer]struct{}{}}
	defer func() {
		if err != nil {
			_ = t.Close()
		}
	}()
	if err := t.check(); err != nil {
		return nil, err
	}
	if t.cert, err = certificate(); err != nil {
		return nil, fault.Wrap(fault.Internal, "transport.Open", err)
	}
	m, err := thisMachine(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.openMedia(m); err != nil {
		return nil, err
	}
	if err := t.openTURN(m); err != nil {
		return nil, err
	}
	t.net = newSealed(t.addrs)
	for _, a := range t.addrs {
		if slices.Equal(a.announce, []netip.Addr{a.addr}) {
			continue
		}
		t.rewrite = append(t.rewrite, webrtc.ICEAddressRewriteRule{Local: a.addr.String(), External: texts(a.announce),
			AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace})
	}
	return t, nil
}

// check looks at what can be seen without opening anything.
func (t *Transport) check() error {
	const op = "transport.Open"
	switch {
	case t.cfg.UDP == "" && t.cfg.TCP == "":
		return fault.Bad(op, "--rtc-udp", "media_off", "Calls need --rtc-udp or --rtc-tcp; both are off.")
	case t.cfg.UDP == "" && (t.cfg.TURN != "" || t.cfg.TURNTLS != ""):
		return fault.Bad(op, "--rtc-turn", "turn_needs_udp", "The TURN server relays to the media port of --rtc-udp, which is off. Say --rtc-turn off and --rtc-turn-tls off too.")
	case t.cfg.TURNTLS != "" && t.cfg.TLS == nil:
		return fault.Bad(op, "--rtc-turn-tls", "turn_needs_tls", "TURN over TLS needs a certificate: --domain, or --tls-cert and --tls-key.")
	}
	for i, a := range t.cfg.PublicIPs {
		a = a.Unmap().WithZone("")
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			return fault.Bad(op, "--public-ip", "public_ip_unusable", "A public address must be one that clients can reach.")
		}
		if i == 0 {
			t.cfg.PublicIPs = slices.Clone(t.cfg.PublicIPs)
		}
		t.cfg.PublicIPs[i] = a
	}
	return nil
}

func texts(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// openMedia opens the ports of ICE.
func (t *Transport) openMedia(m machine) error {
	if t.cfg.UDP != "" {
		at, err := hostPort("--rtc-udp", t.cfg.UDP)
		if err != nil {
			return err
		}
		if t.addrs, err = m.choose(t.cfg, at.Addr()); err != nil {
			return err
		}
		if t.sockets, err = listenUDP("--rtc-udp", t.addrs, at.Port(), mediaPacket); err != nil {
			return err
		}
		t.udpMux = udpMux(t.sockets, t.log.NewLogger("udp_mux"))
		if n, _ := t.sockets[0].buffers(); n > 0 && n < smallBuffer && !t.cfg.Loopback {
			t.cfg.Log.Warn("the system grants the media socket little memory; many packets at once will be lost. On Linux, set net.core.rmem_max to 4194304", "count", n)
		}
	}
	if t.cfg.TCP == "" {
		return nil
	}
	at, err := hostPort("--rtc-tcp", t.cfg.TCP)
	if err != nil {
		return err
	}
	addrs, err := m.choose(t.cfg, at.Addr())
	if err != nil {
		return err
	}
	for _, a := range addrs { // TCP may listen on addresses that UDP does not
		if !slices.ContainsFunc(t.addrs, func(l local) bool { return l.addr == a.addr }) {
			t.addrs = append(t.addrs, a)
		}
	}
	raw, err := listenTCP("--rtc-tcp", at)
	if err != nil {
		return err
	}
	t.tcp = newGate(raw, nil, byWriting, t.cfg.fresh)
	t.tcpMux = ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: t.tcp, Logger: t.log.NewLogger("tcp_mux"), ReadBufferSize: tcpPackets,
		WriteBufferSize: tcpQueue, FirstStunBindTimeout: freshFor, AliveDurationForConnFromStun: unknownFor})
	return nil
}

// listenTCP opens a TCP port. The listener of [::] takes IPv4 too, and where there is no IPv6 it takes IPv4 alone.
func listenTCP(flag string, at netip.AddrPort) (net.Listener, error) {
	address := at.String()
	if at.Addr() == netip.IPv6Unspecified() {
		address = ":" + strconv.Itoa(int(at.Port()))
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, bindFault(flag, err)
	}
	return l, nil
}

// openTURN opens the ports of the TURN server and starts it.
func (t *Transport) openTURN(m machine) error {
	if t.cfg.TURN == "" && t.cfg.TURNTLS == "" {
		return nil
	}
	r := newRelays(t.sockets, t.addrs, t.now, t.cfg.checkLife)
	if t.cfg.TURN != "" {
		at, err := hostPort("--rtc-turn", t.cfg.TURN)
		if err != nil {
			return err
		}
		addrs, err := m.choose(t.cfg, at.Addr())
		if err != nil {
			return err
		}
		if t.turn, err = listenUDP("--rtc-turn", addrs, at.Port(), turnPacket); err != nil {
			return err
		}
	}
	if t.cfg.TURNTLS != "" {
		at, err := hostPort("--rtc-turn-tls", t.cfg.TURNTLS)
		if err != nil {
			return err
		}
		raw, err := listenTCP("--rtc-turn-tls", at)
		if err != nil {
			return err
		}
		t.turnTLS = newGate(raw, t.cfg.TLS, byCall, t.cfg.fresh)
	}
	if err := r.serve(t.turn, t.turnTLS, t.log); err != nil {
		return fault.Wrap(fault.Internal, "transport.Open", err)
	}
	t.relays = r
	return nil
}

// Addresses are what was bound: the first UDP address, the TCP address, and those of TURN. The zero value is off.
func (t *Transport) Addresses() (udp, tcp, turn, turnTLS netip.AddrPort) {
	if len(t.sockets) > 0 {
		udp = t.sockets[0].at
	}
	if len(t.turn) > 0 {
		turn = t.turn[0].at
	}
	return udp, t.tcp.bound(), turn, t.turnTLS.bound()
}

func (g *gate) bound() netip.AddrPort {
	if g == nil {
		return netip.AddrPort{}
	}
	at := g.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Announced are the addresses that session descriptions name, for the operator to see what clients are told.
func (t *Transport) Announced() (out []netip.Addr) {
	for _, a := range t.addrs {
		out = append(out, a.announce...)
	}
	return out
}

// ICEServers are the turn: URLs with a credential that opens allocations for life. identity only serves to count
// allocations of one participant together: what leaves the process is a keyed hash of it. Without one the credential is for a
// check of somebody's network, which anybody may ask for: few relays, for a minute. Empty without TURN.
func (t *Transport) ICEServers(identity string, life time.Duration) []ICEServer {
	if t.relays == nil {
		return nil
	}
	s := ICEServer{}
	for _, host := range t.turnHosts() {
		if len(t.turn) > 0 {
			s.URLs = append(s.URLs, "turn:"+net.JoinHostPort(host, strconv.Itoa(int(t.turn[0].at.Port())))+"?transport=udp")
		}
		if t.turnTLS != nil {
			s.URLs = append(s.URLs, "turns:"+net.JoinHostPort(host, strconv.Itoa(int(t.turnTLS.bound().Port())))+"?transport=tcp")
		}
	}
	s.Username, s.Credential = t.relays.credential(identity, life)
	return []ICEServer{s}
}

// turnHosts are the names that TURN is reached under: the configured one, or one address of each family.
func (t *Transport) turnHosts() (out []string) {
	if t.cfg.TURNHost != "" {
		return []string{t.cfg.TURNHost}
	}
	var v4, v6 bool
	for _, a := range t.Announced() {
		if a.Is4() && !v4 || a.Is6() && !v6 {
			out = append(out, a.String())
		}
		v4, v6 = v4 || a.Is4(), v6 || a.Is6()
	}
	return out
}

// Stats are the counters.
func (t *Transport) Stats() Stats {
	s := Stats{Warnings: t.log.counts(), Checks: t.checks.open()}
	t.mu.Lock()
	s.Peers = len(t.peers)
	t.mu.Unlock()
	if len(t.sockets) > 0 {
		s.ReceiveBuffer, s.SendBuffer = t.sockets[0].buffers()
	}
	for _, u := range slices.Concat(t.sockets, t.turn) {
		s.Dropped += u.dropped.Load()
	}
	for _, g := range []*gate{t.tcp, t.turnTLS} {
		if g != nil {
			s.TCP += g.open()
			s.TCPRefused += g.refused.Load()
		}
	}
	if t.relays != nil {
		s.Allocations, s.RelayDenied = t.relays.open(), t.relays.denied.Load()
	}
	return s
}

// Close closes every peer connection and socket, and waits for what serves them to end.
func (t *Transport) Close() error {
	t.once.Do(func() { t.err = t.close() })
	return t.err
}

func (t *Transport) close() error {
	t.mu.Lock()
	t.closed = true
	peers := make([]*peer, 0, len(t.peers))
	for p := range t.peers {
		peers = append(peers, p)
	}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(p.close)
	}
	wg.Wait()
	t.checks.wait()
	var errs []error
	if t.relays != nil && t.relays.server != nil {
		errs = append(errs, t.relays.server.Close())
	} else { // Open failed half-way
		for _, s := range t.turn {
			_ = s.Close()
		}
		if t.turnTLS != nil {
			_ = t.turnTLS.Close()
		}
	}
	if t.tcp != nil { // first the connections, which the multiplexer waits for
		errs = append(errs, t.tcp.Close())
		_ = t.tcpMux.Close()
	}
	if t.udpMux != nil {
		errs = append(errs, t.udpMux.Close())
	}
	return errors.Join(errs...)
}

// peer is one peer connection that is open.
type peer struct {
	mu   sync.Mutex
	pc   *webrtc.PeerConnection
	dead bool
}

func (p *peer) set(pc *webrtc.PeerConnection) {
	p.mu.Lock()
	p.pc = pc
	dead := p.dead
	p.mu.Unlock()
	if dead {
		_ = pc.Close()
	}
}

func (p *peer) close() {
	p.mu.Lock()
	p.dead = true
	pc := p.pc
	p.mu.Unlock()
	if pc != nil {
		_ = pc.Close()
	}
}

func (t *Transport) remember(p *peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.peers[p] = struct{}{}
	return true
}

func (t *Transport) forget(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.peers, p)
}
