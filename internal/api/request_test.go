package api_test

import (
	"net/netip"
	"net/url"
	"testing"

	"parley/internal/api"
)

func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.7", "10.0.0.1, 10.0.0.2")
	f.Add("[2001:db8::1]:80", "")
	f.Add(",,,,", "unknown, _hidden")
	f.Add("fe80::1%eth0", "::ffff:10.0.0.1")
	proxies := netip.MustParsePrefix("10.0.0.0/8")
	peer := netip.MustParseAddr("10.9.9.9")
	f.Fuzz(func(t *testing.T, one, two string) {
		got := api.ForwardedFor([]string{one, two}, peer, proxies.Contains)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q, %q: %v", one, two, got)
		}
		if api.ValidHost(one) {
			u, err := url.Parse("https://" + one + "/app/")
			if err != nil || u.Host != one || u.Path != "/app/" || u.User != nil {
				t.Fatalf("host %q makes the link %v (%v)", one, u, err)
			}
		}
	})
}

func TestSubscriber(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.7":          "203.0.113.7",
		"::ffff:203.0.113.7":   "203.0.113.7",
		"2001:db8:0:1:2:3:4:5": "2001:db8:0:1::",
		"fe80::1%eth0":         "fe80::",
	} {
		if got := api.Subscriber(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts as %s, want %s", in, got, want)
		}
	}
	if got := api.Subscriber(netip.Addr{}); got.IsValid() {
		t.Errorf("no address counts as %s", got)
	}
}
