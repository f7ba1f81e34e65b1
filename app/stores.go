package app

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"parley/egress"
	"parley/internal/fault"
)

// mayBePlain reports whether a store's URL lets passwords and rows travel without TLS.
func mayBePlain(raw string) bool {
	if strings.HasPrefix(raw, "redis://") {
		return true
	}
	u, err := url.Parse(raw)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return false
	}
	mode := u.Query().Get("sslmode")
	if mode == "" {
		mode = os.Getenv("PGSSLMODE") // as PostgreSQL's own clients do
	}
	return mode == "" || mode == "disable" || mode == "allow" || mode == "prefer"
}

// atHome keeps plain connections to a store inside this machine and its network (promise I6): over the internet they are closed before
// a word is said.
func atHome(dial dialer, flag, raw, instead string) dialer {
	if !mayBePlain(raw) {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ap, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // a Unix socket has none
		if !egress.Public(ap.Addr()) {
			return conn, nil
		}
		_ = conn.Close() // nothing was said
		return nil, fault.New(fault.Forbidden, "app.store", "store_plain", flag+" leads over the public internet without TLS. "+instead)
	}
}
