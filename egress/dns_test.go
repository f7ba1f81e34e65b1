package egress_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// names is a real DNS server on loopback whose answers a test may change.
type names struct {
	mu      sync.Mutex
	answers map[string][]netip.Addr
}

func (n *names) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[name] = nil
	for _, a := range addrs {
		n.answers[name] = append(n.answers[name], netip.MustParseAddr(a))
	}
}

// serveNames starts the server and returns it with a resolver that asks nobody else.
func serveNames(t *testing.T) (*names, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n := &names{answers: map[string][]netip.Addr{}}
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := n.answer(buf[:size]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return n, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer replies to a query of one question (RFC 1035): the addresses of the type asked for, or none.
func (n *names) answer(q []byte) []byte {
	if len(q) < 12 {
		return nil
	}
	end, labels := 12, []string(nil)
	for end < len(q) && q[end] != 0 {
		size := int(q[end])
		labels = append(labels, string(q[end+1:end+1+size]))
		end += 1 + size
	}
	end++
	qtype := binary.BigEndian.Uint16(q[end:])
	end += 4
	n.mu.Lock()
	addrs, known := n.answers[strings.ToLower(strings.Join(labels, "."))]
	n.mu.Unlock()
	out := append([]byte{}, q[:end]...)
	out[2], out[3] = 0x84, 0x80 // response, authoritative, recursion available
	if !known {
		out[3] |= 3 // no such name
	}
	count := uint16(0)
	for _, a := range addrs {
		if (qtype == 1) != a.Is4() || (qtype != 1 && qtype != 28) {
			continue
		}
		count++
		data := a.AsSlice()
		out = append(out, 0xc0, 12)
		out = binary.BigEndian.AppendUint16(out, qtype)
		out = binary.BigEndian.AppendUint16(out, 1) // IN
		out = binary.BigEndian.AppendUint32(out, 0) // not to be kept
		out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
		out = append(out, data...)
	}
	binary.BigEndian.PutUint16(out[6:], count)
	binary.BigEndian.PutUint32(out[8:], 0)
	return out
}
