package egress

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"parley/internal/fault"
)

const (
	maxRelayed  = 256 // connections that one relay carries at a time; more wait in the listener's queue
	acceptPause = 50 * time.Millisecond
)

// Relay listens on a loopback port and carries every connection to the recipient's target (host:port) through the
// recipient's dialer. A subprocess is given addr in place of the target, so that it needs no way out of its own. Any
// process on this machine can connect to addr: the target must ask for credentials itself. stop closes the listener and the
// connections and returns when they have ended. A target that the rules would stop is refused at once, as by Dialer.
func (g *Gate) Relay(recipientID, target string) (addr string, stop func(), err error) {
	if _, reason := g.admit(recipientID, "tcp", target); reason != "" {
		return "", nil, g.refuse(recipientID, target, reason)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fault.Wrap(fault.Unavailable, "egress.Relay", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &relay{dial: g.Dialer(recipientID), target: target, slots: make(chan struct{}, maxRelayed)}
	r.wg.Go(func() { r.serve(ctx, l) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			_ = l.Close()
		})
		r.wg.Wait()
	}
	return l.Addr().String(), stop, nil
}

type relay struct {
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	target string
	slots  chan struct{}
	wg     sync.WaitGroup
}

func (r *relay) serve(ctx context.Context, l net.Listener) {
	for {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		in, err := l.Accept()
		if err != nil {
			<-r.slots
			if ctx.Err() != nil {
				return
			}
			pause(ctx) // out of descriptors, or the peer went away first
			continue
		}
		r.wg.Go(func() {
			defer func() { <-r.slots }()
			r.carry(ctx, in)
		})
	}
}

// pause lets others free what Accept lacked.
func pause(ctx context.Context) {
	select {
	case <-time.After(acceptPause):
	case <-ctx.Done():
	}
}

// carry copies both ways until both sides have said that they are done, or ctx ends.
func (r *relay) carry(ctx context.Context, in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := r.dial(ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	unhook := context.AfterFunc(ctx, func() {
		_ = in.Close()
		_ = out.Close()
	})
	defer unhook()
	var both sync.WaitGroup
	both.Go(func() { pipe(out, in) })
	both.Go(func() { pipe(in, out) })
	both.Wait()
}

// pipe copies src to dst and passes the end of src on.
func pipe(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = dst.Close()
	_ = src.Close()
}
