package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// Message is what a client needs to know of a message.
type Message struct {
	ID           string `json:"id"`
	Conversation string `json:"conversation"`
	Seq          int64  `json:"seq"`
	ClientID     string `json:"client_id"`
	Body         string `json:"body"`
}

// Event is a publication. Message is set when its type says that one was created.
type Event struct {
	Type string `json:"type"`
	Seq  int64  `json:"seq"`
	Data struct {
		Conversation string  `json:"conversation"`
		Message      Message `json:"message"`
	} `json:"data"`
}

// MessageCreated is the type of the events that bring messages.
const MessageCreated = "chat.message.created.v1"

// Refusal is an error reply to a command.
type Refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Message) }

// frame is one line of what a server sends.
type frame struct {
	ID    uint32   `json:"id"`
	Error *Refusal `json:"error"`
	RPC   *struct {
		Data Message `json:"data"`
	} `json:"rpc"`
	Push *struct {
		Channel string `json:"channel"`
		Pub     *struct {
			Data Event `json:"data"`
		} `json:"pub"`
	} `json:"push"`
}

// Reply is the answer to a command. Message is set for a message that was sent.
type Reply struct {
	Message Message
	Err     error
}

// Socket is a client of the server's socket. It speaks the Centrifuge protocol, as browsers do.
type Socket struct {
	ws    *websocket.Conn
	event func(channel string, e Event) // called by the reading goroutine, in the order of arrival
	done  chan struct{}
	err   error // of the end, once done is closed

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]func(Reply)
}

// SocketOptions say who connects.
type SocketOptions struct {
	Client *http.Client                  // of the egress gate
	URL    string                        // the server's, http://…
	Token  string                        // of a visitor
	Cookie string                        // of a member: name=value
	Event  func(channel string, e Event) // receives the publications; it must not wait for a reply
}

// maxFrame is the largest message that a client accepts, in bytes.
const maxFrame = 4 << 20

// Connect opens a socket and returns when the server has let it in.
func Connect(ctx context.Context, o SocketOptions) (*Socket, error) {
	header := http.Header{}
	if o.Cookie != "" {
		header.Set("Cookie", o.Cookie)
	}
	ws, _, err := websocket.Dial(ctx, strings.Replace(o.URL, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPClient: o.Client, HTTPHeader: header})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxFrame)
	s := &Socket{ws: ws, event: o.Event, done: make(chan struct{}), waiting: map[uint32]func(Reply){}}
	if s.event == nil {
		s.event = func(string, Event) {}
	}
	go s.read()
	type connect struct {
		Token string `json:"token,omitempty"`
	}
	if r := s.wait(ctx, "connect", connect{o.Token}); r.Err != nil {
		s.Close()
		return nil, fmt.Errorf("connect: %w", r.Err)
	}
	return s, nil
}

// Subscribe subscribes to a channel and returns when the server has.
func (s *Socket) Subscribe(ctx context.Context, channel string) error {
	return s.wait(ctx, "subscribe", map[string]string{"channel": channel}).Err
}

// Call makes a call and waits for its answer.
func (s *Socket) Call(ctx context.Context, method string, data any) Reply {
	return s.wait(ctx, "rpc", rpc{method, data})
}

// Go makes a call; answered is called with its answer by the reading goroutine, or by this one when it cannot be sent.
func (s *Socket) Go(method string, data any, answered func(Reply)) {
	s.send("rpc", rpc{method, data}, answered)
}

type rpc struct {
	Method string `json:"method"`
	Data   any    `json:"data"`
}

// SendInput is the data of the call "send".
type SendInput struct {
	Conversation string `json:"conversation"`
	ClientID     string `json:"client_id"`
	Body         string `json:"body"`
}

func (s *Socket) wait(ctx context.Context, kind string, body any) Reply {
	answer := make(chan Reply, 1)
	s.send(kind, body, func(r Reply) { answer <- r })
	select {
	case r := <-answer:
		return r
	case <-ctx.Done():
		return Reply{Err: ctx.Err()}
	}
}

// errClosed is the answer to what was under way when a socket ended.
var errClosed = errors.New("the socket has ended")

func (s *Socket) send(kind string, body any, answered func(Reply)) {
	s.mu.Lock()
	if s.waiting == nil {
		s.mu.Unlock()
		answered(Reply{Err: errClosed})
		return
	}
	s.last++
	id := s.last
	s.waiting[id] = answered
	s.mu.Unlock()
	data, err := json.Marshal(map[string]any{"id": id, kind: body})
	if err == nil {
		err = s.ws.Write(context.Background(), websocket.MessageText, data)
	}
	if err != nil {
		s.answer(id, Reply{Err: err})
	}
}

func (s *Socket) answer(id uint32, r Reply) {
	s.mu.Lock()
	answered := s.waiting[id]
	delete(s.waiting, id)
	s.mu.Unlock()
	if answered != nil {
		answered(r)
	}
}

func (s *Socket) read() {
	var buf bytes.Buffer
	for {
		_, r, err := s.ws.Reader(context.Background())
		if err == nil {
			buf.Reset()
			_, err = buf.ReadFrom(r)
		}
		if err == nil {
			err = s.lines(buf.Bytes())
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// lines takes the frames of one WebSocket message.
func (s *Socket) lines(message []byte) error {
	for line := range bytes.SplitSeq(message, []byte{'\n'}) {
		if len(line) <= 2 { // {} is a ping, to be answered with the same
			if err := s.ws.Write(context.Background(), websocket.MessageText, []byte("{}")); err != nil {
				return err
			}
			continue
		}
		var f frame
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		switch {
		case f.Push != nil && f.Push.Pub != nil:
			s.event(f.Push.Channel, f.Push.Pub.Data)
		case f.Error != nil:
			s.answer(f.ID, Reply{Err: f.Error})
		case f.RPC != nil:
			s.answer(f.ID, Reply{Message: f.RPC.Data})
		case f.ID != 0:
			s.answer(f.ID, Reply{})
		}
	}
	return nil
}

func (s *Socket) end(err error) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, answered := range waiting {
		answered(Reply{Err: errClosed})
	}
	s.err = err
	close(s.done)
	_ = s.ws.CloseNow()
}

// Done is closed when the socket has ended.
func (s *Socket) Done() <-chan struct{} { return s.done }

// Code returns the code with which the server ended the socket, once Done is closed; -1 when it gave none.
func (s *Socket) Code() int { return int(websocket.CloseStatus(s.err)) }

// Close ends the socket without a word and waits for the reading goroutine. It must not be called by that one.
func (s *Socket) Close() {
	_ = s.ws.CloseNow()
	<-s.done
}
