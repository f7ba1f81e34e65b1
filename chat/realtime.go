package chat

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/bus/realtime"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// channelsAtConnect bounds how many of a visitor's conversations are subscribed at once; older ones are asked for by name.
const channelsAtConnect = 20

// Handlers are the socket's rules. members authenticates a console by its cookie and says when that sign-in ends at the latest.
func (s *Service) Handlers(members func(*http.Request) (actor.Actor, time.Time, error)) realtime.Handlers {
	return realtime.Handlers{
		Connect: func(ctx context.Context, r *http.Request, token string, _ []byte) (realtime.ConnectReply, error) {
			if token != "" {
				return s.connectVisitor(ctx, token)
			}
			a, end, err := members(r)
			if err != nil {
				return realtime.ConnectReply{}, err
			}
			if a.Org == "" {
				return realtime.ConnectReply{}, fault.New(fault.Unauthenticated, "chat.Connect", "signed_out", "Sign in first.")
			}
			return realtime.ConnectReply{Actor: a, Channels: []string{orgChannel(a.Org), memberChannel(a.ID)}, ExpiresAt: end}, nil
		},
		Subscribe: s.subscribe,
		RPC:       s.call,
		Open:      s.openEvent,
		Gone:      func(realtime.Conn) {},
	}
}

func (s *Service) connectVisitor(ctx context.Context, token string) (realtime.ConnectReply, error) {
	a, err := s.BearerVisitor(ctx, token)
	if err != nil {
		return realtime.ConnectReply{}, err
	}
	list, err := s.Mine(actor.With(ctx, a))
	if err != nil {
		return realtime.ConnectReply{}, err
	}
	channels := []string{visitorChannel(a.ID)}
	for _, c := range list[:min(len(list), channelsAtConnect)] {
		channels = append(channels, convChannel(c.ID))
	}
	// The token is looked at again at least daily: a socket must not outlive it.
	return realtime.ConnectReply{Actor: a, Channels: channels, ExpiresAt: time.Now().Add(24 * time.Hour)}, nil
}

// subscribe lets a client into the channel of a conversation that it may see, and into no other channel.
func (s *Service) subscribe(ctx context.Context, c realtime.Conn, channel string) error {
	id, ok := strings.CutPrefix(channel, "conv:")
	if !ok {
		return fault.New(fault.Forbidden, "chat.subscribe", "channel_refused", "This channel is not for clients to subscribe to.")
	}
	ctx = actor.With(ctx, c.Actor())
	sc, err := scopeOf(ctx, "chat.subscribe")
	if err != nil {
		return err
	}
	if _, err = s.find(ctx, sc, id, "chat.subscribe"); err != nil {
		return err
	}
	return s.auditRead(ctx, sc, id)
}

type callInput struct {
	Conversation string `json:"conversation"`
	ClientID     string `json:"client_id"`
	Body         string `json:"body"`
	Seq          int64  `json:"seq"`
	On           bool   `json:"on"`
}

// call answers send, read and typing.
func (s *Service) call(ctx context.Context, c realtime.Conn, method string, data []byte) (any, error) {
	const op = "chat.call"
	var in callInput
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fault.New(fault.Malformed, op, "malformed", "The call's data is not the JSON object that it takes.")
	}
	a := c.Actor()
	ctx = actor.With(ctx, a)
	switch method {
	case "send":
		m, stored, err := s.Send(ctx, in.Conversation, in.ClientID, in.Body)
		if err != nil {
			return nil, err
		}
		view := MessageView{ID: m.ID, Conversation: m.Conversation, Seq: m.Seq, ClientID: m.ClientID, SentAt: m.SentAt,
			Author: AuthorView{Kind: m.AuthorKind, ID: a.ID}}
		if stored { // as it was sealed a moment ago; opening it again would only cost time
			view.Body, err = CheckBody(in.Body)
		} else {
			view.Body, err = s.text(forReading(ctx), m.Body)
		}
		return view, err
	case "read":
		return struct{}{}, s.MarkRead(ctx, in.Conversation, in.Seq)
	case "typing":
		return struct{}{}, s.Typing(ctx, in.Conversation, in.On)
	}
	return nil, fault.New(fault.NotFound, op, "method_unknown", "The socket answers send, read and typing.")
}

// openEvent renders an event for the clients of this node: message bodies are opened, names are added. It acts as the
// system; who may receive the event was decided when they subscribed.
func (s *Service) openEvent(ctx context.Context, _ string, sealed []byte) ([]byte, error) {
	var e struct {
		envelope
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(sealed, &e); err != nil {
		return nil, err
	}
	var err error
	ctx = actor.AsSystem(ctx, "chat", e.Org, catalog.Service)
	out := e.envelope
	switch e.Type {
	case eventMessage:
		out.Data, err = s.openMessage(ctx, e.Org, e.Data)
	case eventUpdated:
		out.Data, err = s.openUpdated(ctx, e.Data)
	default:
		return sealed, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func (s *Service) openMessage(ctx context.Context, org string, data []byte) (any, error) {
	var in sealedMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	m := MessageView{ID: in.ID, Conversation: in.Conversation, Seq: in.Seq, ClientID: in.ClientID, SentAt: db.FromMicros(in.SentAt),
		Author: AuthorView{Kind: in.AuthorKind, ID: in.Author}}
	if in.Author != "" {
		names, err := s.names(ctx, []string{in.Author})
		if err != nil {
			return nil, err
		}
		m.Author.Name = names[in.Author]
	} else {
		m.Author.ID = in.Person
	}
	var err error
	if m.Body, err = s.text(ctx, vault.FromBytes(in.Body).Bind(org, FieldBody, in.ID)); err != nil {
		return nil, err
	}
	return struct {
		Conversation string      `json:"conversation"`
		Message      MessageView `json:"message"`
	}{in.Conversation, m}, nil
}

func (s *Service) openUpdated(ctx context.Context, data []byte) (any, error) {
	var in updatedData
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	var ids []string
	if in.Assignee != "" {
		ids = []string{in.Assignee}
	}
	names, err := s.names(ctx, ids)
	return struct {
		Conversation string     `json:"conversation"`
		State        State      `json:"state"`
		Assignee     *MemberRef `json:"assignee"`
		Time         time.Time  `json:"time"`
	}{in.Conversation, in.State, memberRef(in.Assignee, names), time.Now().UTC()}, err
}
