package prove

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"parley/internal/rtc/signal"
)

// tap lets a participant of a call speak to the server as one of our clients, and keeps what both say to each other. Whatever the
// participant's own program makes of it, nothing that the engine tells goes past the search.
type tap struct {
	next  http.RoundTripper
	head  http.Header // what the client sends with every call
	query url.Values  // what it tells of itself in the address

	mu       sync.Mutex
	local    netip.AddrPort // where its connection comes from
	in, told bytes.Buffer   // from the server, and to it
}

// RoundTrip is what http.RoundTripper says.
func (t *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		t.mu.Lock()
		t.local, _ = netip.ParseAddrPort(c.Conn.LocalAddr().String()) // then there is none to look for
		t.mu.Unlock()
	}}))
	maps.Copy(req.Header, t.head)
	q := req.URL.Query()
	maps.Copy(q, t.query)
	req.URL.RawQuery = q.Encode()
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if rw, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &tapped{rw, t}
	}
	return res, nil
}

// tapped is a connection that is listened to.
type tapped struct {
	io.ReadWriteCloser

	t *tap
}

// Read keeps what it reads.
func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	c.t.mu.Lock()
	c.t.in.Write(b[:n])
	c.t.mu.Unlock()
	return n, err
}

// Write keeps what it writes.
func (c *tapped) Write(b []byte) (int, error) {
	c.t.mu.Lock()
	c.t.told.Write(b)
	c.t.mu.Unlock()
	return c.ReadWriteCloser.Write(b)
}

// answers returns what the engine said so far.
func (t *tap) answers() (out []*signal.SignalResponse, raw []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range messages(t.in.Bytes()) {
		m := &signal.SignalResponse{}
		if proto.Unmarshal(b, m) == nil {
			out = append(out, m)
		}
		raw = append(append(raw, b...), '\n')
	}
	return out, raw
}

// from returns where the connection comes from.
func (t *tap) from() netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.local
}

// places returns where the participant comes from, as it told the engine: the address and port of each candidate.
func (t *tap) places() (out []netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range messages(t.told.Bytes()) {
		m := &signal.SignalRequest{}
		var init struct{ Candidate string }
		if proto.Unmarshal(b, m) != nil || json.Unmarshal([]byte(m.GetTrickle().GetCandidateInit()), &init) != nil {
			continue
		}
		if words := strings.Fields(init.Candidate); len(words) > 5 {
			if at, err := netip.ParseAddrPort(net.JoinHostPort(words[4], words[5])); err == nil {
				out = append(out, at)
			}
		}
	}
	return out
}

// messages reads the frames of a WebSocket, as they travel, into messages. What is not complete is left.
func messages(b []byte) (out [][]byte) {
	var message []byte
	for len(b) >= 2 {
		last, kind, masked, n := b[0]&0x80 != 0, b[0]&0x0f, b[1]&0x80 != 0, uint64(b[1]&0x7f)
		b = b[2:]
		if wide := map[uint64]int{126: 2, 127: 8}[n]; wide > 0 {
			if len(b) < wide {
				return out
			}
			n = binary.BigEndian.Uint64(append(make([]byte, 8-wide, 8), b[:wide]...))
			b = b[wide:]
		}
		var mask [4]byte
		if masked {
			b = b[copy(mask[:], b):]
		}
		if uint64(len(b)) < n {
			return out
		}
		if kind < 8 { // 8 and above are the connection's own: pings, the end
			for i, c := range b[:n] {
				message = append(message, c^mask[i%4])
			}
			if last {
				out, message = append(out, message), nil
			}
		}
		b = b[n:]
	}
	return out
}

// strayText returns the texts in a message of the engine that a person could have written: names, metadata and attributes, wherever
// they stand. A room's name is not among them, which is the call's id.
func strayText(m protoreflect.Message) (out []string) {
	of := m.Descriptor().Name()
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := f.Name(); {
		case name == "metadata", name == "attributes", name == "name" && of != "Room":
			out = append(out, string(of)+"."+string(name))
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				out = append(out, strayText(v.List().Get(i).Message())...)
			}
		default:
			out = append(out, strayText(v.Message())...)
		}
		return true
	})
	return out
}
