package client

import (
	"fmt"
	"io"
	"net"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

// Path is how media may travel.
type Path int

// The paths that a browser tries; a participant can be held to one of them.
const (
	AnyPath Path = iota
	UDP
	TCP
	Relay // through the TURN servers that the server names
)

// StackOptions say how the participants of a process are connected.
type StackOptions struct {
	Loopback   bool // over the loopback interface, and nothing else
	Everywhere bool // over the loopback interface too
	Path       Path
}

// Stack is what the participants of a process share. Sockets are not among it: all participants speak to one address of the
// server, which tells them apart by the address from which they speak, so that each connection needs a socket of its own.
type Stack struct {
	publish, subscribe *webrtc.API
	path               Path
}

// The header extensions beside those of simulcast.
const (
	extAudioLevel = sdp.AudioLevelURI
	extMID        = sdp.SDESMidURI
	extRID        = sdp.SDESRTPStreamIDURI
)

// NewStack makes a Stack.
func NewStack(opts StackOptions) (*Stack, error) {
	settings, err := settingEngine(opts)
	if err != nil {
		return nil, fmt.Errorf("client: settings: %w", err)
	}
	s := &Stack{path: opts.Path}
	if s.publish, err = newAPI(settings, sending); err != nil {
		return nil, fmt.Errorf("client: publishing: %w", err)
	}
	if s.subscribe, err = newAPI(settings, receiving); err != nil {
		return nil, fmt.Errorf("client: receiving: %w", err)
	}
	return s, nil
}

func settingEngine(opts StackOptions) (e webrtc.SettingEngine, err error) {
	// What pion logs holds addresses; a participant's owner learns from Snapshot what went wrong.
	e.LoggerFactory = silent()
	n, err := stdnet.NewNet() // interfaces are listed once, not for every connection
	if err != nil {
		return e, err
	}
	e.SetNet(roomy{n})
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	switch opts.Path {
	case TCP:
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	case AnyPath:
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	default:
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
		e.DisableActiveTCP(true)
	}
	e.SetIncludeLoopbackCandidate(opts.Loopback || opts.Everywhere)
	if opts.Loopback {
		e.SetIPFilter(net.IP.IsLoopback)
	}
	return e, nil
}

// roomy opens sockets whose buffers hold a second of several streams, as browsers do: what a busy machine reads late is not lost.
type roomy struct{ transport.Net }

const socketBuffer = 1 << 20

// ListenUDP opens a socket.
func (n roomy) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, at)
	if err == nil {
		_ = c.SetReadBuffer(socketBuffer) // the system may allow less, and says nothing
	}
	return c, err
}

func silent() logging.LoggerFactory {
	return &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
}

// newAPI makes what connections of one direction are made of.
func newAPI(settings webrtc.SettingEngine, direction func(*webrtc.MediaEngine, *interceptor.Registry) error) (*webrtc.API, error) {
	m, r := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := webrtc.ConfigureSimulcastExtensionHeaders(m); err != nil {
		return nil, err
	}
	for _, uri := range []string{extMID, extAudioLevel} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	if err := direction(m, r); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(settings)), nil
}

// sending is what a browser does for what it sends: numbers packets for congestion control, reports, sends again what was lost.
func sending(m *webrtc.MediaEngine, r *interceptor.Registry) error {
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: "nack"}, webrtc.RTPCodecTypeVideo)
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: "nack", Parameter: "pli"}, webrtc.RTPCodecTypeVideo)
	responder, err := nack.NewResponderInterceptor(nack.WithResponderLoggerFactory(silent()))
	if err != nil {
		return err
	}
	reports, err := report.NewSenderInterceptor(report.WithSenderLoggerFactory(silent()))
	if err != nil {
		return err
	}
	r.Add(responder)
	r.Add(reports)
	return webrtc.ConfigureTWCCHeaderExtensionSender(m, r)
}

// receiving is what a browser does for what it receives: asks again for what was lost, reports, and tells when packets arrived.
func receiving(m *webrtc.MediaEngine, r *interceptor.Registry) error {
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: "nack"}, webrtc.RTPCodecTypeVideo)
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: "nack", Parameter: "pli"}, webrtc.RTPCodecTypeVideo)
	generator, err := nack.NewGeneratorInterceptor(nack.WithGeneratorLoggerFactory(silent()))
	if err != nil {
		return err
	}
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(silent()))
	if err != nil {
		return err
	}
	arrivals, err := twcc.NewSenderInterceptor(twcc.WithLoggerFactory(silent()))
	if err != nil {
		return err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, kind)
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, kind); err != nil {
			return err
		}
	}
	r.Add(generator)
	r.Add(reports)
	r.Add(arrivals)
	return nil
}
