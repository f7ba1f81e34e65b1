package egress

import (
	"net/netip"
	"slices"
)

// special are the ranges that are no public destination although netip's predicates do not say so
// (IANA's special-purpose registries, RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // "this network": Linux connects it to itself
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier NAT, and some clouds' metadata
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments, and some clouds' metadata
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them: it embeds IPv4
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: it embeds IPv4
	netip.MustParsePrefix("3fff::/20"),       // documentation
}

var (
	globalV6 = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	// metadata are the addresses at which clouds tell a machine its secrets, where they are not link-local.
	// Not even a private recipient may be there.
	metadata = []netip.Addr{
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("192.0.0.192"),
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("fd20:ce::254"),
	}
)

// Public reports whether the address is an ordinary one on the public internet: not loopback, private,
// link-local, a cloud's metadata service, multicast, documentation, nor IPv6 that leads to such IPv4.
func Public(a netip.Addr) bool {
	a, ok := plain(a)
	if !ok || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.Is4() || globalV6.Contains(a)
}

// private reports whether a recipient that the operator keeps at home may be there: a public, loopback or private address.
func private(a netip.Addr) bool {
	a, ok := plain(a)
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	return !slices.Contains(metadata, a)
}

// plain returns the address that a connection would really reach: the IPv4 inside IPv4-mapped IPv6 and NAT64.
// An address with a zone is none of ours.
func plain(a netip.Addr) (netip.Addr, bool) {
	if !a.IsValid() || a.Zone() != "" {
		return a, false
	}
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a, true
}
