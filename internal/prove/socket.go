package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// socket is a client of the server's socket, as simple as can be: commands are answered one after the other, everything
// that arrives is kept.
type socket struct {
	ws   *websocket.Conn
	done chan struct{} // closed when the socket has ended

	mu       sync.Mutex
	last     int
	received bytes.Buffer
	waiting  map[int]chan reply
	more     chan struct{} // replaced whenever something arrives
}

type reply struct {
	ID    int `json:"id"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	raw []byte
}

const (
	socketWithin = 30 * time.Second
	socketEvents = "events of the socket" // how they are called among the answers
)

// open opens a socket as the client and connects it.
func (c *client) open(ctx context.Context) (*socket, error) {
	header := c.head()
	header.Del("Authorization") // a visitor's token travels in the connect command
	ws, _, err := websocket.Dial(ctx, strings.Replace(c.r.server.url, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPClient: c.r.http, HTTPHeader: header})
	if err != nil {
		return nil, fmt.Errorf("the socket was refused: %w", err)
	}
	ws.SetReadLimit(1 << 20)
	s := &socket{ws: ws, done: make(chan struct{}), waiting: map[int]chan reply{}, more: make(chan struct{})}
	go s.read()
	connect := map[string]string{}
	if c.token != "" {
		connect["token"] = c.token
	}
	if _, err := s.ask(ctx, "connect", connect); err != nil {
		s.close(c.r)
		return nil, err
	}
	return s, nil
}

// ask sends a command and waits for its reply.
func (s *socket) ask(ctx context.Context, method string, body any) ([]byte, error) {
	s.mu.Lock()
	s.last++
	id, answer := s.last, make(chan reply, 1)
	s.waiting[id] = answer
	s.mu.Unlock()
	data, err := json.Marshal(map[string]any{"id": id, method: body})
	if err != nil {
		return nil, err
	}
	if err := s.write(ctx, data); err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			return a.raw, fmt.Errorf("the socket answered %s with %d %s", method, a.Error.Code, a.Error.Message)
		}
		return a.raw, nil
	case <-s.done:
		return nil, errors.New("the socket has ended")
	case <-time.After(socketWithin):
		return nil, errors.New("the socket did not answer")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rpc makes a call over the socket.
func (s *socket) rpc(ctx context.Context, method string, data any) ([]byte, error) {
	return s.ask(ctx, "rpc", map[string]any{"method": method, "data": data})
}

func (s *socket) write(ctx context.Context, data []byte) error {
	return s.ws.Write(ctx, websocket.MessageText, data)
}

func (s *socket) read() {
	defer close(s.done)
	for {
		_, message, err := s.ws.Read(context.Background())
		if err != nil {
			return
		}
		for line := range bytes.SplitSeq(message, []byte{'\n'}) {
			if len(line) <= 2 { // a ping, answered with the same
				if s.write(context.Background(), []byte("{}")) != nil {
					return
				}
				continue
			}
			s.arrived(line)
		}
	}
}

func (s *socket) arrived(line []byte) {
	var a reply
	_ = json.Unmarshal(line, &a) // what is no JSON is no reply, and is kept all the same
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received.Write(line)
	s.received.WriteByte('\n')
	close(s.more)
	s.more = make(chan struct{})
	if w := s.waiting[a.ID]; w != nil {
		delete(s.waiting, a.ID)
		a.raw = bytes.Clone(line)
		w <- a
	}
}

// await waits until something with the text in it has arrived.
func (s *socket) await(ctx context.Context, text string) error {
	limit := time.After(socketWithin)
	for {
		s.mu.Lock()
		have, more := bytes.Contains(s.received.Bytes(), []byte(text)), s.more
		s.mu.Unlock()
		if have {
			return nil
		}
		select {
		case <-more:
		case <-s.done:
			return errors.New("the socket ended before the event arrived")
		case <-limit:
			return errors.New("the event did not arrive over the socket")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended reports whether the server ends the socket within a short time.
func (s *socket) ended() bool {
	select {
	case <-s.done:
		return true
	case <-time.After(socketWithin):
		return false
	}
}

// close ends the socket; what it received is looked through with the other answers.
func (s *socket) close(r *run) {
	_ = s.ws.CloseNow() // it may have ended already
	<-s.done
	r.note(answer{call: socketEvents, status: http.StatusOK, body: s.received.Bytes()})
}
