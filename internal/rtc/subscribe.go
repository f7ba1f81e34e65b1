package rtc

import (
	"time"

	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
)

// subscription is a track of another that the participant receives.
type subscription struct {
	track *track
	down  *down

	hidden   bool // the client does not show it at the moment
	withheld bool // its publisher does not let the client have it
}

// flow lets packets through, or keeps them back.
func (s *subscription) flow(now time.Time) {
	s.down.fw.SetEnabled(!s.hidden && !s.withheld, now)
	s.track.owner.do(s.track.checkQuality)
}

// audience is who may receive what a participant publishes, if it does not let everybody.
type audience struct {
	all    map[string]bool            // identities and participations that may receive everything
	tracks map[string]map[string]bool // track → who may receive it
}

func (a *audience) allows(p *participant, sid string) bool {
	if a == nil {
		return true
	}
	return a.all[p.Identity] || a.all[p.sid] || a.tracks[sid][p.Identity] || a.tracks[sid][p.sid]
}

// offered notes that media of another's track has begun to arrive.
func (p *participant) offered(t *track) {
	if len(p.offers) < maxSubscriptions {
		p.offers[t.sid] = t
		p.reconsider(t)
	}
}

// withdrawn notes that a track of another has ended.
func (p *participant) withdrawn(t *track) {
	delete(p.offers, t.sid)
	delete(p.wanted, t.sid)
	p.unsubscribe(t)
}

// reconsider subscribes or unsubscribes, as the client wishes and the publisher allows. Who is no longer allowed keeps the subscription, and
// gets nothing: each new one takes a section of the connection for good, and a publisher who changes its mind often would
// drive others out of the call.
func (p *participant) reconsider(t *track) {
	want, said := p.wanted[t.sid]
	if !said {
		want = p.autoSubscribe
	}
	allowed := t.owner.audienceNow().allows(p, t.sid)
	s := p.subs[t.sid]
	switch {
	case !want || !p.hears:
		p.unsubscribe(t)
	case s == nil && allowed:
		p.subscribe(t)
	case s != nil && s.track == t && s.withheld == allowed:
		s.withheld = !allowed
		s.flow(time.Now())
		p.sub.allocate()
	}
}

func (p *participant) subscribe(t *track) {
	if p.subs[t.sid] != nil {
		return
	}
	d := &down{track: t, sub: p.sub}
	d.id, d.stream = p.nameFor(t)
	d.fw = forward.NewForwarder(t.source, t.source.LayerCount()-1)
	if err := p.sub.carry(d); err != nil {
		d.fw.Close()
		return
	}
	p.subs[t.sid] = &subscription{track: t, down: d}
	p.sub.share.Add(d.fw, time.Now())
	t.add(d)
	p.engine.stats.subscriptions.Add(1)
	p.sub.allocate()
	p.sub.negotiate()
	t.owner.do(t.checkQuality)
}

// nameFor names a track and its media stream in the client's offers. A browser plays tracks of one stream in step, and keeps a section's
// first track id when the section carries another track: so the section says which track it is, if the client knows how to
// look. Others read it from the stream, and play each track for itself.
func (p *participant) nameFor(t *track) (id, stream string) {
	if group := streamOf(t.from); p.mids && group != "" {
		return newID("ST"), t.owner.sid + "|" + group
	}
	return t.sid, t.owner.sid + "|" + t.sid
}

func (p *participant) unsubscribe(t *track) {
	s := p.subs[t.sid]
	if s == nil || s.track != t {
		return
	}
	delete(p.subs, t.sid)
	s.release()
	p.sub.share.Remove(s.down.fw)
	p.sub.empty(s.down)
	p.sub.allocate()
	p.sub.negotiate()
}

// release ends the flow of packets.
func (s *subscription) release() {
	s.track.drop(s.down)
	s.down.fw.Close()
	e := s.track.owner.engine
	e.stats.subscriptions.Add(-1)
	s.track.owner.do(s.track.checkQuality)
}

// unsupported tells the client that it cannot decode a track. It is not tried again until the client asks for it.
func (p *participant) unsupported(d *down) {
	if s := p.subs[d.track.sid]; s != nil && s.down == d {
		p.wanted[d.track.sid] = false
		p.unsubscribe(d.track)
		p.send(&signal.SignalResponse{Message: &signal.SignalResponse_SubscriptionResponse{SubscriptionResponse: &signal.SubscriptionResponse{
			TrackSid: d.track.sid, Err: signal.SubscriptionError_SE_CODEC_UNSUPPORTED}}})
	}
}

// updateSubscription takes the client's wish to receive tracks, or not to.
func (p *participant) updateSubscription(u *signal.UpdateSubscription) {
	sids := u.GetTrackSids()
	for _, of := range u.GetParticipantTracks() {
		sids = append(sids, of.GetTrackSids()...)
	}
	if len(sids) > maxNames {
		return
	}
	for _, sid := range sids {
		if !validName(sid) {
			continue // none of ours, and nothing to remember
		}
		t := p.offers[sid]
		if len(p.wanted) < maxSubscriptions || t != nil {
			p.wanted[sid] = u.GetSubscribe()
		}
		if t != nil {
			p.reconsider(t)
		}
	}
}

// updateSettings takes how the client shows tracks: in which size, and whether at all.
func (p *participant) updateSettings(u *signal.UpdateTrackSettings) {
	if len(u.GetTrackSids()) > maxNames {
		return
	}
	now := time.Now()
	for _, sid := range u.GetTrackSids() {
		s := p.subs[sid]
		if s == nil {
			continue
		}
		src := s.track.source
		layer := src.LayerForQuality(int(u.GetQuality()))
		if u.GetWidth() > 0 && u.GetHeight() > 0 {
			layer = src.LayerFor(u.GetWidth(), u.GetHeight())
		}
		s.down.fw.SetWanted(layer, now)
		s.hidden = u.GetDisabled()
		s.flow(now)
	}
	p.sub.allocate()
}

// permit takes who may receive what the client publishes.
func (p *participant) permit(u *signal.SubscriptionPermission) {
	var a *audience
	if !u.GetAllParticipants() {
		a = &audience{all: map[string]bool{}, tracks: map[string]map[string]bool{}}
		for i, one := range u.GetTrackPermissions() {
			if i == maxNames {
				break
			}
			a.add(one)
		}
	}
	p.mu.Lock()
	p.allowed = a
	live := p.live
	p.mu.Unlock()
	for _, other := range p.room.everybody() {
		if other == p {
			continue
		}
		for _, t := range live {
			other.do(func() {
				if other.offers[t.sid] == t {
					other.reconsider(t)
					other.send(&signal.SignalResponse{Message: &signal.SignalResponse_SubscriptionPermissionUpdate{
						SubscriptionPermissionUpdate: &signal.SubscriptionPermissionUpdate{
							ParticipantSid: p.sid, TrackSid: t.sid, Allowed: p.audienceNow().allows(other, t.sid)}}})
				}
			})
		}
	}
}

func (a *audience) add(one *signal.TrackPermission) {
	for _, who := range []string{one.GetParticipantIdentity(), one.GetParticipantSid()} {
		if !validName(who) {
			continue
		}
		if one.GetAllTracks() {
			a.all[who] = true
		}
		for i, sid := range one.GetTrackSids() {
			if i == maxNames {
				break
			}
			if !validName(sid) {
				continue
			}
			if a.tracks[sid] == nil {
				a.tracks[sid] = map[string]bool{}
			}
			a.tracks[sid][who] = true
		}
	}
}

func (p *participant) audienceNow() *audience {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.allowed
}
