package rtc

import (
	"cmp"
	"slices"
	"time"

	"parley/internal/rtc/signal"
)

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

// describe is the track as events tell it. The owner's mailbox calls it.
func (t *track) describe() TrackInfo { return trackInfo(t.info) }
