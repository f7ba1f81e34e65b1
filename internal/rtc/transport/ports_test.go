package transport_test

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"parley/internal/fault"
	"parley/internal/rtc/transport"
)

// A port in use names the flag and says what to do, and what was opened before it is closed again.
func TestPortInUse(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	before := runtime.NumGoroutine()
	for flag, change := range map[string]func(*transport.Config){
		"--rtc-udp":      func(c *transport.Config) { c.UDP = udp.LocalAddr().String() },
		"--rtc-tcp":      func(c *transport.Config) { c.TCP = tcp.Addr().String() },
		"--rtc-turn":     func(c *transport.Config) { c.TURN = udp.LocalAddr().String() },
		"--rtc-turn-tls": func(c *transport.Config) { c.TURNTLS = tcp.Addr().String() },
	} {
		cfg := everything(t)
		change(&cfg)
		tr, err := transport.Open(cfg)
		if tr != nil || !fault.Is(err, fault.Unavailable) {
			t.Fatalf("%s: %v", flag, err)
		}
		f := fault.Of(err)
		if f.Field != flag || f.Code != "port_in_use" || !strings.Contains(f.Text, flag+" off") {
			t.Errorf("%s: field %q, code %q: %s", flag, f.Field, f.Code, f.Text)
		}
	}
	settle(t, before)
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*transport.Config)
		field  string
		code   string
	}{
		"nothing":         {func(c *transport.Config) { *c = transport.Config{} }, "--rtc-udp", "media_off"},
		"turn alone":      {func(c *transport.Config) { c.UDP = "" }, "--rtc-turn", "turn_needs_udp"},
		"no certificate":  {func(c *transport.Config) { c.TLS = nil }, "--rtc-turn-tls", "turn_needs_tls"},
		"no port":         {func(c *transport.Config) { c.UDP = "127.0.0.1" }, "--rtc-udp", "address_unreadable"},
		"a name":          {func(c *transport.Config) { c.TCP = "localhost:1" }, "--rtc-tcp", "address_unreadable"},
		"not ours":        {func(c *transport.Config) { c.UDP = "203.0.113.9:0" }, "--rtc-udp", "address_unknown"},
		"public wildcard": {func(c *transport.Config) { c.PublicIPs = []netip.Addr{netip.IPv4Unspecified()} }, "--public-ip", "public_ip_unusable"},
		"public nothing":  {func(c *transport.Config) { c.PublicIPs = []netip.Addr{{}} }, "--public-ip", "public_ip_unusable"},
	} {
		cfg := everything(t)
		c.change(&cfg)
		tr, err := transport.Open(cfg)
		if err == nil {
			_ = tr.Close()
			t.Errorf("%s: opened", name)
			continue
		}
		if f := fault.Of(err); f.Field != c.field || f.Code != c.code || f.Text == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Everything ends with Close, peer connections too, and Close may be called again.
func TestClose(t *testing.T) {
	tr, err := transport.Open(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	udp, tcp, turn, turnTLS := tr.Addresses()
	for _, a := range []netip.AddrPort{udp, tcp, turn, turnTLS} {
		if !a.IsValid() || a.Port() == 0 {
			t.Errorf("no address: %v %v %v %v", udp, tcp, turn, turnTLS)
		}
	}
	for _, o := range []clientOptions{{}, {relay: only(tr.ICEServers("", patience), "turn")}, {relay: only(tr.ICEServers("", patience), "turns")}} {
		c := dial(t, o)
		ch := c.channel(t, "data")
		join(t, tr, c, transport.PeerOptions{})
		ch.echo(t, "x")
		defer c.Close()
	}
	silent, err := net.Dial("tcp", tcp.String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if s := tr.Stats(); s.Peers != 3 || s.Allocations == 0 || s.ReceiveBuffer == 0 {
		t.Errorf("%+v", s)
	}
	done := make(chan error)
	go func() { done <- tr.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close did not end")
	}
	_ = tr.Close()
	if _, err := tr.Publisher(transport.PeerOptions{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
	if s := tr.Stats(); s.Peers != 0 || s.TCP != 0 {
		t.Errorf("after Close: %+v", s)
	}
	for _, a := range []string{udp.String(), turn.String()} { // free again
		c, err := net.ListenPacket("udp", a)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// A server that has had connections leaves no goroutines behind.
func TestGoroutinesEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		tr, err := transport.Open(everything(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []transport.Kind{transport.UDP, transport.TCP, transport.Relay} {
			o := clientOptions{networks: []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}}
			if k == transport.Relay {
				o.relay = tr.ICEServers("", patience)
			}
			c := dial(t, o)
			ch := c.channel(t, "data")
			join(t, tr, c, transport.PeerOptions{Only: []transport.Kind{k}})
			ch.echo(t, "x")
			if err := c.GracefulClose(); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, before)
}

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) { // nothing announces the end of a library's goroutine
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
