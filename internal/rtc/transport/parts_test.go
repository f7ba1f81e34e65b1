package transport_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"

	"parley/internal/fault"
	"parley/internal/rtc/transport"
)

func addrs(s string) (out []netip.Addr) {
	for f := range strings.FieldsSeq(s) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

func TestChooseAddresses(t *testing.T) {
	for _, c := range []struct{ name, has, route, public, host, want string }{
		{"one address", "203.0.113.5", "", "", "0.0.0.0", "203.0.113.5=203.0.113.5"},
		{"IPv4 only when asked for", "203.0.113.5 2001:db8::5", "", "", "0.0.0.0", "203.0.113.5=203.0.113.5"},
		{"both", "203.0.113.5 2001:db8::5", "", "", "::", "203.0.113.5=203.0.113.5 2001:db8::5=2001:db8::5"},
		{"a host", "203.0.113.5 203.0.113.6", "", "", "203.0.113.6", "203.0.113.6=203.0.113.6"},
		{"a public address of its own", "10.0.0.4 203.0.113.5", "", "203.0.113.5", "0.0.0.0", "203.0.113.5=203.0.113.5"},
		{"forwarded to the default route", "10.0.0.4 10.9.0.4", "10.9.0.4", "203.0.113.5", "0.0.0.0", "10.9.0.4=203.0.113.5"},
		{"forwarded, no route known", "127.0.0.1 10.0.0.4", "", "203.0.113.5", "0.0.0.0", "10.0.0.4=203.0.113.5 127.0.0.1=127.0.0.1"},
		{"forwarded to the host", "10.0.0.4 10.9.0.4", "10.9.0.4", "203.0.113.5 2001:db8::1", "10.0.0.4", "10.0.0.4=203.0.113.5"},
		{"two forwarded", "10.0.0.4", "", "203.0.113.5 203.0.113.6", "0.0.0.0", "10.0.0.4=203.0.113.5+203.0.113.6"},
		{"both families", "10.0.0.4 2001:db8::5", "", "203.0.113.5 2001:db8::5", "0.0.0.0", "10.0.0.4=203.0.113.5 2001:db8::5=2001:db8::5"},
		{"loopback is never public", "10.0.0.4 127.0.0.1", "", "203.0.113.5", "127.0.0.1", "127.0.0.1=127.0.0.1"},
		{"no such family", "10.0.0.4", "", "2001:db8::1", "0.0.0.0", "public_ip_unusable"},
		{"nothing", "", "", "", "0.0.0.0", "no_address"},
	} {
		cfg := transport.Config{PublicIPs: addrs(c.public)}
		var route netip.Addr
		if c.route != "" {
			route = netip.MustParseAddr(c.route)
		}
		bound, announced, err := transport.Choose(cfg, netip.MustParseAddr(c.host), addrs(c.has), route)
		var got []string
		for i, b := range bound {
			var as []string
			for _, a := range announced[i] {
				as = append(as, a.String())
			}
			got = append(got, b.String()+"="+strings.Join(as, "+"))
		}
		if err != nil {
			got = []string{fault.Of(err).Code}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
	if b, _, _ := transport.Choose(transport.Config{}, netip.IPv4Unspecified(), slices.Repeat(addrs("10.0.0.4"), 50), netip.Addr{}); len(b) > 8 {
		t.Errorf("%d addresses", len(b))
	}
}

const routes = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
wlan0	00000000	0100A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	0100000A	0003	0	0	100	00000000	0	0	0
tun0	00000000	0100000A	0002	0	0	1	00000000	0	0	0
eth1	00000000	0100000A	0003	0	0	100	0000FFFF	0	0	0
`

func TestDefaultInterface(t *testing.T) {
	if got := transport.DefaultInterface(strings.NewReader(routes)); got != "eth0" {
		t.Error(got)
	}
}

func FuzzDefaultInterface(f *testing.F) {
	f.Add(routes)
	f.Add("eth0 00000000 0 0003 0 0 99999999999999999999999 00000000")
	f.Fuzz(func(t *testing.T, s string) {
		if name := transport.DefaultInterface(strings.NewReader(s)); !strings.Contains(s, name) {
			t.Error(name)
		}
	})
}

func TestKinds(t *testing.T) {
	for _, s := range []string{"udp", "tcp", "relay"} {
		if k, err := transport.ParseKind(s); err != nil || k.String() != s {
			t.Error(s, err)
		}
	}
	for _, s := range []string{"", "UDP", "sctp"} {
		if _, err := transport.ParseKind(s); !fault.Is(err, fault.Invalid) {
			t.Error(s, err)
		}
	}
}

// Nothing of a client's description makes the server send to an address in it.
func FuzzClean(f *testing.F) {
	f.Add("v=0\r\na=ice-lite\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\na=mid:0\r\n")
	f.Add("A=CANDIDATE:x\na=ICE-lite\r\r\n a=candidate:y\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		c := transport.Clean(s)
		for line := range strings.Lines(c) {
			if l := strings.ToLower(strings.TrimSpace(line)); strings.HasPrefix(l, "a=candidate") || strings.HasPrefix(l, "a=ice-lite") {
				t.Errorf("%q", line)
			}
		}
		if transport.Clean(c) != c || len(c) > len(s) {
			t.Errorf("%q", c)
		}
	})
}

func FuzzTURNUser(f *testing.F) {
	for _, s := range []string{"1700000000:00112233445566778899aabb", ":", "x:y", "-1:a", "9999999999999:a", "1:2:3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ends, id, ok := transport.ParseTURNUser(s)
		if ok && (id == "" || ends.Before(time.Unix(0, 0)) || !strings.HasSuffix(s, ":"+id)) {
			t.Errorf("%q: %v %q", s, ends, id)
		}
	})
}

func FuzzPlausible(f *testing.F) {
	for _, b := range nonsense(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		media, turn := transport.Plausible(b)
		if stun.IsMessage(b) && !media && len(b) >= 20 && int(b[2])<<8|int(b[3]) == len(b)-20 && b[0] < 4 {
			t.Error("STUN was dropped")
		}
		if len(b) == 0 && (media || turn) {
			t.Error("nothing is not a packet")
		}
	})
}

// What Firefox and Chrome nominate, and what the server uses.
func TestNominations(t *testing.T) {
	host := candidate(t, "192.0.2.1", 2130706431)
	good, bad := candidate(t, "198.51.100.1", 2130706431), candidate(t, "198.51.100.2", 1000)
	a, b := &ice.CandidatePair{Local: host, Remote: good}, &ice.CandidatePair{Local: host, Remote: bad}
	for _, c := range []struct {
		name string
		says string // pairs that are nominated one after the other; small: a check that nominates nothing
		want string // where the server changes although the pair is worse
	}{
		{"one way", "AA", "--"},
		{"Firefox: all that work, at once", "BABA", "----"},
		{"Firefox: the worse is answered last", "AB", "--"},
		{"Chrome: the better way dies", "AABBB", "---x-"},
		{"Chrome: the better way dies, its checks go on", "AAaBaBaB", "-----x--"},
		{"and comes back", "ABBA", "--x-"},
		{"a check is sent again", "ABb", "---"},
		{"the better one is still meant", "ABAB", "----"},
	} {
		n := transport.NewNominations(func() {})
		var got []byte
		for _, p := range []byte(c.says) {
			pair, remote, mark := a, good, byte('-')
			if p == 'B' || p == 'b' {
				pair, remote = b, bad
			}
			if n.Request(check(t, p < 'a', "u:v"), host, remote, pair) {
				mark = 'x'
			}
			got = append(got, mark)
		}
		if string(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	n := transport.NewNominations(func() {})
	n.Request(check(t, true, "u:v"), host, good, a)
	again := check(t, true, "u:v")
	for range 3 {
		if n.Request(again, host, bad, b) {
			t.Error("the same check twice is one nomination")
		}
	}
	if n.Request(check(t, true, "new:v"), host, bad, b) { // ICE has restarted: the library takes the first
		t.Error("after a restart")
	}
}

// A client that checks from ever new addresses is given up.
func TestTooManyPaths(t *testing.T) {
	calls := 0
	n := transport.NewNominations(func() { calls++ })
	host := candidate(t, "192.0.2.1", 1)
	for i := range 400 {
		c := candidate(t, netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}).String(), 1)
		n.Request(check(t, false, "u:v"), host, c, &ice.CandidatePair{Local: host, Remote: c})
	}
	if calls != 1 {
		t.Error(calls)
	}
}

func candidate(t *testing.T, address string, priority uint32) ice.Candidate {
	t.Helper()
	c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: address, Port: 9, Component: 1, Priority: priority})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func check(t *testing.T, use bool, user string) *stun.Message {
	t.Helper()
	set := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(user)}
	if use {
		set = append(set, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	m, err := stun.Build(set...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
