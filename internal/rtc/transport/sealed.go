package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/pion/transport/v4"
)

// errSealed is what the libraries get who ask for more network than the sockets that this package opened.
var errSealed = errors.New("transport: no further sockets, no outgoing connections and no names to resolve")

// sealed is the network that ICE agents see: the addresses that were chosen at the start, and nothing to open, dial or
// resolve. A candidate that a client makes up can thereby neither open a connection nor ask a name server.
type sealed struct {
	iface *transport.Interface
}

func newSealed(addrs []local) *sealed {
	iface := transport.NewInterface(net.Interface{Index: 1, MTU: 1500, Name: "media", Flags: net.FlagUp | net.FlagRunning})
	for _, a := range addrs {
		bits := a.addr.BitLen()
		iface.AddAddress(&net.IPNet{IP: a.addr.AsSlice(), Mask: net.CIDRMask(bits, bits)})
	}
	return &sealed{iface: iface}
}

func (s *sealed) Interfaces() ([]*transport.Interface, error) {
	return []*transport.Interface{s.iface}, nil
}
func (s *sealed) InterfaceByIndex(int) (*transport.Interface, error)        { return nil, errSealed }
func (s *sealed) InterfaceByName(string) (*transport.Interface, error)      { return nil, errSealed }
func (s *sealed) ListenPacket(string, string) (net.PacketConn, error)       { return nil, errSealed }
func (s *sealed) ListenUDP(string, *net.UDPAddr) (transport.UDPConn, error) { return nil, errSealed }
func (s *sealed) ListenTCP(string, *net.TCPAddr) (transport.TCPListener, error) {
	return nil, errSealed
}
func (s *sealed) Dial(string, string) (net.Conn, error) { return nil, errSealed }
func (s *sealed) DialUDP(string, *net.UDPAddr, *net.UDPAddr) (transport.UDPConn, error) {
	return nil, errSealed
}
func (s *sealed) DialTCP(string, *net.TCPAddr, *net.TCPAddr) (transport.TCPConn, error) {
	return nil, errSealed
}
func (s *sealed) ResolveIPAddr(_, address string) (*net.IPAddr, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, errSealed
	}
	return &net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}, nil
}
func (s *sealed) ResolveUDPAddr(_, address string) (*net.UDPAddr, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, errSealed
	}
	return net.UDPAddrFromAddrPort(a), nil
}
func (s *sealed) ResolveTCPAddr(_, address string) (*net.TCPAddr, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, errSealed
	}
	return net.TCPAddrFromAddrPort(a), nil
}
func (s *sealed) CreateDialer(*net.Dialer) transport.Dialer { return sealedDialer{} }
func (s *sealed) CreateListenConfig(*net.ListenConfig) transport.ListenConfig {
	return sealedListen{}
}

type sealedDialer struct{}

func (sealedDialer) Dial(string, string) (net.Conn, error) { return nil, errSealed }

type sealedListen struct{}

func (sealedListen) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errSealed
}
func (sealedListen) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errSealed
}
