package egress

import (
	"errors"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// pattern is one host[:port] of an Allow.
type pattern struct {
	unix  string     // path of a Unix socket; then nothing else is set
	addr  netip.Addr // an address, unmapped
	name  string     // a name in lower case without the last dot
	below bool       // "*.name": any name below, not name itself
	port  string     // "": any
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*$`)

func parsePattern(s string) (pattern, error) {
	if file, ok := strings.CutPrefix(s, "unix:"); ok {
		if !path.IsAbs(file) {
			return pattern{}, errors.New("needs an absolute path")
		}
		return pattern{unix: file}, nil
	}
	host, port := s, ""
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return pattern{}, errors.New("is not host or host:port")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return pattern{}, errors.New("has no port between 1 and 65535")
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return pattern{}, errors.New("has a zone")
		}
		return pattern{addr: a.Unmap(), port: port}, nil
	}
	name, below := strings.CutPrefix(canonical(host), "*.")
	if !hostName.MatchString(name) || len(name) > 253 {
		return pattern{}, errors.New("is not a host name (international names are written in their xn-- form)")
	}
	if below && !strings.Contains(name, ".") {
		return pattern{}, errors.New("would allow a whole top-level domain")
	}
	return pattern{name: name, below: below, port: port}, nil
}

// matches reports whether the pattern covers a host and port as they were asked for.
func (p pattern) matches(host, port string) bool {
	if p.unix != "" || (p.port != "" && p.port != port) {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return p.addr.IsValid() && p.addr == a.Unmap()
	}
	host = canonical(host)
	if p.below {
		return strings.HasSuffix(host, "."+p.name) && hostName.MatchString(host)
	}
	return p.name != "" && host == p.name
}

func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }
