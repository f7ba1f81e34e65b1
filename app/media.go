package app

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// The ports that audio and video use unless the operator names others.
const (
	portRTCUDP  = "7882"
	portRTCTCP  = "7881"
	portTURN    = "3478" // RFC 8656, section 16: turn
	portTURNTLS = "5349" // RFC 8656, section 16: turns
	off         = "off"
)

func (c *Config) mediaFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.RTCUDP, "rtc-udp", "", "`host:port` of audio and video over UDP, or off (default port "+portRTCUDP+" where --listen is)")
	fs.StringVar(&c.RTCTCP, "rtc-tcp", "", "`host:port` of audio and video over TCP, or off (default port "+portRTCTCP+")")
	fs.StringVar(&c.RTCTURN, "rtc-turn", "", "`host:port` of the relay (TURN) over UDP, or off (default port "+portTURN+")")
	fs.StringVar(&c.RTCTURNTLS, "rtc-turn-tls", "", "`host:port` of the relay over TLS, or off (default port "+portTURNTLS+" where Parley has a certificate)")
	fs.StringVar(&c.PublicIPs, "public-ip", "", "`addresses` at which browsers reach the media ports, separated by commas, if they are not this machine's own")
}

// resolveMedia says where the media listen. Empty addresses follow --listen: its loopback stays loopback, and where it takes any
// free port so do they; otherwise, and behind a proxy that others reach by https, every interface with the port that is usual.
func (c *Config) resolveMedia() (err error) {
	host, free := "0.0.0.0", false
	if h, p, e := net.SplitHostPort(c.Listen); e == nil {
		free = p == "0"
		if loopback(h) && !strings.HasPrefix(c.BaseURL, "https://") {
			host = "127.0.0.1"
		}
	}
	pick := func(flag, value, port string) string {
		switch {
		case err != nil || value == off:
			return ""
		case value == "" && free:
			return net.JoinHostPort(host, "0")
		case value == "":
			return net.JoinHostPort(host, port)
		}
		h, p, e := net.SplitHostPort(value)
		if e != nil || p == "" {
			err = bad(flag, "rtc_address", fmt.Sprintf("%q is not host:port, such as 0.0.0.0:%s, or off", value, port))
			return ""
		}
		if h == "" {
			h = host
		}
		return net.JoinHostPort(h, p)
	}
	c.ports = ports{
		udp: pick("rtc-udp", c.RTCUDP, portRTCUDP), tcp: pick("rtc-tcp", c.RTCTCP, portRTCTCP),
		turn: pick("rtc-turn", c.RTCTURN, portTURN), turnTLS: pick("rtc-turn-tls", c.RTCTURNTLS, portTURNTLS),
	}
	c.ports.loopback = listensOnLoopback(c.ports.udp) || listensOnLoopback(c.ports.tcp)
	if err != nil {
		return err
	}
	_, err = c.publicIPs()
	return err
}

func (c *Config) publicIPs() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range strings.FieldsFunc(c.PublicIPs, func(r rune) bool { return r == ',' || r == ' ' }) {
		a, err := netip.ParseAddr(s)
		if err != nil || a.IsUnspecified() || a.IsMulticast() {
			return nil, bad("public-ip", "public_ip", fmt.Sprintf("%q is not an address such as 203.0.113.7", s))
		}
		out = append(out, a)
	}
	return out, nil
}
