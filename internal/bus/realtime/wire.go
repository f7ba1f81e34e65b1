package realtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// Command is one command of a client. At most one of the methods is set; with none and ID 0 it is a pong.
type Command struct {
	ID            uint32          `json:"id"`
	Connect       *ConnectCommand `json:"connect"`
	Subscribe     *ChannelCommand `json:"subscribe"`
	Unsubscribe   *ChannelCommand `json:"unsubscribe"`
	Presence      *ChannelCommand `json:"presence"`
	PresenceStats *ChannelCommand `json:"presence_stats"`
	RPC           *RPCCommand     `json:"rpc"`
	Refresh       *RefreshCommand `json:"refresh"`
	Send          *struct{}       `json:"send"`
	Publish       *struct{}       `json:"publish"`     // not offered: clients write through the API or an RPC
	History       *struct{}       `json:"history"`     // not offered: the hub keeps none
	SubRefresh    *struct{}       `json:"sub_refresh"` // not offered: subscriptions have no tokens
}

// ConnectCommand is the first command on a connection.
type ConnectCommand struct {
	Token string          `json:"token"`
	Data  json.RawMessage `json:"data"`
}

// ChannelCommand is a command that names a channel.
type ChannelCommand struct {
	Channel string `json:"channel"`
}

// RPCCommand is a call.
type RPCCommand struct {
	Method string          `json:"method"`
	Data   json.RawMessage `json:"data"`
}

// RefreshCommand brings a new token.
type RefreshCommand struct {
	Token string `json:"token"`
}

// Pong reports whether the command answers a ping.
func (c *Command) Pong() bool { return c.ID == 0 && c.methods() == 0 }

func (c *Command) methods() (n int) {
	for _, set := range [...]bool{c.Connect != nil, c.Subscribe != nil, c.Unsubscribe != nil, c.Presence != nil, c.PresenceStats != nil,
		c.RPC != nil, c.Refresh != nil, c.Send != nil, c.Publish != nil, c.History != nil, c.SubRefresh != nil} {
		if set {
			n++
		}
	}
	return n
}

var (
	errNotUTF8   = errors.New("a frame is UTF-8")
	errNoCommand = errors.New("a frame holds at least one command")
	errMethods   = errors.New("a command has one method")
	errNoID      = errors.New("a command has an id")
)

// DecodeCommands reads one WebSocket message: commands as JSON objects, one a line. An error means that the message
// cannot be trusted as a whole. What it returns does not alias frame.
func DecodeCommands(frame []byte) ([]Command, error) {
	if !utf8.Valid(frame) {
		return nil, errNotUTF8
	}
	var commands []Command
	for line := range bytes.SplitSeq(frame, []byte{'\n'}) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		var c Command
		if line[0] != '{' { // Unmarshal would take null
			return nil, errNoCommand
		}
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, err
		}
		if c.methods() > 1 {
			return nil, errMethods
		}
		if c.ID == 0 && c.methods() == 1 && c.Send == nil {
			return nil, errNoID
		}
		commands = append(commands, c)
	}
	if len(commands) == 0 {
		return nil, errNoCommand
	}
	return commands, nil
}

// pingFrame is a ping to the client, which answers with the same.
var pingFrame = []byte("{}")

// reply encodes the answer to command id: method is its name, body a JSON object.
func reply(id uint32, method string, body []byte) []byte {
	b := make([]byte, 0, len(body)+len(method)+24)
	b = append(b, `{"id":`...)
	b = strconv.AppendUint(b, uint64(id), 10)
	b = append(b, `,"`...)
	b = append(b, method...)
	b = append(b, `":`...)
	b = append(b, body...)
	return append(b, '}')
}

func errorReply(id uint32, e replyError) []byte {
	b := make([]byte, 0, 96)
	b = append(b, `{"id":`...)
	b = strconv.AppendUint(b, uint64(id), 10)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.code), 10)
	b = append(b, `,"message":`...)
	b = append(b, quote(e.message)...)
	if e.temporary {
		b = append(b, `,"temporary":true`...)
	}
	return append(b, `}}`...)
}

// connectResult is the body of the answer to connect.
type connectResult struct {
	Client  string              `json:"client"`
	Version string              `json:"version,omitempty"`
	Expires bool                `json:"expires,omitempty"`
	TTL     uint32              `json:"ttl,omitempty"`
	Data    json.RawMessage     `json:"data,omitempty"`
	Subs    map[string]struct{} `json:"subs,omitempty"`
	Ping    int                 `json:"ping"`
	Pong    bool                `json:"pong"`
}

// refreshResult is the body of the answer to refresh.
type refreshResult struct {
	Client  string `json:"client"`
	Version string `json:"version,omitempty"`
	Expires bool   `json:"expires,omitempty"`
	TTL     uint32 `json:"ttl,omitempty"`
}

// clientInfo is how joins, leaves and presence name a client.
type clientInfo struct {
	Client string `json:"client"`
	User   string `json:"user"`
}

// ttl is a time to live in seconds, within what the protocol can say.
func ttl(secs float64) uint32 { return uint32(min(max(math.Ceil(secs), 1), math.MaxInt32)) }

// push encodes a push to a channel: kind is "join", body a JSON object.
func push(channel, kind string, body []byte) []byte {
	b := append(make([]byte, 0, len(channel)+len(body)+48), `{"push":{"channel":`...)
	b = append(b, quote(channel)...)
	b = append(b, `,"`...)
	b = append(b, kind...)
	b = append(b, `":`...)
	b = append(b, body...)
	return append(b, `}}`...)
}

// publication encodes a publication from the JSON in data, which may hold line breaks between its tokens.
func publication(channel string, data []byte) ([]byte, error) {
	return wrap(`{"push":{"channel":`+string(quote(channel))+`,"pub":{"data":`, data, `}}}`)
}

// message encodes a push outside channels.
func message(data []byte) ([]byte, error) { return wrap(`{"push":{"message":{"data":`, data, `}}}`) }

// wrap puts JSON between head and tail, on one line, and refuses what is not JSON in UTF-8: one such frame would end
// the connections of all of its receivers.
func wrap(head string, data []byte, tail string) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	b := bytes.NewBuffer(make([]byte, 0, len(head)+len(data)+len(tail)))
	b.WriteString(head)
	if err := json.Compact(b, data); err != nil {
		return nil, err
	}
	b.WriteString(tail)
	return b.Bytes(), nil
}

func infoBody(info clientInfo) []byte {
	return append(append([]byte(`{"info":`), encode(info)...), '}')
}

func quote(s string) []byte { return encode(s) }

// encode is for values that always have a JSON form.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}
