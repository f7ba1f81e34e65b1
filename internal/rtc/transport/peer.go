package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
)

const (
	keepalive = 2 * time.Second
	// dtlsRetry is when a lost message of a handshake is sent again. The default of 1 s shows in the time to join.
	dtlsRetry = 200 * time.Millisecond
	// srtpWindow is how far behind the newest a packet may be: one that is sent again comes half a second late.
	srtpWindow = 1024
	// maxMessage is the longest message of a data channel, in bytes.
	maxMessage = 64 << 10
	// nackEvery and nackTries: how often missing packets are asked for. Ten times in 300 ms: after that a key frame is due.
	nackEvery  = 30 * time.Millisecond
	nackTries  = 10
	nackWindow = 512
	// twccEvery is how often publishers hear how their packets arrived.
	twccEvery = 100 * time.Millisecond
)

// certificate makes the certificate of every DTLS connection of this process. Clients know it by its fingerprint,
// which signalling carries; its dates say nothing, and are wide enough for a clock that is wrong by years on either side.
func certificate() (webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return webrtc.Certificate{}, err
	}
	c, err := webrtc.NewCertificate(key, x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "WebRTC"}, Issuer: pkix.Name{CommonName: "WebRTC"},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
	})
	if err != nil {
		return webrtc.Certificate{}, err
	}
	return *c, nil
}

// Clean takes out of a client's session description what the server has no use for: its addresses, which it learns
// from the checks that come from them, and the claim to be a lite agent, which would make the server the one that
// checks. Without them nothing that a client writes makes the server send a packet anywhere. Descriptions go through
// it before SetRemoteDescription, and candidates that arrive later are not handed to the peer connection at all.
func Clean(sdp string) string {
	var b strings.Builder
	b.Grow(len(sdp))
	for line := range strings.Lines(sdp) {
		name := strings.ToLower(strings.TrimSpace(line))
		if strings.HasPrefix(name, "a=candidate") || strings.HasPrefix(name, "a=end-of-candidates") || strings.HasPrefix(name, "a=ice-lite") {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// Publisher makes the peer connection that a participant sends on: the client offers. The caller closes it. Session
// descriptions of the client go through Clean, and candidates that it trickles are dropped.
func (t *Transport) Publisher(o PeerOptions) (*webrtc.PeerConnection, error) {
	m, err := mediaEngine(incoming)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "transport.Publisher", err)
	}
	nacks, _ := nack.NewGeneratorInterceptor(nack.GeneratorInterval(nackEvery), nack.GeneratorMaxNacksPerPacket(nackTries),
		nack.GeneratorSize(nackWindow), nack.WithGeneratorLoggerFactory(t.log)) // options that can fail do so when used
	reports, _ := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(t.log))
	arrivals, err := twcc.NewSenderInterceptor(twcc.SendInterval(twccEvery), twcc.WithLoggerFactory(t.log))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "transport.Publisher", err)
	}
	return t.peer("transport.Publisher", o, m, nacks, reports, arrivals)
}

// Subscriber makes the peer connection that a participant receives on: the server offers. The caller closes it. Session
// descriptions of the client go through Clean, and candidates that it trickles are dropped.
//
// It neither answers requests for lost packets nor reports what it sends: that is for whoever forwards. One cache of the publisher's
// packets serves all subscribers, and reports that come from elsewhere than the publisher's own would pull sound and picture
// apart. Feedback reaches the Estimator only while somebody reads RTCP from the senders (RTPSender.Read).
func (t *Transport) Subscriber(o PeerOptions) (*webrtc.PeerConnection, Estimator, error) {
	m, err := mediaEngine(outgoing)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, "transport.Subscriber", err)
	}
	down := newDownlink(time.Now)
	pc, err := t.peer("transport.Subscriber", o, m, given{down})
	if err != nil {
		return nil, nil, err
	}
	return pc, down, nil
}

// peer makes a peer connection. The last interceptor is the first that sees an outgoing packet.
func (t *Transport) peer(op string, o PeerOptions, m *webrtc.MediaEngine, chain ...interceptor.Factory) (*webrtc.PeerConnection, error) {
	registry := &interceptor.Registry{}
	for _, f := range chain {
		registry.Add(f)
	}
	entry := &peer{}
	registry.Add(given{&farewell{gone: func() { t.forget(entry) }}})
	engine, err := t.settings(o.Only, func() { go entry.close() })
	if err != nil {
		return nil, err
	}
	if !t.remember(entry) {
		return nil, fault.New(fault.Unavailable, op, "media_closed", "The server is stopping.")
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(engine), webrtc.WithInterceptorRegistry(registry)).
		NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{t.cert}, BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.forget(entry)
		return nil, fault.Wrap(fault.Internal, op, err)
	}
	entry.set(pc)
	return pc, nil
}

// settings are those of one peer connection.
func (t *Transport) settings(only []Kind, tooMany func()) (webrtc.SettingEngine, error) {
	s := webrtc.SettingEngine{LoggerFactory: t.log}
	wants := func(k Kind) bool { return len(only) == 0 || slices.Contains(only, k) }
	var networks []webrtc.NetworkType
	if t.udpMux != nil && (wants(UDP) || wants(Relay)) {
		s.SetICEUDPMux(t.udpMux)
		networks = append(networks, webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6)
	}
	if t.tcpMux != nil && wants(TCP) {
		s.SetICETCPMux(t.tcpMux)
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	if len(networks) == 0 {
		return s, fault.New(fault.Unavailable, "transport.Peer", "media_kind_off", "The server does not offer this way for media.")
	}
	s.SetNetworkTypes(networks)
	s.SetNet(t.net)
	s.SetIncludeLoopbackCandidate(true) // t.net has only what was chosen
	if err := s.SetICEAddressRewriteRules(t.rewrite...); err != nil {
		return s, fault.Wrap(fault.Internal, "transport.Peer", err)
	}
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetLite(true)
	s.DisableActiveTCP(true)
	s.SetICEUseCandidateCheckPriority(true)
	s.SetICEBindingRequestHandler((&nominations{tooMany: tooMany}).request)
	s.SetICETimeouts(DisconnectedAfter, FailedAfter, keepalive)

	// The client starts DTLS: it is the first to know that the way is open. A cookie would cost one more round trip and
	// protects nothing here: only addresses that have passed an ICE check get this far.
	if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return s, fault.Wrap(fault.Internal, "transport.Peer", err)
	}
	s.SetDTLSInsecureSkipHelloVerify(true)
	s.SetDTLSRetransmissionInterval(dtlsRetry)
	// AES-GCM encrypts and authenticates in one pass with the processor's instructions; the older profile needs SHA-1 over every packet.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.SetSRTPReplayProtectionWindow(srtpWindow)
	s.SetSCTPMaxMessageSize(maxMessage)
	s.SetIgnoreRidPauseForRecv(true) // layers are switched by signalling
	return s, nil
}

// given is a factory of the one interceptor that it holds.
type given struct{ interceptor.Interceptor }

// NewInterceptor gives the interceptor.
func (g given) NewInterceptor(string) (interceptor.Interceptor, error) { return g.Interceptor, nil }

// farewell notices that a peer connection was closed: the handlers of the peer connection belong to its user.
type farewell struct {
	interceptor.NoOp
	gone func()
}

// Close is called with the peer connection.
func (f *farewell) Close() error { f.gone(); return nil }
