package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"

	"parley/internal/fault"
)

const (
	// socketBuffer is what the system is asked for, per UDP socket and direction: 4 MiB hold 100 ms of 300 Mbit/s.
	// It grants less when net.core.rmem_max says so; Stats has what it gave.
	socketBuffer = 4 << 20
	// portTries is how often a free port is looked for that is free on every address.
	portTries = 16
	// errorPause is how long reading waits after an error that is not the socket's end, so that one that stays does
	// not keep a processor busy.
	errorPause = 5 * time.Millisecond
)

// udpSocket is a bound UDP socket. What can't belong to a call is dropped here, before anything is allocated for it,
// and an error of one packet does not end the reading of all: the multiplexer above takes any error for the end.
//
// Packets are written one by one. Batches (sendmmsg) were measured with BenchmarkSocket, 1,200 bytes to 100 subscribers on two
// cores, processor time of the whole process: as fast as it goes 1.25 to 1.40 µs a packet alone and 1.21 to 1.32 µs in batches
// of 32; at a camera's pace, 130 packets a second for each, 3.1 to 3.7 µs alone and 6.0 to 6.2 µs in batches of 32, 4.8 to
// 5.1 µs of 128, because packets are copied into a queue that another goroutine and a ticker empty, up to 2 ms late. Without that
// queue, with a whole round of subscribers in one call of sendmmsg, it was 2.8 to 3.3 µs: what costs is the kernel's way
// through UDP and IP, not the call. Ten per cent at best are not worth a second way through this package.
type udpSocket struct {
	*net.UDPConn
	at        netip.AddrPort
	plausible func([]byte) bool
	dropped   atomic.Uint64
}

// ReadFromAddrPort reads the next packet that is plausible and fits into b with room to spare.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := s.ReadFromUDPAddrPort(b)
		switch {
		case err == nil && n < len(b) && s.plausible(b[:n]):
			return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
		case errors.Is(err, net.ErrClosed):
			return 0, netip.AddrPort{}, err
		case err != nil:
			time.Sleep(errorPause)
		}
		s.dropped.Add(1)
	}
}

// WriteToAddrPort writes one packet.
func (s *udpSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteToUDPAddrPort(b, to)
}

// ReadFrom is ReadFromAddrPort for callers with the older types.
func (s *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

const (
	stunHeader = 20
	stunCookie = 0x2112a442
)

// mediaPacket says whether a packet can be STUN, DTLS, RTP or RTCP: the first byte tells them apart (RFC 7983).
func mediaPacket(b []byte) bool {
	if len(b) < 12 { // an RTP header; what RTCP and DTLS send is longer under encryption
		return false
	}
	return isSTUN(b) || b[0] >= 20 && b[0] < 64 || b[0] >= 128 && b[0] < 192
}

// turnPacket says whether a packet can be STUN or the data of a TURN channel.
func turnPacket(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	return isSTUN(b) || b[0] >= 0x40 && b[0] < 0x50 && length <= len(b)-4
}

// isSTUN says whether a packet has the header of STUN, which tells its own length.
func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeader &&
		binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// listenUDP binds one socket for each address on the same port. flag names the setting in faults.
func listenUDP(flag string, addrs []local, port uint16, plausible func([]byte) bool) ([]*udpSocket, error) {
	var last error
	for range portTries {
		sockets, err := bindAll(addrs, port, plausible)
		if err == nil {
			return sockets, nil
		}
		last = err
		if port != 0 {
			break
		}
	}
	return nil, bindFault(flag, last)
}

func bindAll(addrs []local, port uint16, plausible func([]byte) bool) (sockets []*udpSocket, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
			sockets = nil
		}
	}()
	for _, a := range addrs {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.addr, port)))
		if err != nil {
			return sockets, err
		}
		at := c.LocalAddr().(*net.UDPAddr).AddrPort()
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		port = at.Port()
		_ = c.SetReadBuffer(socketBuffer) // as much as the system allows
		_ = c.SetWriteBuffer(socketBuffer)
		sockets = append(sockets, &udpSocket{UDPConn: c, at: at, plausible: plausible})
	}
	return sockets, nil
}

// bindFault explains why a port could not be opened, and what to do.
func bindFault(flag string, err error) error {
	const op = "transport.Open"
	f := fault.New(fault.Unavailable, op, "port_unavailable", "The port can't be opened. Choose another address with "+flag+", or "+flag+" off.")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.Code = "port_in_use"
		f.Text = "Another program uses this port already. Stop it, choose another port with " + flag + ", or switch this way off with " + flag + " off."
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Code = "address_unknown"
		f.Text = "No network interface of this machine has this address. Give one that it has, or 0.0.0.0, with " + flag + ", and the public address with --public-ip."
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		f.Code = "port_forbidden"
		f.Text = "This program may not open this port: ports below 1024 need a privilege (on Linux CAP_NET_BIND_SERVICE). Choose a higher one with " + flag + "."
	}
	f.Field, f.Cause = flag, err
	return f
}

// buffers asks what the system granted.
func (s *udpSocket) buffers() (receive, send int) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) { receive, send = socketBuffers(fd) })
	return receive, send
}

// mux makes the multiplexer over the sockets: every one finds its connection by the ICE user name.
func udpMux(sockets []*udpSocket, log logging.LeveledLogger) ice.UDPMux {
	muxes := make([]ice.UDPMux, len(sockets))
	for i, s := range sockets {
		muxes[i] = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s, Logger: log})
	}
	return ice.NewMultiUDPMuxDefault(muxes...)
}
