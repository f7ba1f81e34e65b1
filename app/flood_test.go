package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/app"
	"parley/internal/parleytest"
)

// limited is a server with the limits that operators get.
func limited(t *testing.T, change func(*app.Config)) (*parleytest.Server, parleytest.Tenant) {
	t.Helper()
	s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) {
		c.StartsPerMinute, c.ConnectsPerSecond, c.SocketCommands = 0, 0, 0
		if change != nil {
			change(c)
		}
	}})
	return s, s.Tenant(t, "acme")
}

// from makes a client connect from another address of this machine.
func from(t *testing.T, c *parleytest.Client, addr string) *parleytest.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	tr := &http.Transport{DialContext: dialer.DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &parleytest.Client{URL: c.URL, Token: c.Token, HTTP: &http.Client{Transport: tr, Timeout: 30 * time.Second}}
}

func retryAfter(t *testing.T, header string) {
	t.Helper()
	if n, err := strconv.Atoi(header); err != nil || n < 1 || n > 3600 {
		t.Errorf("Retry-After %q is no sensible number of seconds", header)
	}
}

// works sends a message over the socket.
func works(t *testing.T, s *parleytest.Socket, conversation string) {
	t.Helper()
	if err := s.Call("send", map[string]string{"conversation": conversation, "client_id": parleytest.NewClientID(), "body": "still here"}, nil); err != nil {
		t.Errorf("another visitor's socket: %v", err)
	}
}

func TestConnectFlood(t *testing.T) {
	s, tenant := limited(t, func(c *app.Config) { c.ConnectsPerSecond = 1 })
	bystander, begun := s.Visitor(t, tenant.Site, "hello")
	bystander = from(t, bystander, "127.0.0.2")
	theirs := bystander.Socket(t)
	var refused *parleytest.CallError
	for range 200 {
		if _, err := tenant.Client.TrySocket(t); err != nil {
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			break
		}
	}
	if refused == nil || refused.Code != 429 {
		t.Fatalf("200 connections at once: %v, want 429", refused)
	}
	retryAfter(t, refused.Message)
	works(t, theirs, begun.Conversation.ID)
	bystander.Socket(t)
	tenant.Client.Do(t, "GET", "/api/v1/conversations", nil, nil).Want(t, 200)
}

// raw is a socket on which a test writes what it likes.
type raw struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, c *parleytest.Client) *raw {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(c.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() }) // it may be closed
	r := &raw{t, conn}
	r.write(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, c.Token))
	if _, data, err := conn.Read(t.Context()); err != nil || !bytes.Contains(data, []byte(`"connect"`)) {
		t.Fatalf("connect: %s %v", data, err)
	}
	return r
}

func (r *raw) write(frame string) {
	r.t.Helper()
	if err := r.conn.Write(r.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		r.t.Fatal(err)
	}
}

// end reads to the end of the connection; errors are how many replies were errors with the code.
func (r *raw) end(code int) (errorReplies int, last string, closed websocket.CloseError) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for {
		_, data, err := r.conn.Read(ctx)
		if err != nil {
			if !errors.As(err, &closed) {
				r.t.Fatalf("the connection ended without a word: %v", err)
			}
			return errorReplies, last, closed
		}
		for dec := json.NewDecoder(bytes.NewReader(data)); ; {
			var reply struct {
				Error *struct {
					Code    int    `json:"code"`
					Message string `json:"message"`
				} `json:"error"`
			}
			if dec.Decode(&reply) != nil {
				break
			}
			if reply.Error != nil && reply.Error.Code == code {
				errorReplies, last = errorReplies+1, reply.Error.Message
			}
		}
	}
}

func TestCommandFlood(t *testing.T) {
	s, tenant := limited(t, nil)
	bystander, begun := s.Visitor(t, tenant.Site, "hello")
	theirs := bystander.Socket(t)
	flooder, _ := s.Visitor(t, tenant.Site, "watch this")
	r := dial(t, flooder)
	for frame := range 4 {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `{"id":%d,"rpc":{"method":"nothing","data":{}}}`+"\n", 2+frame*100+i)
		}
		r.write(b.String())
	}
	works(t, theirs, begun.Conversation.ID)
	n, message, closed := r.end(429)
	if n == 0 || !strings.HasPrefix(message, "too_many_commands retry_after=") {
		t.Errorf("%d refusals, the last with %q", n, message)
	}
	if closed.Code < 3000 || closed.Code > 3499 {
		t.Errorf("closed with %d %q, want a code upon which clients come back", closed.Code, closed.Reason)
	}
	works(t, theirs, begun.Conversation.ID)
	flooder.Socket(t)
}

// A frame that nobody can read ends its own connection, and no other.
func TestMalformedFrames(t *testing.T) {
	s, tenant := limited(t, func(c *app.Config) { c.StartsPerMinute = 1000 })
	bystander, talk := s.Visitor(t, tenant.Site, "hello")
	theirs := bystander.Socket(t)
	send := func(body string) string {
		return `{"id":2,"rpc":{"method":"send","data":{"conversation":"` + talk.Conversation.ID + `","client_id":"odd","body":"` + body + `"}}}`
	}
	for name, tc := range map[string]struct {
		frame  string
		binary bool
		code   websocket.StatusCode
	}{
		"no JSON":             {frame: "hello?", code: 3501},
		"half a command":      {frame: `{"id":2,"rpc":{"method":`, code: 3501},
		"nesting":             {frame: `{"id":2,"rpc":{"method":"send","data":` + strings.Repeat("[", 15000), code: 3501},
		"invalid UTF-8":       {frame: send("caf\xe9"), code: 3501},
		"overlong UTF-8":      {frame: send("\xc0\xaf"), code: 3501},
		"surrogate in UTF-8":  {frame: send("\xed\xa0\x80"), code: 3501},
		"binary":              {frame: send("hello"), binary: true, code: 3501},
		"too large":           {frame: send(strings.Repeat("x", 40<<10)), code: websocket.StatusMessageTooBig},
		"a second connection": {frame: `{"id":2,"connect":{}}`, code: 3501},
	} {
		t.Run(name, func(t *testing.T) {
			r := dial(t, bystander)
			kind := websocket.MessageText
			if tc.binary {
				kind = websocket.MessageBinary
			}
			if err := r.conn.Write(t.Context(), kind, []byte(tc.frame)); err != nil {
				t.Fatal(err)
			}
			if _, _, closed := r.end(0); closed.Code != tc.code {
				t.Errorf("closed with %d %q, want %d", closed.Code, closed.Reason, tc.code)
			}
			works(t, theirs, talk.Conversation.ID)
		})
	}
	// What can be read but not stored is refused with a reason; the socket stays.
	for body, want := range map[string]string{`nul\u0000`: "422 message_control_character", `bell\u0007`: "422 message_control_character",
		` \n`: "422 message_empty", strings.Repeat("x", 8193): "413 message_too_long", strings.Repeat("ä", 4097): "413 message_too_long"} {
		var text string
		if err := json.Unmarshal([]byte(`"`+body+`"`), &text); err != nil {
			t.Fatal(err)
		}
		err := theirs.Call("send", map[string]string{"conversation": talk.Conversation.ID, "client_id": "odd", "body": text}, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", body, err, want)
		}
	}
	var p page
	bystander.Do(t, "GET", "/api/v1/widget/conversations/"+talk.Conversation.ID+"/messages", nil, &p).Want(t, 200)
	for _, m := range p.Items[1:] {
		if m.Body != "still here" {
			t.Errorf("stored: %q", m.Body)
		}
	}
}

func TestMalformedBodies(t *testing.T) {
	s, tenant := limited(t, nil)
	visitor, talk := s.Visitor(t, tenant.Site, "hello")
	for _, path := range []string{"/api/v1/widget/conversations/" + talk.Conversation.ID + "/messages", "/api/v1/widget/sites/" + tenant.Site + "/conversations"} {
		for name, tc := range map[string]struct {
			body   string
			status int
			code   string
		}{
			"no JSON":           {"hello?", 400, "malformed"},
			"half":              {`{"client_id":"odd","body":`, 400, "malformed"},
			"two values":        {`{"client_id":"odd","body":"x"}{"client_id":"odd2","body":"x"}`, 400, "malformed"},
			"a list":            {`[]`, 422, "invalid"},
			"a number":          {`{"client_id":"odd","body":5}`, 422, "invalid"},
			"nothing":           {`{}`, 422, "invalid"},
			"invalid UTF-8":     {"{\"client_id\":\"odd\",\"body\":\"marzipan\xe9\"}", 400, "malformed"},
			"control character": {`{"client_id":"odd","body":"bell\u0007"}`, 422, "message_control_character"},
			"empty":             {`{"client_id":"odd","body":"\n "}`, 422, "message_empty"},
			"long":              {`{"client_id":"odd","body":"` + strings.Repeat("x", 8193) + `"}`, 413, "message_too_long"},
			"client id":         {`{"client_id":"odd one","body":"x"}`, 422, "client_id_invalid"},
			"body":              {`{"client_id":"odd","body":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "body_too_large"},
		} {
			t.Run(name, func(t *testing.T) {
				res := visitor.Do(t, "POST", path, tc.body, nil).WantCode(t, tc.status, tc.code)
				if strings.Contains(string(res.Body), "marzipan") || strings.Contains(string(res.Body), "hello?") {
					t.Errorf("the answer repeats what was sent: %s", res.Body)
				}
			})
		}
	}
	var p page
	if visitor.Do(t, "GET", "/api/v1/widget/conversations/"+talk.Conversation.ID+"/messages", nil, &p).Want(t, 200); len(p.Items) != 1 {
		t.Errorf("stored: %+v", p.Items)
	}
}

func TestStartFlood(t *testing.T) {
	s, tenant := limited(t, nil)
	bystander, talk := s.Visitor(t, tenant.Site, "hello")
	path := "/api/v1/widget/sites/" + tenant.Site + "/conversations"
	stranger := s.Client(t)
	start := func(c *parleytest.Client) parleytest.Response {
		return c.Do(t, "POST", path, map[string]string{"client_id": parleytest.NewClientID(), "body": "buy this"}, nil)
	}
	var last parleytest.Response
	for range 200 {
		if last = start(stranger); last.Status != 201 {
			break
		}
	}
	retryAfter(t, last.WantCode(t, 429, "too_many_conversations").Header.Get("Retry-After"))
	bystander.Do(t, "POST", "/api/v1/widget/conversations/"+talk.Conversation.ID+"/messages", map[string]string{"client_id": "on", "body": "I was here first"}, nil).Want(t, 201)
	start(from(t, stranger, "127.0.0.2")).Want(t, 201)
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

func TestBodyFlood(t *testing.T) {
	s, tenant := limited(t, nil)
	visitor, talk := s.Visitor(t, tenant.Site, "hello")
	const size = 10 << 20
	for _, path := range []string{"/api/v1/session", "/api/v1/setup", "/api/v1/widget/sites/" + tenant.Site + "/conversations",
		"/api/v1/widget/conversations/" + talk.Conversation.ID + "/messages", "/no/such/path"} {
		for name, length := range map[string]int64{"told": size, "chunked": -1} {
			t.Run(name+path, func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, io.LimitReader(io.MultiReader(strings.NewReader(`{"body":"`), zeros{}), size))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = length
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+visitor.Token)
				res, err := visitor.HTTP.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				r := parleytest.Response{Status: res.StatusCode, Header: res.Header, Body: body}
				if path == "/no/such/path" && length < 0 {
					r.WantCode(t, 404, "route_unknown") // nobody reads it
					return
				}
				r.WantCode(t, 413, "body_too_large")
			})
		}
	}
}

// Whoever does not get on with a request loses the connection.
func TestSlowRequests(t *testing.T) {
	t.Parallel() // it waits most of the time
	s, tenant := limited(t, nil)
	visitor, talk := s.Visitor(t, tenant.Site, "hello")
	for name, tc := range map[string]struct{ sent, answer string }{
		"header": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
		"body": {"POST /api/v1/widget/conversations/" + talk.Conversation.ID + "/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " +
			visitor.Token + "\r\nContent-Length: 1000\r\n\r\n{\"client_id\":", "408"},
		"large header": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 2<<20), "431"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(conn, tc.sent) }() // the server may have enough before the end
			answer, err := io.ReadAll(conn)
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("the server waits for ever")
			}
			if status := strings.TrimPrefix(string(answer), "HTTP/1.1 "); !strings.HasPrefix(status, tc.answer) {
				t.Errorf("answer %.100q, want %s", answer, tc.answer)
			}
		})
	}
}
