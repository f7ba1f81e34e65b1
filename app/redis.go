package app

import (
	"context"
	"crypto/tls"
	"net"
)

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// overTLS speaks TLS over what the egress gate dials; the Redis client leaves that to a dialer of one's own.
func overTLS(dial dialer, cfg *tls.Config) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's error is the one that matters
			return nil, err
		}
		return secure, nil
	}
}
