package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/transport"
)

const patience = 15 * time.Second

// everything is a configuration with all ways open, on loopback.
func everything(t testing.TB) transport.Config {
	return transport.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", TURN: "127.0.0.1:0", TURNTLS: "127.0.0.1:0", Loopback: true,
		TLS: &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS12}, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, cfg transport.Config) *transport.Transport {
	t.Helper()
	tr, err := transport.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is a participant's side: a full ICE agent.
type client struct {
	*webrtc.PeerConnection
	state chan webrtc.PeerConnectionState
}

type clientOptions struct {
	networks []webrtc.NetworkType
	relay    []transport.ICEServer // relayed only, through one of these
	cert     *webrtc.Certificate
}

// turnsDialer opens TURN over TLS for a client that does not look at the certificate, which the tests have signed themselves.
type turnsDialer struct{}

func (turnsDialer) Dial(network, address string) (net.Conn, error) {
	return tls.Dial(network, address, &tls.Config{InsecureSkipVerify: true})
}

func dial(t testing.TB, o clientOptions) *client {
	t.Helper()
	s := webrtc.SettingEngine{}
	s.LoggerFactory = quiet{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetRelayAcceptanceMinWait(0)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if o.networks != nil {
		s.SetNetworkTypes(o.networks)
	}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	i := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptorsWithOptions(m, i, webrtc.WithInterceptorLoggerFactory(quiet{})); err != nil {
		t.Fatal(err)
	}
	cfg := webrtc.Configuration{}
	if o.relay != nil {
		s.SetICEProxyDialer(turnsDialer{})
		cfg.ICETransportPolicy = webrtc.ICETransportPolicyRelay
		for _, r := range o.relay {
			cfg.ICEServers = append(cfg.ICEServers, webrtc.ICEServer{URLs: r.URLs, Username: r.Username, Credential: r.Credential})
		}
	}
	if o.cert != nil {
		cfg.Certificates = []webrtc.Certificate{*o.cert}
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(i)).NewPeerConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{pc, make(chan webrtc.PeerConnectionState, 16)}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { c.state <- s })
	t.Cleanup(func() { _ = pc.Close() })
	return c
}

// await waits for a state of the connection.
func (c *client) await(t testing.TB, want webrtc.PeerConnectionState) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case s := <-c.state:
			if s == want {
				return
			}
		case <-late:
			t.Fatalf("the connection did not become %v", want)
		}
	}
}

// offer makes an offer with all its candidates.
func (c *client) offer(t testing.TB) string {
	t.Helper()
	o, err := c.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(c.PeerConnection)
	if err := c.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-done
	return c.LocalDescription().SDP
}

// join connects c to a publisher's connection on the server, which echoes its data channel.
func join(t testing.TB, tr *transport.Transport, c *client, o transport.PeerOptions) *webrtc.PeerConnection {
	t.Helper()
	pc, err := tr.Publisher(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	pc.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { _ = d.Send(m.Data) })
	})
	answer(t, pc, c)
	return pc
}

func answer(t testing.TB, pc *webrtc.PeerConnection, c *client) {
	t.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: transport.Clean(c.offer(t))}); err != nil {
		t.Fatal(err)
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := c.SetRemoteDescription(*pc.LocalDescription()); err != nil {
		t.Fatal(err)
	}
}

// channel is the client's end of a data channel that the server echoes.
type channel struct {
	*webrtc.DataChannel
	opened chan struct{}
	back   chan []byte
}

func (c *client) channel(t testing.TB, label string) *channel {
	t.Helper()
	d, err := c.CreateDataChannel(label, nil)
	if err != nil {
		t.Fatal(err)
	}
	ch := &channel{d, make(chan struct{}), make(chan []byte, 64)}
	d.OnOpen(func() { close(ch.opened) })
	d.OnMessage(func(m webrtc.DataChannelMessage) { ch.back <- m.Data })
	return ch
}

// echo sends something and waits for it to come back.
func (ch *channel) echo(t testing.TB, what string) {
	t.Helper()
	select {
	case <-ch.opened:
	case <-time.After(patience):
		t.Fatal("the data channel did not open")
	}
	if err := ch.Send([]byte(what)); err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-ch.back:
		if !bytes.Equal(b, []byte(what)) {
			t.Fatalf("%d bytes came back for %d", len(b), len(what))
		}
	case <-time.After(patience):
		t.Fatal("nothing came back")
	}
}

// pair is the way that a client's connection has taken.
func (c *client) pair(t testing.TB) *webrtc.ICECandidatePair {
	t.Helper()
	p, err := c.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || p == nil {
		t.Fatal("no pair", err)
	}
	return p
}

// only leaves the URLs that begin with a scheme.
func only(servers []transport.ICEServer, scheme string) []transport.ICEServer {
	for i, s := range servers {
		var urls []string
		for _, u := range s.URLs {
			if strings.HasPrefix(u, scheme+":") {
				urls = append(urls, u)
			}
		}
		servers[i].URLs = urls
	}
	return servers
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return c
}

func udpAddr(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }
