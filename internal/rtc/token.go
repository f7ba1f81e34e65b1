package rtc

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
)

// Role is what a participant may do.
type Role uint8

// The roles.
const (
	Subscriber Role = iota // watches and listens, sends nothing
	Publisher              // camera, microphone, screen, data; receives too
	Moderator              // as a publisher. What else moderators may do is asked for elsewhere than in the engine
)

// Grant is what a token allows.
type Grant struct {
	Room, Identity string
	Role           Role
	Sources        []Source      // what may be published; empty: everything that the role allows
	Life           time.Duration // DefaultLife if 0
}

// Source is where a track comes from.
type Source string

// The sources.
const (
	Camera           Source = "camera"
	Microphone       Source = "microphone"
	ScreenShare      Source = "screen_share"
	ScreenShareAudio Source = "screen_share_audio"
)

func (s Source) wire() signal.TrackSource {
	switch s {
	case Camera:
		return signal.TrackSource_CAMERA
	case Microphone:
		return signal.TrackSource_MICROPHONE
	case ScreenShare:
		return signal.TrackSource_SCREEN_SHARE
	case ScreenShareAudio:
		return signal.TrackSource_SCREEN_SHARE_AUDIO
	}
	return signal.TrackSource_UNKNOWN
}

// Lives of tokens. A participant is given a fresh one while it takes part.
const (
	DefaultLife = 10 * time.Minute
	MaxLife     = 24 * time.Hour
)

// tokenLeeway forgives a clock that was set while the token was on its way. Issuer and verifier are one process, so a client's
// clock does not matter.
const tokenLeeway = 2 * time.Second

// claims are LiveKit's: its clients and tools can read them.
type claims struct {
	jwt.RegisteredClaims

	Video videoGrant `json:"video"`
}

type videoGrant struct {
	Room              string   `json:"room"`
	RoomJoin          bool     `json:"roomJoin"`
	RoomAdmin         bool     `json:"roomAdmin,omitempty"`
	CanPublish        bool     `json:"canPublish"`
	CanSubscribe      bool     `json:"canSubscribe"`
	CanPublishData    bool     `json:"canPublishData"`
	CanPublishSources []Source `json:"canPublishSources,omitempty"`
}

// Token issues an access token. It is good for joining and, while the participation lasts, for resuming it.
func (e *Engine) Token(g Grant) (string, error) {
	const op = "rtc.Token"
	if !validName(g.Room) {
		return "", fault.Bad(op, "room", "room_invalid", "A room's id has 1 to 128 letters, digits, '-' or '_'.")
	}
	if !validName(g.Identity) {
		return "", fault.Bad(op, "identity", "identity_invalid", "An identity has 1 to 128 letters, digits, '-' or '_'.")
	}
	if g.Role > Moderator {
		return "", fault.Bad(op, "role", "role_invalid", "There is no such role.")
	}
	for _, s := range g.Sources {
		if s.wire() == signal.TrackSource_UNKNOWN {
			return "", fault.Bad(op, "sources", "source_invalid", "There is no such source of a track.")
		}
	}
	if g.Life <= 0 {
		g.Life = DefaultLife
	}
	now, sends := e.now(), g.Role != Subscriber
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: e.issuer, Subject: g.Identity, ID: strconv.FormatUint(e.tokens.Add(1), 10),
			NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(min(g.Life, MaxLife)))},
		Video: videoGrant{Room: g.Room, RoomJoin: true, RoomAdmin: g.Role == Moderator, CanPublish: sends, CanSubscribe: true,
			CanPublishData: sends, CanPublishSources: g.Sources},
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(e.secret)
	return signed, fault.Wrap(fault.Internal, op, err)
}

// verified is what a token that was found genuine says.
type verified struct {
	Grant
	number uint64 // of the token
	sends  bool   // tracks and data
	hears  bool   // tracks of others
}

// verify reads a token. Only HS256 with this process's secret counts, whatever the token's header says.
func (e *Engine) verify(token string) (verified, error) {
	const op = "rtc.verify"
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return e.secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(e.issuer), jwt.WithExpirationRequired(),
		jwt.WithNotBeforeRequired(), jwt.WithLeeway(tokenLeeway), jwt.WithTimeFunc(e.now))
	if err != nil {
		return verified{}, fault.New(fault.Unauthenticated, op, "token_invalid",
			"The access token is not valid, or no longer. Ask for a new one.")
	}
	number, err := strconv.ParseUint(c.ID, 10, 64)
	if err != nil || !c.Video.RoomJoin || !validName(c.Video.Room) || !validName(c.Subject) {
		return verified{}, fault.New(fault.Unauthenticated, op, "token_useless", "The access token does not allow to join a room.")
	}
	v := verified{number: number, sends: c.Video.CanPublish, hears: c.Video.CanSubscribe,
		Grant: Grant{Room: c.Video.Room, Identity: c.Subject, Sources: c.Video.CanPublishSources, Life: c.ExpiresAt.Sub(c.NotBefore.Time)}}
	switch {
	case c.Video.RoomAdmin:
		v.Role = Moderator
	case c.Video.CanPublish:
		v.Role = Publisher
	}
	return v, nil
}

// permission is what a participant is told that it may do.
func (v verified) permission() *signal.ParticipantPermission {
	p := &signal.ParticipantPermission{CanSubscribe: v.hears, CanPublish: v.sends, CanPublishData: v.sends}
	for _, s := range v.Sources {
		p.CanPublishSources = append(p.CanPublishSources, s.wire())
	}
	return p
}

// mayPublish says whether a track of the source may be published.
func (v verified) mayPublish(s signal.TrackSource) bool {
	if !v.sends {
		return false
	}
	if len(v.Sources) == 0 {
		return true
	}
	for _, allowed := range v.Sources {
		if allowed.wire() == s && s != signal.TrackSource_UNKNOWN {
			return true
		}
	}
	return false
}

// validName says whether a room or an identity may be called so: ids only, nothing that a person wrote.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// newID makes a random id with a prefix that says of what, as LiveKit's do: clients tell tracks ("TR") and participants ("PA") by it.
func newID(prefix string) string { return prefix + "_" + rand.Text()[:14] }
