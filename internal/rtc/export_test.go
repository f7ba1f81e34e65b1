package rtc

import (
	"cmp"
	"slices"
	"time"

	"github.com/pion/webrtc/v4"

	"parley/internal/rtc/signal"
)

// ReadSections reads an offer as it comes from a client, and returns how many sections it sends on.
func ReadSections(offer string) (int, error) {
	all, err := readSections(offer)
	return len(all), err
}

// Limits that tests go up to.
const (
	MaxIdle    = maxIdle
	MaxOrphans = maxOrphans
	Heavy      = heavy
)

// ChooseCodec is what a subscriber gets a track in.
func ChooseCodec(all []webrtc.RTPCodecParameters, mime, fmtp string) (webrtc.RTPCodecParameters, bool) {
	return chooseCodec(all, mime, fmtp)
}

// Repeats is how much is sent again to one subscriber.
type Repeats struct{ r repeats }

// Allow asks for one more packet.
func (r *Repeats) Allow(now time.Time, rate int) bool { return r.r.allow(now, rate) }

// Spend notes its size.
func (r *Repeats) Spend(n int) { r.r.spend(n) }

// Late returns a function that does what the media of the first track of a participant do when they arrive: when it is called, they
// were on their way.
func (e *Engine) Late(room, identity string) func() {
	rm := e.room(room)
	rm.mu.Lock()
	t := rm.participants[identity].liveTracks()[0]
	rm.mu.Unlock()
	return func() { rm.offer(t) }
}

// Arrive is a stream of media that arrives in a section of what a participant sends.
func (e *Engine) Arrive(room, identity, mid string, receiver *webrtc.RTPReceiver) {
	p := e.somebody(room, identity)
	p.doAndWait(func() {
		if p.pub == nil {
			p.pub, _ = newPublisher(p)
		}
		p.arrived(arrival{mid: mid, at: e.now(), remote: &webrtc.TrackRemote{}, receiver: receiver})
	})
}

// Announce makes a track of a section that nothing has arrived in yet.
func (e *Engine) Announce(room, identity, mid string) {
	p := e.somebody(room, identity)
	p.doAndWait(func() { p.publish(&announced{info: &signal.TrackInfo{Sid: newID("TR")}}, section{mid: mid}) })
}

// Wanted is of how many tracks the engine remembers that a participant has spoken.
func (e *Engine) Wanted(room, identity string) (n int) {
	p := e.somebody(room, identity)
	p.doAndWait(func() { n = len(p.wanted) })
	return n
}

// Sections is how many sections the connection has on which a participant receives.
func (e *Engine) Sections(room, identity string) (n int) {
	p := e.somebody(room, identity)
	p.doAndWait(func() { n = len(p.sub.pc.GetTransceivers()) })
	return n
}

func (e *Engine) somebody(room, identity string) *participant {
	rm := e.room(room)
	rm.mu.Lock()
	defer rm.mu.Unlock()
	return rm.participants[identity]
}

// RoomInfo is what a room is like at one moment.
type RoomInfo struct {
	ID           string
	Opened       time.Time
	Max          int
	Participants []ParticipantInfo // in the order in which they joined
}

// ParticipantInfo is what a participant is like at one moment.
type ParticipantInfo struct {
	Identity string
	Role     Role
	Joined   time.Time
	Active   bool // media gets through to it
	Lost     bool // its signalling is lost; it may resume
	Tracks   []TrackInfo
}

// TrackInfo is what a published track is like at one moment.
type TrackInfo struct {
	ID     string
	Source Source
	Video  bool
	Muted  bool
	Live   bool // its media has begun to arrive
}

// Room tells what a room is like.
func (e *Engine) Room(id string) (RoomInfo, bool) {
	rm := e.room(id)
	if rm == nil {
		return RoomInfo{}, false
	}
	rm.mu.Lock()
	defer rm.mu.Unlock()
	info := RoomInfo{ID: rm.id, Opened: rm.opened, Max: rm.most}
	for _, p := range rm.participants {
		info.Participants = append(info.Participants, p.info())
	}
	slices.SortFunc(info.Participants, func(a, b ParticipantInfo) int {
		return cmp.Or(a.Joined.Compare(b.Joined), cmp.Compare(a.Identity, b.Identity))
	})
	return info, true
}

func (p *participant) info() ParticipantInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	info := ParticipantInfo{Identity: p.Identity, Role: p.Role, Joined: p.joined, Active: p.sub.up.Load(), Lost: p.out == nil}
	for _, t := range p.infos {
		one := trackInfo(t)
		one.Live = slices.ContainsFunc(p.live, func(o *track) bool { return o.sid == one.ID })
		info.Tracks = append(info.Tracks, one)
	}
	return info
}

func trackInfo(t *signal.TrackInfo) TrackInfo {
	return TrackInfo{ID: t.GetSid(), Source: sourceOf(t.GetSource()), Video: t.GetType() == signal.TrackType_VIDEO, Muted: t.GetMuted()}
}

func sourceOf(s signal.TrackSource) Source {
	switch s {
	case signal.TrackSource_CAMERA:
		return Camera
	case signal.TrackSource_MICROPHONE:
		return Microphone
	case signal.TrackSource_SCREEN_SHARE:
		return ScreenShare
	case signal.TrackSource_SCREEN_SHARE_AUDIO:
		return ScreenShareAudio
	case signal.TrackSource_UNKNOWN:
	}
	return ""
}
