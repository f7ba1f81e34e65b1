// Package video is calls between the two sides of a conversation: who rings, who answers, who is let into the room, and when it is
// over. What people see and hear goes through the media engine (Media), which knows random ids and nothing else.
//
// A session is a call. It rings, is live, has ended, and never goes back; the database decides every race. The package keeps no
// content, draws no picture, and learns who somebody is in a conversation from chat, whether they know the notice from privacy.
package video

import (
	"context"
	"embed"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"parley/account"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
)

// Limits of calls, documented in docs/protocol.md.
const (
	MaxParticipants = 8                // in one call
	StartsPerMinute = 6                // calls that one visitor starts
	officeShare     = 5                // times as many calls start from one address, whoever the visitors are there
	JoinsPerMinute  = 30               // entries of one visitor or member
	MaxOpen         = 200              // calls of an organisation that ring or are live, before visitors start no more; two that start at one moment may both be the last
	RingFor         = 45 * time.Second // a call that nobody answers is missed
	EmptyFor        = 60 * time.Second // a call with nobody in its room is over
	TokenLife       = 10 * time.Minute // of an entry; the engine gives who is inside a new token in time
	history         = 50               // calls of a conversation that are listed
)

// NoticeMedia is the notice that everybody acknowledges before they enter a call (promise G16).
const NoticeMedia = "media"

//go:embed schema/*.sql
var schema embed.FS

// Migrations is this domain's schema.
var Migrations = db.Migrations{Domain: "video", FS: schema}

// Texts are this domain's error messages, by language.
//
//go:embed texts/*.json
var Texts embed.FS

// Side is one of the two sides of a call.
type Side string

// The sides.
const (
	Visitor Side = "visitor"
	Agent   Side = "agent"
)

// State is where a call stands.
type State string

// The states, in the order in which a call passes them.
const (
	Ringing State = "ringing"
	Live    State = "live"
	Ended   State = "ended"
)

// Medium is what a call begins with; either may be switched on later.
type Medium string

// The media.
const (
	WithVideo Medium = "video"
	AudioOnly Medium = "audio"
)

// Reason is how a call ended.
type Reason string

// The reasons.
const (
	HungUp    Reason = "hung_up"
	Declined  Reason = "declined"
	Missed    Reason = "missed"
	Cancelled Reason = "cancelled" // by the caller, before anybody answered
	Forced    Reason = "forced"    // by a manager, or because the visitor was erased
	Failed    Reason = "failed"    // nobody came into the room
	Shutdown  Reason = "shutdown"  // the process that carried it is gone
)

// Departure is how somebody left a call.
type Departure string

// The ways to leave.
const (
	Left     Departure = "left"     // or lost the connection; who comes back with the same entry is let in
	Replaced Departure = "replaced" // came again: after a reload, or on another device
	Removed  Departure = "removed"  // by a manager; they cannot come back into this call
	Over     Departure = "ended"    // with the call
)

// Session is a call in a conversation.
type Session struct {
	Org, ID, Conversation string
	Person                string // the visitor
	State                 State
	Medium                Medium
	StartedBy             Side
	Starter, Answerer     string // members; "" for the visitor, and while nobody has answered
	ClientID              string
	CreatedAt, RingUntil  time.Time
	AnsweredAt, EndedAt   time.Time // zero while it has not happened
	EndReason             Reason
	Participants          []Participant // in the order in which they came

	node       string // whose engine has the room; "" while nobody has entered
	aliveUntil time.Time
}

// Participant is one entry of somebody into a call.
type Participant struct {
	Identity         string
	Kind             Side
	Member           string
	IssuedAt         time.Time
	JoinedAt, LeftAt time.Time // zero while it has not happened
	Departure        Departure
	role             string
	signIn           string // the sign-in or visitor's token that it was made with: when that ends, so does the entry
}

// Role is what an entry allows in the room.
type Role string

// Publisher sends and receives. Whoever is called is one; what managers may do more, they do through the API.
const Publisher Role = "publisher"

// Grant is an entry into a room.
type Grant struct {
	Room, Identity string
	Role           Role
	Life           time.Duration
}

// Media is the engine that carries sound and pictures. Rooms and identities are random; it is told nothing else.
type Media interface {
	Open(room string, most int) error // a room that is open already stays as it is
	Close(room string, why Reason)
	Remove(room, identity string, why Departure)
	Token(g Grant) (string, error)
	Present(room string) int // how many are in the room
}

// MediaEvent is what the engine says happened.
type MediaEvent struct {
	Kind           MediaEventKind
	Room, Identity string
}

// MediaEventKind is what can happen.
type MediaEventKind uint8

// The events of the engine.
const (
	MediaJoined MediaEventKind = iota + 1
	MediaLeft
	MediaClosed // the whole room; Identity is empty
)

// Party is who the actor in ctx is in a conversation.
type Party struct {
	Org, Conversation, Person string
	Side                      Side
	Member                    string // "" for the visitor
}

// Event goes to the people of a conversation. Data holds ids and words of the program only.
type Event struct {
	Org, Type, Conversation string
	Person                  string // also to every page of this visitor
	Agents                  bool   // also to every member of the organisation
	Data                    any
}

// Conversations are what calls take place in.
type Conversations interface {
	// Party returns NotFound for a conversation that is not there for the actor in ctx.
	Party(ctx context.Context, conversation string) (Party, error)
	// Publish does not block.
	Publish(e Event)
}

// Notices know who was told what.
type Notices interface {
	Acknowledged(ctx context.Context, notice string) (bool, error)
}

// Limits can be lowered and raised; zero fields take the defaults above.
type Limits struct {
	Participants, StartsPerMinute, JoinsPerMinute, Open int
}

// Timing is for tests; zero fields take what is documented.
type Timing struct {
	Ring, Empty time.Duration
	Tick        time.Duration // how often the rooms are looked at
	Lease       time.Duration // a process that has not said for so long that it is there has gone, and its calls with it
}

// Options are what the service is made of.
type Options struct {
	DB            *db.DB
	Bus           *bus.Bus
	Account       *account.Service
	Conversations Conversations
	Notices       Notices
	Logger        *slog.Logger
	Node          string // names this process among others on the database; the same after a restart. Random if empty
	Limits        Limits
	Timing        Timing
}

// Service holds the rules of calls.
type Service struct {
	opt    Options
	db     *db.DB
	bus    *bus.Bus
	log    *slog.Logger
	media  Media // set by Serve; nil: calls are switched off
	limits Limits
	timing Timing
	starts *api.Limiter // by visitor
	phones *api.Limiter // by the address of visitors
	joins  *api.Limiter

	stopping atomic.Bool
	mu       sync.Mutex
	rooms    map[string]*room // open in this process's engine
}

// New returns the service and takes over its jobs and events on the bus. Serve must be called before the first request.
func New(o Options) *Service {
	if o.Node == "" {
		o.Node = db.NewID()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for v, d := range map[*int]int{&o.Limits.Participants: MaxParticipants, &o.Limits.StartsPerMinute: StartsPerMinute,
		&o.Limits.JoinsPerMinute: JoinsPerMinute, &o.Limits.Open: MaxOpen} {
		if *v <= 0 {
			*v = d
		}
	}
	for v, d := range map[*time.Duration]time.Duration{&o.Timing.Ring: RingFor, &o.Timing.Empty: EmptyFor,
		&o.Timing.Tick: 5 * time.Second, &o.Timing.Lease: time.Minute} {
		if *v <= 0 {
			*v = d
		}
	}
	s := &Service{opt: o, db: o.DB, bus: o.Bus, log: o.Logger, limits: o.Limits, timing: o.Timing, rooms: map[string]*room{},
		starts: newLimiter(o.Limits.StartsPerMinute), phones: newLimiter(officeShare * o.Limits.StartsPerMinute), joins: newLimiter(o.Limits.JoinsPerMinute)}
	s.openJobs()
	return s
}

// caller is who acts, and on which side.
type caller struct {
	org    string
	person string // "" for members: they see every call of the organisation
	side   Side
	member string
	key    string // whom limits count as one
	signIn string // which of their sign-ins, or which visitor's token
}

func callerOf(ctx context.Context, op string) (caller, error) {
	a := actor.From(ctx)
	switch {
	case a.Org == "" || a.ID == "":
	case a.Kind == actor.Visitor:
		return caller{org: a.Org, person: a.ID, side: Visitor, key: a.ID, signIn: a.Session}, nil
	case a.Kind == actor.Member:
		return caller{org: a.Org, side: Agent, member: a.ID, key: a.ID, signIn: a.Session}, nil
	}
	return caller{}, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
}

// mayManage is asked before a member reaches into a call that they have no part in.
func mayManage(ctx context.Context, op string) error {
	if a := actor.From(ctx); a.Kind != actor.Member || !a.Role.Manages() {
		return fault.New(fault.Forbidden, op, "role_needed", "This needs the role owner or admin.")
	}
	return nil
}

// Available tells whether calls can be held on this server at all. It holds from Serve on.
func (s *Service) Available() bool { return s.media != nil }

// ready says why no call can be started or entered here, if so.
func (s *Service) ready(op string) error {
	switch {
	case s.media == nil:
		return fault.New(fault.Unavailable, op, "calls_off", "Calls are switched off on this server.")
	case s.stopping.Load():
		return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "calls_stopping", Text: "The server is stopping. Try again in a moment.", RetryAfter: 5 * time.Second}
	}
	return nil
}

func unknown(op string) error {
	return fault.New(fault.NotFound, op, "call_unknown", "There is no such call.")
}

func conflict(op, code, text string) error { return fault.New(fault.Conflict, op, code, text) }
