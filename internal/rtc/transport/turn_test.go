package transport_test

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/transport"
)

var tcpOnly = []webrtc.NetworkType{webrtc.NetworkTypeTCP4}

// turnClient speaks TURN without WebRTC above it.
func turnClient(t testing.TB, at netip.AddrPort, user, password string) *turn.Client {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: at.String(), Conn: conn, Username: user, Password: password, LoggerFactory: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); conn.Close() })
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	return c
}

// skewed opens a transport whose clock is off by what is stored.
func skewed(t *testing.T) (*transport.Transport, *atomic.Int64) {
	t.Helper()
	var skew atomic.Int64
	cfg := everything(t)
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	return open(t, cfg), &skew
}

func TestTURNRefuses(t *testing.T) {
	tr, skew := skewed(t)
	_, _, at, _ := tr.Addresses()
	good := tr.ICEServers("", time.Minute)[0]
	skew.Store(int64(-time.Hour))
	expired := tr.ICEServers("", time.Minute)[0]
	skew.Store(0)
	other := open(t, everything(t)).ICEServers("", time.Minute)[0]
	for name, c := range map[string]struct{ user, password string }{
		"expired": {expired.Username, expired.Credential}, "wrong password": {good.Username, "wrong"}, "another process": {other.Username, other.Credential},
		"prolonged": {"9" + good.Username, good.Credential}, "no time": {"x:y", good.Credential}, "empty": {":", ""},
		"long": {strings.Repeat("1", 500), good.Credential},
	} {
		if relay, err := turnClient(t, at, c.user, c.password).Allocate(); err == nil {
			relay.Close()
			t.Errorf("%s: got an allocation", name)
		}
	}
	if n := tr.Stats().Allocations; n != 0 {
		t.Errorf("%d allocations", n)
	}
	if !strings.HasPrefix(good.URLs[0], "turn:127.0.0.1:") {
		t.Errorf("%+v", good)
	}
}

// The user name says nothing about who uses it, and is the same for one participant.
func TestTURNUserName(t *testing.T) {
	tr := open(t, everything(t))
	user := func(identity string) string {
		_, id, _ := strings.Cut(tr.ICEServers(identity, time.Hour)[0].Username, ":")
		return id
	}
	if a := user("pascal"); strings.Contains(a, "pascal") || a != user("pascal") || a == user("blaise") {
		t.Error("the user name of an identity")
	}
	if a, b := user(""), user(""); a == b {
		t.Error("the user name of nobody")
	}
}

// A relay reaches this server's media and nothing else: not another host, not another port of this one, not over TCP.
func TestTURNRelaysToMediaOnly(t *testing.T) {
	tr := open(t, everything(t))
	media, tcp, at, _ := tr.Addresses()
	cred := tr.ICEServers("", time.Minute)[0]
	c := turnClient(t, at, cred.Username, cred.Credential)
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	victim, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()

	for _, ip := range []string{"192.0.2.1", "8.8.8.8", "127.0.0.2", "169.254.169.254", "0.0.0.0", "224.0.0.1"} {
		if err := c.CreatePermission(&net.UDPAddr{IP: net.ParseIP(ip), Port: int(media.Port())}); err == nil {
			t.Errorf("permission for %s", ip)
		}
	}
	denied := tr.Stats().RelayDenied
	if denied == 0 {
		t.Error("nothing was counted")
	}
	for _, to := range []*net.UDPAddr{victim.LocalAddr().(*net.UDPAddr), udpAddr(at), udpAddr(tcp)} {
		if _, err := relay.WriteTo([]byte("through you"), to); err != nil {
			t.Fatal(err) // the permission is for the address; what is sent to the port is dropped
		}
	}
	wait(t, func() bool { return tr.Stats().RelayDenied >= denied+3 })
	_ = victim.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, _, err := victim.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came through", n)
	}
	// And backwards: what a stranger sends to the relay does not reach the client.
	if _, err := victim.WriteTo([]byte("hello"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return tr.Stats().RelayDenied >= denied+4 })

	// The media port answers through the relay, so it is not just deaf.
	if _, err := relay.WriteTo(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, udpAddr(media)); err != nil {
		t.Fatal(err)
	}
	if denied+4 != tr.Stats().RelayDenied {
		t.Error("the way to the media was denied")
	}
	if _, err := turnClient(t, at, cred.Username, cred.Credential).AllocateTCP(); err == nil {
		t.Error("a TCP allocation")
	}
}

// One participant can't take all the relays.
func TestTURNQuota(t *testing.T) {
	tr := open(t, everything(t))
	_, _, at, _ := tr.Addresses()
	a, b := tr.ICEServers("a", time.Minute)[0], tr.ICEServers("b", time.Minute)[0]
	var last *turn.Client
	var open net.PacketConn
	for range transport.MaxAllocationsPerUser {
		var err error
		last = turnClient(t, at, a.Username, a.Credential)
		if open, err = last.Allocate(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := turnClient(t, at, a.Username, a.Credential).Allocate(); err == nil {
		t.Error("one too many")
	}
	if _, err := turnClient(t, at, b.Username, b.Credential).Allocate(); err != nil {
		t.Error("somebody else:", err)
	}
	if err := open.Close(); err != nil { // gives the allocation back
		t.Fatal(err)
	}
	wait(t, func() bool { return tr.Stats().Allocations == transport.MaxAllocationsPerUser })
	if _, err := turnClient(t, at, a.Username, a.Credential).Allocate(); err != nil {
		t.Error("after one was given back:", err)
	}
}

// A call goes on when the credential of its relay has run out.
func TestTURNOutlivesCredential(t *testing.T) {
	tr, skew := skewed(t)
	media, _, at, _ := tr.Addresses()
	cred := tr.ICEServers("somebody", time.Minute)[0]
	c := turnClient(t, at, cred.Username, cred.Credential)
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	skew.Store(int64(time.Hour))
	if err := c.CreatePermission(udpAddr(media)); err != nil {
		t.Error("while it runs:", err)
	}
	skew.Store(int64(transport.TURNSession + time.Hour))
	if err := c.CreatePermission(udpAddr(media)); err == nil {
		t.Error("for ever")
	}
}

// Anybody gets a credential for a check. It is good for few relays, and all checks together have a share of their own.
func TestTURNChecksTakeNoCallsRelays(t *testing.T) {
	tr := open(t, everything(t))
	_, _, at, _ := tr.Addresses()
	taken := 0
	for range transport.MaxCheckAllocations/transport.MaxAllocationsPerCheck + 1 { // fresh credentials, as whoever asks often gets
		cred := tr.ICEServers("", time.Minute)[0]
		for i := range transport.MaxAllocationsPerCheck + 1 {
			_, err := turnClient(t, at, cred.Username, cred.Credential).Allocate()
			if err == nil {
				taken++
			}
			if err == nil && i == transport.MaxAllocationsPerCheck {
				t.Fatal("one credential opens one too many")
			}
		}
		if taken >= transport.MaxAllocationsPerNetwork {
			break
		}
	}
	if taken > transport.MaxCheckAllocations {
		t.Errorf("checks have %d relays", taken)
	}
	// All are taken, and all of one network too: somebody from elsewhere still gets into a call.
	elsewhere := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	if !transport.Quota(tr, tr.ICEServers("somebody", time.Minute)[0].Username, elsewhere) {
		t.Error("a participant gets no relay")
	}
	if transport.Quota(tr, tr.ICEServers("", time.Minute)[0].Username, elsewhere) {
		t.Error("one more check gets a relay")
	}
}

// Whoever has many identities, or takes them from others, gets no more than a large office needs.
func TestTURNNetworkIsBounded(t *testing.T) {
	tr := open(t, everything(t))
	_, _, at, _ := tr.Addresses()
	var last net.PacketConn
	for i := range transport.MaxAllocationsPerNetwork {
		cred := tr.ICEServers(strconv.Itoa(i/transport.MaxAllocationsPerUser), time.Minute)[0]
		relay, err := turnClient(t, at, cred.Username, cred.Credential).Allocate()
		if err != nil {
			t.Fatal(i, err)
		}
		last = relay
	}
	cred := tr.ICEServers("another", time.Minute)[0]
	if _, err := turnClient(t, at, cred.Username, cred.Credential).Allocate(); err == nil {
		t.Error("one too many")
	}
	if !transport.Quota(tr, cred.Username, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}) {
		t.Error("another network gets none")
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return transport.Quota(tr, cred.Username, udpAddr(at)) })
}

// A relay of a check can't be kept: neither by messages signed with its credential, nor by asking for a long life.
func TestTURNCheckEndsSoon(t *testing.T) {
	tr, skew := skewed(t)
	media, _, at, _ := tr.Addresses()
	cred := tr.ICEServers("", time.Minute)[0]
	c := turnClient(t, at, cred.Username, cred.Credential)
	if _, err := c.Allocate(); err != nil {
		t.Fatal(err)
	}
	skew.Store(int64(time.Minute + transport.CheckLife))
	if err := c.CreatePermission(udpAddr(media)); err != nil {
		t.Error("while the check may run:", err)
	}
	skew.Store(int64(10 * time.Minute))
	if err := c.CreatePermission(udpAddr(media)); err == nil {
		t.Error("after that")
	}
	short := open(t, transport.Shorter(everything(t), 0, 10*time.Millisecond))
	_, _, at, _ = short.Addresses()
	cred = short.ICEServers("", time.Minute)[0]
	if _, err := turnClient(t, at, cred.Username, cred.Credential).Allocate(); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return short.Stats().Allocations == 0 }) // the client asked for ten minutes
}
