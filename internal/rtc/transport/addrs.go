package transport

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"parley/internal/fault"
)

// maxAddresses is how many of the machine's addresses are used at most: each is a socket, and a candidate that every
// client checks.
const maxAddresses = 8

// local is one address that sockets are bound to, and what clients are told instead of it.
type local struct {
	addr     netip.Addr
	announce []netip.Addr
}

// bridges begin the names of interfaces that containers and virtual machines hang on. No client is behind them, and
// their addresses would only prolong every connection's checks.
var bridges = [...]string{"docker", "veth", "br-", "virbr", "vnet", "cni", "flannel", "cali", "lxc", "lxdbr", "podman", "vmnet", "vboxnet", "kube-"}

// machine is what the choice of addresses needs to know of the machine.
type machine struct {
	addrs   []netip.Addr // usable, in the order of the interfaces
	byRoute netip.Addr   // the IPv4 address of the default route's interface, if there is one
}

// choose says which addresses to bind for a host and what to announce for each.
func (m machine) choose(cfg Config, host netip.Addr) ([]local, error) {
	const op = "transport.Open"
	if !host.IsUnspecified() {
		announce := sameFamily(cfg.PublicIPs, host)
		if len(announce) == 0 || host.IsLoopback() {
			announce = []netip.Addr{host}
		}
		return []local{{host, announce}}, nil
	}
	var out []local
	for _, public := range cfg.PublicIPs {
		base := public
		if !slices.Contains(m.addrs, public) {
			if base = m.primary(public); !base.IsValid() {
				return nil, fault.Bad(op, "--public-ip", "public_ip_unusable",
					"No network interface has an address of the same family (IPv4 or IPv6) as a public address. Leave that address away.")
			}
		}
		i := slices.IndexFunc(out, func(l local) bool { return l.addr == base })
		if i < 0 {
			out = append(out, local{addr: base})
			i = len(out) - 1
		}
		out[i].announce = append(out[i].announce, public)
	}
	for _, a := range m.addrs {
		if len(cfg.PublicIPs) > 0 && !a.IsLoopback() {
			continue // the public addresses stand for the machine
		}
		if host.Is4() && !a.Is4() { // 0.0.0.0 says IPv4, [::] says both
			continue
		}
		out = append(out, local{a, []netip.Addr{a}})
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Unavailable, op, "no_address",
			"No network interface has an address that clients could reach. Name one with --public-ip, or as the host of --rtc-udp.")
	}
	return out[:min(len(out), maxAddresses)], nil
}

// primary is the address that a router most probably forwards a public address to.
func (m machine) primary(public netip.Addr) netip.Addr {
	if public.Is4() && m.byRoute.IsValid() && slices.Contains(m.addrs, m.byRoute) {
		return m.byRoute
	}
	for _, a := range m.addrs {
		if a.Is4() == public.Is4() && !a.IsLoopback() {
			return a
		}
	}
	return netip.Addr{}
}

func sameFamily(addrs []netip.Addr, as netip.Addr) (out []netip.Addr) {
	for _, a := range addrs {
		if a.Is4() == as.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// thisMachine lists the addresses that clients could reach.
func thisMachine(cfg Config) (machine, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return machine{}, fault.Wrap(fault.Unavailable, "transport.Open", err)
	}
	route := ""
	if f, err := os.Open("/proc/net/route"); err == nil { // Linux; elsewhere the first address serves
		route = defaultInterface(f)
		_ = f.Close()
	}
	var m machine
	for _, i := range ifaces {
		if i.Flags&net.FlagUp == 0 || !usable(cfg, i) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			ip = ip.Unmap()
			if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip.IsLoopback() && ip.Is6() {
				continue
			}
			m.addrs = append(m.addrs, ip)
			if i.Name == route && ip.Is4() && !m.byRoute.IsValid() {
				m.byRoute = ip
			}
		}
	}
	return m, nil
}

func usable(cfg Config, i net.Interface) bool {
	if i.Flags&net.FlagLoopback != 0 {
		return cfg.Loopback
	}
	return !slices.ContainsFunc(bridges[:], func(p string) bool { return strings.HasPrefix(i.Name, p) })
}

// defaultInterface reads the interface of the IPv4 default route with the lowest metric from Linux's table of routes:
// name, destination, gateway, flags, reference count, use, metric, mask …, numbers in hexadecimal of the machine's own byte order.
func defaultInterface(table io.Reader) string {
	name, best := "", int64(-1)
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, err := hex.DecodeString(f[3])
		if err != nil || len(flags) != 2 || binary.BigEndian.Uint16(flags)&1 == 0 { // not up
			continue
		}
		var metric int64
		for _, c := range []byte(f[6]) {
			if c < '0' || c > '9' || metric > 1<<40 {
				metric = 1 << 40
				break
			}
			metric = metric*10 + int64(c-'0')
		}
		if best < 0 || metric < best {
			name, best = f[0], metric
		}
	}
	return name
}

// hostPort reads "host:port". An empty host is every address.
func hostPort(flag, s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err == nil && host == "" {
		host = "::"
	}
	var at netip.AddrPort
	if err == nil {
		at, err = netip.ParseAddrPort(net.JoinHostPort(host, port))
	}
	if err != nil {
		return at, fault.Bad("transport.Open", flag, "address_unreadable",
			"Write an IP address and a port, such as 0.0.0.0:7882 or [::]:7882, or off.")
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}
