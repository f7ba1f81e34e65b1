// Package chat is the conversation between a visitor of a website and the agents of an organisation: sites, visitors'
// tokens, conversations, messages, the inbox, and what of them travels over the socket.
//
// A message is sealed under its conversation's key and on disk before it is acknowledged; its place in the conversation is
// its seq. The package signs no member in (account), keeps no profile (person) and knows nothing of other channels.
package chat

import (
	"context"
	"embed"
	"log/slog"
	"time"

	"parley/account"
	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/person"
	"parley/vault"
)

// Limits of the chat, documented in docs/protocol.md.
const (
	MaxBody      = 8192                // bytes of UTF-8 in a message
	MaxClientID  = 64                  // characters of a client id
	TokenLife    = 30 * 24 * time.Hour // of a visitor's token, from its last use
	startReplay  = 10 * time.Minute    // how long a repeated first message gets a token for the same visitor
	maxPage      = 100
	defaultPage  = 50
	previewRunes = 140
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations is this domain's schema.
var Migrations = db.Migrations{Domain: "chat", FS: schema}

// Texts are this domain's error messages, by language.
//
//go:embed texts/*.json
var Texts embed.FS

// State is where a conversation stands.
type State string

// The states of a conversation.
const (
	Open   State = "open"
	Closed State = "closed"
)

// AuthorKind is who wrote a message.
type AuthorKind string

// The kinds of author.
const (
	ByVisitor AuthorKind = "visitor"
	ByAgent   AuthorKind = "agent"
)

// Conversation is a talk between one visitor and an organisation's agents. Personal values are still sealed.
type Conversation struct {
	Org, ID, Site, Person string
	State                 State
	Assignee              string
	LastSeq               int64
	LastMessageAt         time.Time
	CreatedAt             time.Time
	ClosedAt              time.Time // zero while open
	VisitorReadSeq        int64
	AgentReadSeq          int64
	Unread                int64 // by the side that asked, at most maxUnread
	PageURL, PageTitle    vault.Sealed
	Last                  *Message // the newest message, in lists
}

// Message is what somebody wrote. Body is still sealed.
type Message struct {
	Org, Conversation string
	Seq               int64
	ID, ClientID      string
	SentAt            time.Time
	AuthorKind        AuthorKind
	Author            string // the member's id; empty for the visitor, whom the conversation names
	Body              vault.Sealed
}

// Publisher carries sealed events to everyone who is subscribed to a channel, on every node.
type Publisher interface {
	Publish(ctx context.Context, channel string, sealed []byte) error
	Presence(ctx context.Context, channels []string) (map[string][]string, error)
	Drop(kind actor.Kind, id, session string)
	SubscribeActor(kind actor.Kind, id, channel string)
}

// Options are what the service is made of.
type Options struct {
	DB      *db.DB
	Vault   *vault.Vault
	Bus     *bus.Bus
	Account *account.Service
	Persons *person.Service
	Logger  *slog.Logger
	// Calls says whether calls can be held: where not, the widget offers none. nil: no.
	Calls func() bool
	// StartsPerMinute limits new conversations from one address; 0 means 10.
	StartsPerMinute int
	// WritesPerSecond limits what a visitor writes over HTTP with one token; 0 means 20.
	WritesPerSecond int
}

// Service holds the rules of the chat.
type Service struct {
	db      *db.DB
	vault   *vault.Vault
	bus     *bus.Bus
	account *account.Service
	persons *person.Service
	log     *slog.Logger
	calls   func() bool
	fan     *fanout
	inbox   *inboxFeed
	read    *readAudit
	starts  *api.Limiter
	writes  *api.Limiter
	sites   siteCache
}

// New returns the service. Serve must be called with the hub before the first request.
func New(o Options) *Service {
	s := &Service{db: o.DB, vault: o.Vault, bus: o.Bus, account: o.Account, persons: o.Persons, log: o.Logger, calls: o.Calls,
		read: newReadAudit(), starts: newStartLimiter(o.StartsPerMinute), writes: newWriteLimiter(o.WritesPerSecond)}
	s.fan = newFanout(o.Logger)
	s.inbox = newInboxFeed(s)
	if o.Bus != nil {
		o.Bus.Subscribe("person.erased.", s.personErased)
	}
	return s
}

// Serve starts delivery through the hub and keeps it up until ctx ends.
func (s *Service) Serve(ctx context.Context, hub Publisher) {
	s.fan.serve(ctx, hub)
	s.inbox.start(ctx)
}

// scope is whose eyes a call is made with: the organisation of the actor and, for a visitor, the person.
type scope struct {
	org    string
	person string // "" for members and the system: they see every conversation of the organisation
	kind   AuthorKind
	member string
}

func scopeOf(ctx context.Context, op string) (scope, error) {
	a := actor.From(ctx)
	switch {
	case a.Org == "":
	case a.Kind == actor.Visitor:
		return scope{org: a.Org, person: a.ID, kind: ByVisitor}, nil
	case a.Kind == actor.Member:
		return scope{org: a.Org, kind: ByAgent, member: a.ID}, nil
	}
	return scope{}, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
}

// forReading names the purpose of what the actor reads: visitors their own conversation, agents to answer it.
func forReading(ctx context.Context) context.Context {
	if actor.From(ctx).Kind == actor.Member {
		return actor.For(ctx, catalog.Support)
	}
	return actor.For(ctx, catalog.Service)
}

// noKey is the vault's code for a key that was never created here.
const noKey = "key_unknown"

func keyOf(org, conversation string) vault.Key {
	return vault.Key{Org: org, Kind: conversationKey, ID: conversation, Class: catalog.ClassService}
}

func unknown(op string) error {
	return fault.New(fault.NotFound, op, "conversation_unknown", "There is no such conversation.")
}
