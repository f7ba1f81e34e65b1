package chat

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"parley/internal/actor"
	"parley/internal/db"
)

// The types of event on the socket; docs/protocol.md describes their data.
const (
	eventMessage = "chat.message.created.v1"
	eventCreated = "chat.conversation.created.v1"
	eventUpdated = "chat.conversation.updated.v1"
	eventRead    = "chat.read.v1"
	eventTyping  = "chat.typing.v1"
	eventInbox   = "chat.inbox.changed.v1"
)

// envelope is an event as it travels: ids and sealed bytes only.
type envelope struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Org  string `json:"org"`
	Time string `json:"time"`
	Seq  int64  `json:"seq,omitempty"`
	Data any    `json:"data"`
}

type sealedMessage struct {
	Conversation string     `json:"conversation"`
	Seq          int64      `json:"seq"`
	ID           string     `json:"id"`
	ClientID     string     `json:"client_id"`
	SentAt       int64      `json:"sent_at"`
	AuthorKind   AuthorKind `json:"author_kind"`
	Author       string     `json:"author"`
	Person       string     `json:"person,omitempty"`
	Body         []byte     `json:"body"` // ciphertext
}

// fanout hands events to the hub from after-commit hooks, in the order of their commits: Publish does not block.
type fanout struct {
	log   *slog.Logger
	hub   Publisher
	ctx   context.Context // of the serving process
	ready chan struct{}   // closed once hub is set; before that nobody can be connected
}

func newFanout(log *slog.Logger) *fanout { return &fanout{log: log, ready: make(chan struct{})} }

func (f *fanout) serve(ctx context.Context, hub Publisher) {
	f.ctx, f.hub = ctx, hub
	close(f.ready)
}

func (f *fanout) serving() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// push publishes an event. One that cannot be delivered is not lost: clients see the gap in seq and fetch what they miss.
func (f *fanout) push(channel string, e envelope) {
	if !f.serving() {
		return
	}
	if e.ID == "" {
		e.ID = db.NewID()
	}
	e.Time = time.Now().UTC().Format(time.RFC3339Nano)
	data, err := json.Marshal(e)
	if err == nil {
		err = f.hub.Publish(f.ctx, channel, data)
	}
	if err != nil {
		f.log.Warn("chat: event not delivered", "type", e.Type, "err", err)
	}
}

func convChannel(id string) string    { return "conv:" + id }
func orgChannel(id string) string     { return "org:" + id }
func memberChannel(id string) string  { return "member:" + id }
func visitorChannel(id string) string { return "visitor:" + id }

func (f *fanout) message(m Message, person string) {
	f.push(convChannel(m.Conversation), envelope{Type: eventMessage, Org: m.Org, Seq: m.Seq, Data: sealedMessage{
		Conversation: m.Conversation, Seq: m.Seq, ID: m.ID, ClientID: m.ClientID, SentAt: db.Micros(m.SentAt),
		AuthorKind: m.AuthorKind, Author: m.Author, Person: person, Body: m.Body.Bytes()}})
}

func (f *fanout) created(c Conversation) {
	f.push(visitorChannel(c.Person), envelope{Type: eventCreated, Org: c.Org, Data: map[string]any{"conversation": c.ID}})
}

func (f *fanout) updated(org, conversation string, state State, assignee string) {
	f.push(convChannel(conversation), envelope{Type: eventUpdated, Org: org, Data: updatedData{conversation, state, assignee}})
}

type updatedData struct {
	Conversation string `json:"conversation"`
	State        State  `json:"state"`
	Assignee     string `json:"assignee"`
}

func (f *fanout) read(org, conversation string, by AuthorKind, seq int64) {
	f.push(convChannel(conversation), envelope{Type: eventRead, Org: org, Data: map[string]any{"conversation": conversation, "by": by, "seq": seq}})
}

func (f *fanout) typing(org, conversation string, kind AuthorKind, who string, on bool) {
	f.push(convChannel(conversation), envelope{Type: eventTyping, Org: org,
		Data: map[string]any{"conversation": conversation, "by": map[string]any{"kind": kind, "id": who}, "on": on}})
}

func (f *fanout) drop(kind actor.Kind, id string) { f.dropSession(kind, id, "") }

// dropSession ends the sockets of one sign-in off the caller's goroutine: with many nodes it talks to Redis.
func (f *fanout) dropSession(kind actor.Kind, id, session string) {
	if f.serving() {
		go f.hub.Drop(kind, id, session)
	}
}

// admit subscribes all sockets of an actor to a channel that did not exist when they connected.
func (f *fanout) admit(kind actor.Kind, id, channel string) {
	if f.serving() {
		go f.hub.SubscribeActor(kind, id, channel)
	}
}

// presence returns who is present in each channel, as "kind:id". It is empty where presence cannot be told.
func (f *fanout) presence(ctx context.Context, channels []string) map[string]map[string]bool {
	if !f.serving() {
		return nil
	}
	found, err := f.hub.Presence(ctx, channels)
	if err != nil {
		f.log.Warn("chat: presence not known", "err", err)
		return nil
	}
	out := make(map[string]map[string]bool, len(found))
	for ch, who := range found {
		out[ch] = make(map[string]bool, len(who))
		for _, id := range who {
			out[ch][id] = true
		}
	}
	return out
}
