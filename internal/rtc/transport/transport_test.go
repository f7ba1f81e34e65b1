package transport_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/transport"
)

// Every way carries data by itself.
func TestWays(t *testing.T) {
	tr := open(t, everything(t))
	for _, c := range []struct {
		name   string
		server transport.PeerOptions
		client clientOptions
		kind   webrtc.ICECandidateType
		proto  webrtc.ICEProtocol
	}{
		{"udp", transport.PeerOptions{}, clientOptions{networks: []webrtc.NetworkType{webrtc.NetworkTypeUDP4}}, webrtc.ICECandidateTypeHost, webrtc.ICEProtocolUDP},
		{"tcp", transport.PeerOptions{Only: []transport.Kind{transport.TCP}}, clientOptions{networks: []webrtc.NetworkType{webrtc.NetworkTypeTCP4}}, webrtc.ICECandidateTypeHost, webrtc.ICEProtocolTCP},
		{"turn", transport.PeerOptions{}, clientOptions{relay: only(tr.ICEServers("", patience), "turn")}, webrtc.ICECandidateTypeRelay, webrtc.ICEProtocolUDP},
		{"turns", transport.PeerOptions{}, clientOptions{relay: only(tr.ICEServers("", patience), "turns")}, webrtc.ICECandidateTypeRelay, webrtc.ICEProtocolUDP},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := dial(t, c.client)
			ch := cl.channel(t, "data")
			join(t, tr, cl, c.server)
			ch.echo(t, "hello")
			p := cl.pair(t)
			if p.Local.Typ != c.kind || p.Local.Protocol != c.proto {
				t.Errorf("the way is %v over %v", p.Local.Typ, p.Local.Protocol)
			}
		})
	}
}

// IPv6 is no different. Clients leave ::1 out, so data goes over the machine's other IPv6 addresses, where it has one.
func TestIPv6(t *testing.T) {
	hosts := []string{"::1"}
	machine, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range machine {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	for _, host := range hosts {
		at := net.JoinHostPort(host, "0")
		cfg := everything(t)
		cfg.UDP, cfg.TCP, cfg.TURN, cfg.TURNTLS = at, at, at, ""
		tr := open(t, cfg)
		if u := tr.ICEServers("", patience)[0].URLs; len(u) != 1 || !strings.HasPrefix(u[0], "turn:["+host+"]:") {
			t.Error(u)
		}
		if host == "::1" {
			continue
		}
		for _, n := range []webrtc.NetworkType{webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP6} {
			c := dial(t, clientOptions{networks: []webrtc.NetworkType{n}})
			ch := c.channel(t, "data")
			join(t, tr, c, transport.PeerOptions{})
			ch.echo(t, "hello")
			if p := c.pair(t); p.Local.Protocol.String() != n.Protocol() {
				t.Errorf("the way is %v", p.Local.Protocol)
			}
		}
	}
}

// Behind a NAT the public address is told, and a relay gets through to it although packets never leave the machine.
func TestBehindNAT(t *testing.T) {
	cfg := everything(t)
	cfg.UDP, cfg.TCP, cfg.TURN, cfg.TURNTLS, cfg.Loopback = "0.0.0.0:0", "", "127.0.0.1:0", "", false
	cfg.PublicIPs, cfg.TURNHost = []netip.Addr{netip.MustParseAddr("198.51.100.77")}, "127.0.0.1"
	tr := open(t, cfg)
	if a := tr.Announced(); !slices.Equal(a, cfg.PublicIPs) {
		t.Fatal(a)
	}
	c := dial(t, clientOptions{relay: tr.ICEServers("", patience)})
	ch := c.channel(t, "data")
	join(t, tr, c, transport.PeerOptions{})
	ch.echo(t, "hello")
	if p := c.pair(t); p.Remote.Address != "198.51.100.77" || p.Local.Typ != webrtc.ICECandidateTypeRelay {
		t.Error(p)
	}
}
