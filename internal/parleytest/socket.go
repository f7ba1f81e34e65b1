package parleytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Event is what arrives on a channel.
type Event struct {
	Channel string
	Type    string          `json:"type"`
	Seq     int64           `json:"seq"`
	Data    json.RawMessage `json:"data"`
	User    string          // of a join or leave, whose Type is "join" or "leave"
}

// Socket is a client of /ws that speaks the Centrifuge protocol as plainly as a test needs.
type Socket struct {
	t      testing.TB
	conn   *websocket.Conn
	ctx    context.Context
	next   uint32
	Events chan Event
	Closed chan websocket.CloseError // what the server said when it closed
	reply  chan reply
}

type reply struct {
	ID    uint32 `json:"id"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Connect json.RawMessage `json:"connect"`
	RPC     *struct {
		Data json.RawMessage `json:"data"`
	} `json:"rpc"`
	Push *push `json:"push"`
}

type push struct {
	Channel string `json:"channel"`
	Pub     *struct {
		Data json.RawMessage `json:"data"`
	} `json:"pub"`
	Join, Leave *struct {
		Info struct {
			User string `json:"user"`
		} `json:"info"`
	}
}

// CallError is an error that the server answered a command with.
type CallError struct {
	Code    int
	Message string
}

func (e *CallError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Message) }

// Socket connects as the client: with its token, or with its cookies.
func (c *Client) Socket(t testing.TB) *Socket {
	t.Helper()
	s, err := c.TrySocket(t)
	must(t, err)
	return s
}

// TrySocket is Socket for tests that expect a refusal.
func (c *Client) TrySocket(t testing.TB) (*Socket, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, res, err := websocket.Dial(ctx, strings.Replace(c.URL, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: c.HTTP, HTTPHeader: http.Header{"Origin": {c.URL}}})
	if err != nil {
		cancel()
		if res != nil {
			return nil, &CallError{res.StatusCode, res.Header.Get("Retry-After")}
		}
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	s := &Socket{t: t, conn: conn, ctx: ctx, Events: make(chan Event, 4096), Closed: make(chan websocket.CloseError, 1), reply: make(chan reply, 64)}
	t.Cleanup(func() {
		cancel()
		_ = conn.CloseNow() // it may be closed
	})
	go s.read()
	if _, err := s.command("connect", map[string]string{"token": c.Token, "name": "test"}); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Socket) read() {
	for {
		_, data, err := s.conn.Read(s.ctx)
		if err != nil {
			var closed websocket.CloseError
			if ce, ok := asClose(err); ok {
				closed = ce
			}
			s.Closed <- closed
			close(s.reply)
			return
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		for dec.More() {
			var r reply
			if dec.Decode(&r) != nil {
				break
			}
			s.take(r)
		}
	}
}

func (s *Socket) take(r reply) {
	switch {
	case r.ID != 0:
		s.reply <- r
	case r.Push == nil: // a ping
		_ = s.conn.Write(s.ctx, websocket.MessageText, []byte("{}")) // a broken socket shows in Read
	case r.Push.Pub != nil:
		e := Event{Channel: r.Push.Channel}
		if json.Unmarshal(r.Push.Pub.Data, &e) == nil {
			s.Events <- e
		}
	case r.Push.Join != nil:
		s.Events <- Event{Channel: r.Push.Channel, Type: "join", User: r.Push.Join.Info.User}
	case r.Push.Leave != nil:
		s.Events <- Event{Channel: r.Push.Channel, Type: "leave", User: r.Push.Leave.Info.User}
	}
}

func asClose(err error) (websocket.CloseError, bool) {
	code := websocket.CloseStatus(err)
	return websocket.CloseError{Code: code}, code != -1
}

func (s *Socket) command(name string, params any) (reply, error) {
	s.next++
	id := s.next
	data, err := json.Marshal(map[string]any{"id": id, name: params})
	if err != nil {
		return reply{}, err
	}
	if err := s.conn.Write(s.ctx, websocket.MessageText, data); err != nil {
		return reply{}, err
	}
	for {
		select {
		case r, ok := <-s.reply:
			if !ok {
				return reply{}, fmt.Errorf("the server closed the socket")
			}
			if r.ID != id {
				continue
			}
			if r.Error != nil {
				return r, &CallError{r.Error.Code, r.Error.Message}
			}
			return r, nil
		case <-time.After(20 * time.Second):
			return reply{}, fmt.Errorf("no answer to %s within 20 s", name)
		}
	}
}

// Subscribe joins a channel.
func (s *Socket) Subscribe(channel string) error {
	_, err := s.command("subscribe", map[string]string{"channel": channel})
	return err
}

// Call calls a method; out may be nil.
func (s *Socket) Call(method string, in, out any) error {
	r, err := s.command("rpc", map[string]any{"method": method, "data": in})
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(r.RPC.Data, out)
}

// Wait returns the next event of the type, skipping others, and decodes its data into out.
func (s *Socket) Wait(t testing.TB, typ string, out any) Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-s.Events:
			if e.Type != typ {
				continue
			}
			if out != nil {
				must(t, json.Unmarshal(e.Data, out))
			}
			return e
		case <-limit:
			t.Fatalf("no %s within 20 s", typ)
		}
	}
}

// Cut breaks the connection without a word, as a lost network does.
func (s *Socket) Cut() { _ = s.conn.CloseNow() }
