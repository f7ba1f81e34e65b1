package rtc

import (
	"slices"
	"time"

	"parley/internal/fault"
	"parley/internal/rtc/forward"
	"parley/internal/rtc/signal"
)

const maxLayers = forward.MaxLayers

// announced is a track that the client has spoken of and not yet offered.
type announced struct {
	cid  string
	info *signal.TrackInfo
	at   time.Time
}

// announcedFor is how long an announcement, or media that nobody has announced, waits for its counterpart.
const announcedFor = 30 * time.Second

// expire forgets announcements that were never offered, and ends media that was never announced, or was refused.
func (p *participant) expire(now time.Time) {
	p.pending = slices.DeleteFunc(p.pending, func(a *announced) bool { return now.Sub(a.at) > announcedFor })
	if p.pub == nil {
		return
	}
	p.pub.orphans = slices.DeleteFunc(p.pub.orphans, func(a arrival) bool {
		if now.Sub(a.at) <= announcedFor {
			return false
		}
		a.end()
		return true
	})
}

// addTrack takes the announcement of a track.
func (p *participant) addTrack(req *signal.AddTrackRequest) {
	const op = "rtc.addTrack"
	refuse := func(kind fault.Kind, code, text string) {
		p.refuse(fault.New(kind, op, code, text), func(r *signal.RequestResponse) {
			r.Request = &signal.RequestResponse_AddTrack{AddTrack: &signal.AddTrackRequest{Cid: req.GetCid(), Source: req.GetSource()}}
		})
	}
	switch {
	case !p.sends:
		refuse(fault.Forbidden, "publish_refused", "Your part in this call is to watch and listen.")
		return
	case !p.mayPublish(req.GetSource()):
		refuse(fault.Forbidden, "source_refused", "You may not send this kind of track in this call.")
		return
	case req.GetCid() == "" || len(req.GetCid()) > maxCID || len(req.GetLayers()) > maxLayers || !fits(req.GetType(), req.GetSource()):
		refuse(fault.Malformed, "track_malformed", "The announcement of the track cannot be understood.")
		return
	case req.GetSid() != "":
		refuse(fault.Forbidden, "codec_refused", "A track is sent in one codec here.")
		return
	case len(p.tracks)+len(p.pending) >= p.engine.limits.Tracks:
		refuse(fault.Conflict, "too_many_tracks", "You already send as many tracks as you may.")
		return
	case slices.ContainsFunc(p.pending, func(a *announced) bool { return a.cid == req.GetCid() }):
		refuse(fault.Conflict, "track_announced", "This track was announced already.")
		return
	}
	a := &announced{cid: req.GetCid(), info: infoOf(req), at: p.engine.now()}
	p.pending = append(p.pending, a)
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_TrackPublished{
		TrackPublished: &signal.TrackPublishedResponse{Cid: a.cid, Track: a.info}}})
	p.match() // the offer may have come first
}

// maxCID bounds a client's own id of a track; browsers use UUIDs.
const maxCID = 128

// fits says whether a source delivers tracks of this type.
func fits(t signal.TrackType, s signal.TrackSource) bool {
	switch s {
	case signal.TrackSource_CAMERA, signal.TrackSource_SCREEN_SHARE:
		return t == signal.TrackType_VIDEO
	case signal.TrackSource_MICROPHONE, signal.TrackSource_SCREEN_SHARE_AUDIO:
		return t == signal.TrackType_AUDIO
	case signal.TrackSource_UNKNOWN:
		return t == signal.TrackType_AUDIO || t == signal.TrackType_VIDEO
	}
	return false
}

// infoOf is what others will know of the track: what the engine needs, and no name.
func infoOf(req *signal.AddTrackRequest) *signal.TrackInfo {
	info := &signal.TrackInfo{Sid: newID("TR"), Type: req.GetType(), Source: req.GetSource(), Muted: req.GetMuted(),
		Width: req.GetWidth(), Height: req.GetHeight(), DisableDtx: req.GetDisableDtx(), Stereo: req.GetStereo(), DisableRed: true,
		Stream: streamOf(req.GetSource())}
	for _, l := range req.GetLayers() {
		info.Layers = append(info.Layers, &signal.VideoLayer{Quality: l.GetQuality(), Width: l.GetWidth(), Height: l.GetHeight(),
			Bitrate: l.GetBitrate(), SpatialLayer: l.GetSpatialLayer(), Rid: knownRID(l.GetRid())})
		info.Width, info.Height = max(info.Width, l.GetWidth()), max(info.Height, l.GetHeight())
	}
	for _, f := range req.GetAudioFeatures() {
		if f != signal.AudioTrackFeature_TF_PRECONNECT_BUFFER && len(info.AudioFeatures) < 8 {
			info.AudioFeatures = append(info.AudioFeatures, f)
		}
	}
	return info
}

func knownRID(rid string) string {
	if _, ok := forward.LayerOf(rid); !ok {
		return ""
	}
	return rid
}

// streamOf says which tracks are played in step: camera and microphone, the screen and its sound.
func streamOf(s signal.TrackSource) string {
	switch s {
	case signal.TrackSource_CAMERA, signal.TrackSource_MICROPHONE:
		return "camera"
	case signal.TrackSource_SCREEN_SHARE, signal.TrackSource_SCREEN_SHARE_AUDIO:
		return "screen_share"
	case signal.TrackSource_UNKNOWN:
	}
	return ""
}

// match brings together what was announced, what was offered, and what has begun to arrive, whichever came first.
func (p *participant) match() {
	if p.pub == nil {
		return
	}
	for _, s := range p.pub.sections {
		if p.byMid[s.mid] == nil {
			if a := p.take(s); a != nil {
				p.publish(a, s)
			}
		}
	}
	orphans := p.pub.orphans
	p.pub.orphans = nil
	for _, a := range orphans {
		p.arrived(a)
	}
}

// take finds the announcement of a section: by the client's id of the track. Some browsers name tracks anew in offers; then it
// is the first announced one of its kind that no other section of the offer is named after.
func (p *participant) take(s section) *announced {
	i := slices.IndexFunc(p.pending, func(a *announced) bool { return a.cid == s.track || a.cid == s.mid })
	if i < 0 {
		i = slices.IndexFunc(p.pending, func(a *announced) bool {
			return a.info.GetType() == s.kind && !slices.ContainsFunc(p.pub.sections, func(o section) bool { return o.track == a.cid })
		})
	}
	if i < 0 || p.pending[i].info.GetType() != s.kind {
		return nil
	}
	a := p.pending[i]
	p.pending = slices.Delete(p.pending, i, i+1)
	return a
}

// publish makes a track of an announcement that was offered.
func (p *participant) publish(a *announced, s section) {
	t := newTrack(p, a, s)
	p.tracks[t.sid], p.byMid[s.mid] = t, t
	p.engine.stats.tracks.Add(1)
	p.change(true, func() { p.infos = append(slices.Clip(p.infos), t.info) })
}

// arrived takes a stream of media: it belongs to the track of the section that it came in.
func (p *participant) arrived(a arrival) {
	if a.mid == "" {
		a.at = p.engine.now()
		if tr := a.receiver.RTPTransceiver(); tr != nil {
			a.mid = tr.Mid()
		}
	}
	t := p.byMid[a.mid]
	if t == nil {
		if len(p.pub.orphans) < maxOrphans {
			p.pub.orphans = append(p.pub.orphans, a)
		} else {
			a.end()
		}
		return
	}
	first, err := t.start(a)
	if err != nil {
		a.end()
		p.refuse(fault.Of(err), nil)
		return
	}
	if first {
		p.change(true, func() { p.live = append(slices.Clip(p.live), t) })
		p.room.offer(t)
	}
}

// unpublish takes back a track that the client sends no more.
func (p *participant) unpublish(t *track) {
	delete(p.tracks, t.sid)
	delete(p.byMid, t.mid)
	p.engine.stats.tracks.Add(-1) // before anybody is told: who knows that it is gone may look at the figures
	p.change(true, func() {
		p.infos = slices.DeleteFunc(slices.Clone(p.infos), func(i *signal.TrackInfo) bool { return i == t.info })
		p.live = slices.DeleteFunc(slices.Clone(p.live), func(o *track) bool { return o == t })
	})
	p.room.withdraw(t)
}

// muteTrack notes that the client has muted a track of its own.
func (p *participant) muteTrack(m *signal.MuteTrackRequest) {
	for _, a := range p.pending {
		if a.info.GetSid() == m.GetSid() {
			a.info.Muted = m.GetMuted()
			return
		}
	}
	t := p.tracks[m.GetSid()]
	if t == nil || t.info.GetMuted() == m.GetMuted() {
		return
	}
	t.setMuted(m.GetMuted())
	p.changeTrack(t, false, func(info *signal.TrackInfo) { info.Muted = m.GetMuted() })
}

// resize notes the size of a picture that has changed.
func (p *participant) resize(u *signal.UpdateLocalVideoTrack) {
	if t := p.tracks[u.GetTrackSid()]; t != nil {
		p.changeTrack(t, false, func(info *signal.TrackInfo) { info.Width, info.Height = u.GetWidth(), u.GetHeight() })
	}
}
