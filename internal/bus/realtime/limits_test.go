package realtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/bus/realtime"
)

func TestMalformedFrames(t *testing.T) {
	s := newServer(t, nil)
	for name, frame := range map[string]string{
		"not JSON":     `hello`,
		"broken":       `{"id":1,"rpc":`,
		"wrong type":   `{"id":"1","rpc":{}}`,
		"huge id":      `{"id":4294967296,"rpc":{}}`,
		"array":        `[]`,
		"null":         `null`,
		"blank":        "\n \n",
		"not UTF-8":    "{\"id\":1,\"rpc\":{\"method\":\"\xff\"}}",
		"two methods":  `{"id":1,"rpc":{},"subscribe":{"channel":"a"}}`,
		"no id":        `{"rpc":{"method":"echo"}}`,
		"second wrong": `{"id":2,"rpc":{"method":"echo"}}` + "\nnope",
	} {
		t.Run(name, func(t *testing.T) {
			c := join(t, s, "visitor:1")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			kind := websocket.MessageText
			if name == "not UTF-8" { // a library would refuse to send it as text
				c.rawText([]byte(frame))
			} else if err := c.ws.Write(ctx, kind, []byte(frame)); err != nil {
				t.Fatal(err)
			}
			if code := c.closed(); code != 3501 {
				t.Errorf("closed with %d, want 3501", code)
			}
		})
	}
	c := join(t, s, "visitor:1")
	if err := c.ws.Write(t.Context(), websocket.MessageBinary, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if code := c.closed(); code != 3501 {
		t.Errorf("binary: closed with %d, want 3501", code)
	}
}

// rawText sends bytes as a text message whatever they are; this library does not look.
func (c *client) rawText(b []byte) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, b); err != nil {
		c.t.Fatal(err)
	}
}

func TestFrameSize(t *testing.T) {
	s := newServer(t, nil)
	c := join(t, s, "visitor:1")
	fits := `{"id":2,"rpc":{"method":"nothing","data":"` + strings.Repeat("x", 32<<10-len(`{"id":2,"rpc":{"method":"nothing","data":""}}`)) + `"}}`
	c.write(fits)
	if got := c.read(); got["rpc"] == nil {
		t.Error(got)
	}
	c.write(strings.Replace(fits, `"x`, `"xx`, 1))
	if code := c.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d, want 1009", code)
	}
	c = join(t, s, "visitor:1")
	c.rawText([]byte(strings.Repeat("x", 1<<20))) // the code arrives although much was not read
	if code := c.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d, want 1009", code)
	}
}

func TestCommandLimit(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) { o.Limits.CommandRate, o.Limits.CommandBurst = 0.5, 5 })
	c := join(t, s, "visitor:1")
	for range 5 {
		if got := c.call("rpc", obj{"method": "nothing"}); got["rpc"] == nil {
			t.Fatal(got)
		}
	}
	for i := range 5 {
		wait := 2 * (i + 2)
		if i == 0 {
			if e := c.call("rpc", obj{"method": "nothing"})["error"].(obj); e["code"] != 429.0 || e["temporary"] != true {
				t.Fatal(e)
			}
			continue
		}
		e := c.call("rpc", obj{"method": "nothing"})["error"].(obj)
		if e["code"] != 429.0 || !strings.HasPrefix(e["message"].(string), "too_many_commands retry_after=") {
			t.Fatalf("%v (about %d s)", e, wait)
		}
	}
	c.command("rpc", obj{"method": "nothing"})
	_, err := c.line()
	if code := websocket.CloseStatus(err); code != 3013 || !strings.Contains(err.Error(), "too many requests retry_after=") {
		t.Errorf("closed with %v", err)
	}
	if n := s.Stats(); n.CommandsRefused != 5 {
		t.Errorf("stats: %+v", n)
	}
}

// Pongs that nobody asked for count as commands.
func TestPongFlood(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) { o.Limits.CommandBurst = 10 })
	c := join(t, s, "visitor:1")
	c.write(strings.Repeat("{}\n", 1000))
	if code := c.closed(); code != 3013 {
		t.Errorf("closed with %d", code)
	}
}

func TestPingPong(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *realtime.Options) { o.Limits.Ping, o.Limits.Pong = time.Second, time.Second })
	answers, silent := join(t, s, "visitor:1"), join(t, s, "visitor:2")
	for range 3 {
		line, err := answers.line()
		if line != "{}" || err != nil {
			t.Fatal(line, err)
		}
		answers.write("{}")
	}
	if code := silent.closed(); code != 3012 {
		t.Errorf("the silent one: closed with %d", code)
	}
	answers.command("rpc", obj{"method": "nothing"})
	if got := answers.read(); got["rpc"] == nil {
		t.Error(got)
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *realtime.Options) { o.Limits.Hello = 50 * time.Millisecond })
	if code := dial(t, s).closed(); code != 3502 {
		t.Errorf("closed with %d", code)
	}
	join(t, s, "visitor:1").call("rpc", obj{"method": "nothing"})
}

// A client that does not read is cut off, and costs the others nothing.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *realtime.Options) {
		o.Limits.Queue, o.Limits.Write = 256<<10, 500*time.Millisecond
	})
	join(t, s, "member:slow room:1") // never reads again
	quick := join(t, s, "member:quick room:1")
	text, _ := json.Marshal(strings.Repeat("x", 10_000))
	for n := 0; s.Stats().Slow == 0; n++ {
		publish(t, s, "room:1", string(text))
		quick.pushed("room:1", "pub")
		if n > 5000 {
			t.Fatal("the slow client was never noticed")
		}
	}
	wait(t, s.gone)
	quick.call("rpc", obj{"method": "nothing"})
}

func TestChannelLimit(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) { o.Limits.Channels = 2 })
	c := join(t, s, "member:1 org:1")
	c.call("subscribe", obj{"channel": "room:1"})
	failed(t, c.call("subscribe", obj{"channel": "room:2"}), 106, "limit exceeded")
	c.call("unsubscribe", obj{"channel": "room:1"})
	if got := c.call("subscribe", obj{"channel": "room:2"}); got["subscribe"] == nil {
		t.Error(got)
	}
}

type problem struct {
	Status int
	Code   string
}

// handshake asks for a socket and returns the refusal.
func handshake(t *testing.T, s *server, header http.Header) (*http.Response, problem) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(s.url, "ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() }) // the end of a socket, where one was made
	var p problem
	if res.StatusCode != http.StatusSwitchingProtocols {
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
			t.Fatal(err)
		}
	}
	return res, p
}

var upgradeHeader = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}

func TestHandshakeRefusals(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	s := newServer(t, func(o *realtime.Options) {
		o.Limits.ConnectRate, o.Limits.ConnectBurst = 0.1, 3
		o.ClientAddr = func(*http.Request) netip.Addr { return addr }
	})
	if res, p := handshake(t, s, nil); res.StatusCode != 426 || p.Code != "websocket_required" {
		t.Error(res.Status, p)
	}
	foreign := upgradeHeader.Clone()
	foreign.Set("Origin", "https://elsewhere.example")
	if res, p := handshake(t, s, foreign); res.StatusCode != 403 || p.Code != "origin_not_allowed" {
		t.Error(res.Status, p)
	}
	own := upgradeHeader.Clone()
	own.Set("Origin", "http"+strings.TrimPrefix(s.url, "ws"))
	if res, _ := handshake(t, s, own); res.StatusCode != 101 {
		t.Error(res.Status)
	}
	res, p := handshake(t, s, upgradeHeader)
	if res.StatusCode != 429 || p.Code != "too_many_connections" || p.Status != 429 || res.Header.Get("Retry-After") != "10" {
		t.Error(res.Status, p, res.Header)
	}
	addr = netip.MustParseAddr("2001:db8::1")
	for range 3 {
		if res, _ := handshake(t, s, upgradeHeader); res.StatusCode != 101 {
			t.Error(res.Status)
		}
	}
	addr = netip.MustParseAddr("2001:db8::2:0:0:1") // the same subscriber
	if res, _ := handshake(t, s, upgradeHeader); res.StatusCode != 429 {
		t.Error(res.Status)
	}
}

func TestOriginsAndRoom(t *testing.T) {
	s := newServer(t, func(o *realtime.Options) {
		o.Limits.Conns = 1
		o.AllowOrigin = func(r *http.Request) bool { return r.Header.Get("Origin") == "https://shop.example" }
	})
	if res, p := handshake(t, s, upgradeHeader); res.StatusCode != 403 {
		t.Error(res.Status, p)
	}
	shop := upgradeHeader.Clone()
	shop.Set("Origin", "https://shop.example")
	if res, p := handshake(t, s, shop); res.StatusCode != 101 {
		t.Error(res.Status, p)
	}
	if res, p := handshake(t, s, shop); res.StatusCode != 503 || p.Code != "too_many_sockets" || res.Header.Get("Retry-After") == "" {
		t.Error(res.Status, p)
	}
}

// Clients that send their first command in one packet with the handshake are heard.
func TestEarlyCommand(t *testing.T) {
	s := newServer(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	command := `{"id":1,"connect":{"token":"visitor:1"}}`
	frame := append([]byte{0x81, 0x80 | byte(len(command)), 0, 0, 0, 0}, command...) // masked with zeros
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n%s", "x", frame)
	var got strings.Builder
	for !strings.Contains(got.String(), `"client"`) {
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err, got.String())
		}
		got.Write(b[:n])
	}
}
