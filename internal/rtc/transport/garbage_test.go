package transport_test

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"parley/internal/rtc/transport"
)

// Nonsense on the ports changes nothing for a running connection, and nothing of it is kept.
func TestGarbage(t *testing.T) {
	tr := open(t, everything(t))
	c := dial(t, clientOptions{})
	ch := c.channel(t, "data")
	join(t, tr, c, transport.PeerOptions{})
	relayed := dial(t, clientOptions{relay: only(tr.ICEServers("", patience), "turn")})
	rch := relayed.channel(t, "data")
	join(t, tr, relayed, transport.PeerOptions{})
	ch.echo(t, "before")
	rch.echo(t, "before")

	udp, tcp, turn, turnTLS := tr.Addresses()
	flood(t, udp, 2000)
	flood(t, turn, 2000)
	ch.echo(t, "in between")
	heap := live()
	for range 4 {
		flood(t, udp, 5000)
		flood(t, turn, 5000)
		for _, a := range []netip.AddrPort{tcp, turnTLS} {
			for _, p := range nonsense(t) {
				stream(t, a, p)
			}
		}
	}
	ch.echo(t, "after")
	rch.echo(t, "after")
	if grown := int64(live()) - int64(heap); grown > 4<<20 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	if s := tr.Stats(); s.Dropped == 0 || s.Peers != 2 {
		t.Errorf("%+v", s)
	}
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools keep what they had for one more round
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nonsense is a packet of every kind of nonsense.
func nonsense(t testing.TB) [][]byte {
	t.Helper()
	random := func(n int) []byte { b := make([]byte, n); _, _ = rand.Read(b); return b }
	wrong, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("nobody:noone"),
		stun.NewShortTermIntegrity("wrong"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	allocate, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.NewUsername("1:1"),
		stun.NewRealm("parley"), stun.NewNonce("none"), stun.NewLongTermIntegrity("1:1", "parley", "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	channel := append([]byte{0x40, 0, 0x03, 0xe8}, random(1000)...)
	long := append([]byte(nil), wrong.Raw...)
	binary.BigEndian.PutUint16(long[2:], 0xfff0)
	handshake := append([]byte{22, 254, 253}, random(300)...)
	rtp := append([]byte{0x80, 96}, random(1000)...)
	return [][]byte{random(1), random(50), random(1400), random(9000), random(60000), wrong.Raw, wrong.Raw[:len(wrong.Raw)/2], long,
		allocate.Raw, channel, handshake, rtp, nil}
}

func flood(t testing.TB, to netip.AddrPort, n int) {
	t.Helper()
	packets := nonsense(t)
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for i := range n {
		if _, err := socket.WriteToUDPAddrPort(packets[i%len(packets)], to); err != nil {
			t.Fatal(err)
		}
	}
}

// stream sends something over TCP, framed and bare, and hangs up.
func stream(t testing.TB, to netip.AddrPort, what []byte) {
	t.Helper()
	for _, framed := range []bool{false, true} {
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		if framed {
			_, _ = c.Write([]byte{byte(len(what) >> 8), byte(len(what))})
		}
		_, _ = c.Write(what)
		c.Close()
	}
}

// A TCP connection that proves nothing is closed, whatever it says or does not say.
func TestSilentTCP(t *testing.T) {
	tr := open(t, transport.Shorter(everything(t), 300*time.Millisecond, 0))
	_, tcp, _, turnTLS := tr.Addresses()
	wrong := nonsense(t)[5]
	framed := append([]byte{byte(len(wrong) >> 8), byte(len(wrong))}, wrong...)
	for name, c := range map[string]struct {
		to   netip.AddrPort
		says []byte
	}{
		"silent": {tcp, nil}, "half a length": {tcp, []byte{0}}, "half a packet": {tcp, []byte{0, 100, 1}}, "another call": {tcp, framed},
		"silent, TLS": {turnTLS, nil}, "no TLS": {turnTLS, []byte("GET / HTTP/1.1\r\n\r\n")}, "half a hello": {turnTLS, []byte{22, 3, 1, 2, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", c.to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(c.says)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
				t.Error("the connection was left open")
			}
		})
	}
	s := tr.Stats()
	if s.TCPRefused == 0 {
		t.Errorf("%+v", s)
	}
}

// A client of TURN over TLS that never gets an allocation is closed too.
func TestSilentTLS(t *testing.T) {
	tr := open(t, transport.Shorter(everything(t), 300*time.Millisecond, 0))
	_, _, _, turnTLS := tr.Addresses()
	conn, err := turnsDialer{}.Dial("tcp", turnTLS.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if _, err := conn.Write(ask.Raw); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
		t.Error("the connection was left open")
	}
}

// One address can't take all the places, and the oldest silent connection makes room for a new one.
func TestTCPLimits(t *testing.T) {
	const perAddress, fresh = transport.MaxTCPAddress, transport.MaxFresh
	tr := open(t, everything(t))
	_, tcp, _, _ := tr.Addresses()
	dialFrom := func(last byte) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, last)}}
		c, err := d.Dial("tcp", tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	closed := func(c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Fatal("the connection was left open")
		}
	}
	oldest := dialFrom(1)
	for range perAddress - 1 {
		dialFrom(1)
	}
	closed(dialFrom(1)) // one too many from here
	for i := range fresh - perAddress {
		dialFrom(byte(2 + i/perAddress))
	}
	wait(t, func() bool { return tr.Stats().TCP == fresh })
	dialFrom(100) // one too many of them all
	closed(oldest)
	if s := tr.Stats(); s.TCP > fresh {
		t.Errorf("%+v", s)
	}
	c := dial(t, clientOptions{networks: tcpOnly})
	ch := c.channel(t, "data")
	join(t, tr, c, transport.PeerOptions{Only: []transport.Kind{transport.TCP}})
	ch.echo(t, "who belongs to a call gets in")
}

// wait polls what nothing announces.
func wait(t testing.TB, until func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}
