package rtc_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// track waits until a participant knows something of another's track.
func track(t *testing.T, p *client.Participant, sid, what string, is func(*signal.TrackInfo) bool) *signal.TrackInfo {
	t.Helper()
	var found *signal.TrackInfo
	await(t, p, what, func(s *client.Snapshot) bool {
		for _, other := range s.Participants {
			for _, info := range other.GetTracks() {
				if info.GetSid() == sid && is(info) {
					found = info
					return true
				}
			}
		}
		return false
	})
	return found
}

func TestMuteAndSourcesAreTold(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Subscriber)
	screen, err := anna.PublishVideo(w.ctx(), client.Video{Source: signal.TrackSource_SCREEN_SHARE})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "the screen arrives", packets(screen.SID(), 20))
	info := track(t, ben, screen.SID(), "what it is", func(i *signal.TrackInfo) bool { return i.GetMimeType() != "" })
	if info.GetSource() != signal.TrackSource_SCREEN_SHARE || info.GetType() != signal.TrackType_VIDEO || info.GetMuted() || info.GetName() != "" {
		t.Errorf("the track is %v", info)
	}
	screen.Mute(true)
	track(t, ben, screen.SID(), "it is muted", (*signal.TrackInfo).GetMuted)
	screen.Mute(false)
	track(t, ben, screen.SID(), "it is not muted", func(i *signal.TrackInfo) bool { return !i.GetMuted() })
	s := ben.Snapshot()
	seen, _ := s.Track(screen.SID())
	await(t, ben, "it goes on", packets(screen.SID(), seen.Packets+50))
	if err := screen.Unpublish(); err != nil {
		t.Fatal(err)
	}
	await(t, ben, "it is taken back", func(s *client.Snapshot) bool { return len(s.Participants[0].GetTracks()) == 0 })
	if n := w.Stats().PublishedTracks; n != 0 {
		t.Errorf("%d tracks are counted", n)
	}
}

func TestWhoMayNotPublishDoesNot(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	ben := w.join("room", "ben", rtc.Publisher)
	r := w.rawJoin(w.token("room", "watcher", rtc.Subscriber), "")
	if p := r.joined().GetParticipant().GetPermission(); p.GetCanPublish() || p.GetCanPublishData() || !p.GetCanSubscribe() {
		t.Errorf("a watcher may %v", p)
	}
	for name, m := range map[string]*signal.SignalRequest{
		"announces a track": {Message: &signal.SignalRequest_AddTrack{AddTrack: &signal.AddTrackRequest{
			Cid: "x", Type: signal.TrackType_AUDIO, Source: signal.TrackSource_MICROPHONE}}},
		"offers": {Message: &signal.SignalRequest_Offer{Offer: &signal.SessionDescription{Type: "offer", Sdp: "v=0"}}},
		"has a name": {Message: &signal.SignalRequest_UpdateMetadata{UpdateMetadata: &signal.UpdateParticipantMetadata{
			Name: "Anna Müller", Metadata: "secret", Attributes: map[string]string{"mail": "anna@example.com"}, RequestId: 7}}},
		"has data tracks": {Message: &signal.SignalRequest_PublishDataTrackRequest{
			PublishDataTrackRequest: &signal.PublishDataTrackRequest{PubHandle: 1, Name: "x"}}},
	} {
		r.send(m)
		if a := r.answered(); a.GetReason() != signal.RequestResponse_NOT_ALLOWED || len(a.GetMessage()) < 20 {
			t.Errorf("%s: the answer is %v", name, a)
		}
	}
	info, _ := w.Room("room")
	for _, p := range info.Participants {
		if len(p.Tracks) > 0 {
			t.Errorf("%s publishes %v", p.Identity, p.Tracks)
		}
	}
	await(t, ben, "no name arrived", func(s *client.Snapshot) bool { return len(s.Participants) == 1 })
	if p := ben.Snapshot().Participants[0]; p.GetName() != "" || p.GetMetadata() != "" || len(p.GetAttributes()) > 0 {
		t.Errorf("ben knows %v", p)
	}
}

func TestSourcesAreHeldTo(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	token, err := w.Token(rtc.Grant{Room: "room", Identity: "anna", Role: rtc.Publisher, Sources: []rtc.Source{rtc.Microphone}})
	if err != nil {
		t.Fatal(err)
	}
	r := w.rawJoin(token, "")
	r.joined()
	ask := func(req *signal.AddTrackRequest) {
		r.send(&signal.SignalRequest{Message: &signal.SignalRequest_AddTrack{AddTrack: req}})
	}
	ask(&signal.AddTrackRequest{Cid: "c", Type: signal.TrackType_VIDEO, Source: signal.TrackSource_CAMERA})
	if a := r.answered(); a.GetReason() != signal.RequestResponse_NOT_ALLOWED || a.GetAddTrack().GetCid() != "c" {
		t.Errorf("a camera: %v", a)
	}
	ask(&signal.AddTrackRequest{Cid: "u", Type: signal.TrackType_AUDIO})
	if a := r.answered(); a.GetReason() != signal.RequestResponse_NOT_ALLOWED {
		t.Errorf("an unknown source: %v", a)
	}
	ask(&signal.AddTrackRequest{Cid: "v", Type: signal.TrackType_VIDEO, Source: signal.TrackSource_MICROPHONE})
	if a := r.answered(); a.GetReason() != signal.RequestResponse_INVALID_REQUEST {
		t.Errorf("a picture of a microphone: %v", a)
	}
	ask(&signal.AddTrackRequest{Cid: "m", Name: "Anna's", Type: signal.TrackType_AUDIO, Source: signal.TrackSource_MICROPHONE, Stream: "Anna's"})
	m := r.next("the track", func(m *signal.SignalResponse) bool { return m.GetTrackPublished() != nil }).GetTrackPublished()
	if m.GetCid() != "m" || m.GetTrack().GetName() != "" || m.GetTrack().GetStream() == "Anna's" {
		t.Errorf("the microphone: %v", m)
	}
	ask(&signal.AddTrackRequest{Cid: "m", Type: signal.TrackType_AUDIO, Source: signal.TrackSource_MICROPHONE})
	if a := r.answered(); a.GetReason() != signal.RequestResponse_LIMIT_EXCEEDED {
		t.Errorf("the same again: %v", a)
	}
}

func TestTracksAreCounted(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Limits.Tracks = 1 })
	w.open("room")
	anna := w.join("room", "anna", rtc.Publisher)
	if _, err := anna.PublishAudio(w.ctx(), client.Audio{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := anna.PublishAudio(ctx, client.Audio{}); err == nil {
		t.Error("a second track was published")
	}
}

func TestSubscribingByHandAndBySize(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna := w.join("room", "anna", rtc.Publisher)
	ben := w.join("room", "ben", rtc.Subscriber, func(cfg *client.Config) { cfg.ManualSubscribe = true })
	video, err := anna.PublishVideo(w.ctx(), client.Video{Simulcast: true})
	if err != nil {
		t.Fatal(err)
	}
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	track(t, ben, video.SID(), "the picture is known", func(i *signal.TrackInfo) bool { return i.GetMimeType() != "" })
	if s := ben.Snapshot(); len(s.Tracks) > 0 {
		t.Errorf("unasked came %+v", s.Tracks)
	}
	ben.Subscribe(true, video.SID())
	await(t, ben, "the largest picture comes", func(s *client.Snapshot) bool {
		v, ok := s.Track(video.SID())
		return ok && v.Width == 1280
	})
	ben.Show(&signal.UpdateTrackSettings{TrackSids: []string{video.SID()}, Quality: signal.VideoQuality_LOW})
	await(t, ben, "the smallest picture comes", func(s *client.Snapshot) bool {
		v, _ := s.Track(video.SID())
		return v.Width == 320
	})
	ben.Show(&signal.UpdateTrackSettings{TrackSids: []string{video.SID()}, Width: 600, Height: 340})
	s := await(t, ben, "the middle picture comes", func(s *client.Snapshot) bool {
		v, _ := s.Track(video.SID())
		return v.Width == 640
	})
	v, _ := s.Track(video.SID())
	if v.Lost > 0 || v.Backwards > 0 || v.PictureGaps > 0 {
		t.Errorf("changing layers, it arrived as %+v", v)
	}
	if _, ok := s.Track(sound.SID()); ok {
		t.Error("the sound came unasked")
	}
	ben.Subscribe(false, video.SID())
	ben.Subscribe(true, sound.SID())
	await(t, ben, "the sound comes", packets(sound.SID(), 20))
	if n := w.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions are counted", n)
	}
}

func TestSpeakersAndQualityAreTold(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{Level: 20})
	if err != nil {
		t.Fatal(err)
	}
	whisper, err := ben.PublishAudio(w.ctx(), client.Audio{Level: 90})
	if err != nil {
		t.Fatal(err)
	}
	await(t, anna, "the whisper arrives", packets(whisper.SID(), 20))
	s := await(t, ben, "anna is heard", func(s *client.Snapshot) bool { return s.Speakers[anna.Snapshot().SID] > 0 })
	if s.Speakers[s.SID] > 0 {
		t.Error("ben's whisper counts as speech")
	}
	sound.Mute(true)
	await(t, ben, "anna is silent", func(s *client.Snapshot) bool { return s.Speakers[anna.Snapshot().SID] == 0 })
	r := w.rawJoin(w.token("room", "cleo", rtc.Subscriber), "")
	q := r.next("how good connections are", func(m *signal.SignalResponse) bool { return m.GetConnectionQuality() != nil }).GetConnectionQuality()
	if len(q.GetUpdates()) != 3 {
		t.Errorf("who is new is told %v", q)
	}
}

func TestPublishersChooseTheirAudience(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben, cleo := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Subscriber), w.join("room", "cleo", rtc.Subscriber)
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "ben hears", packets(sound.SID(), 10))
	await(t, cleo, "cleo hears", packets(sound.SID(), 10))
	anna.Send(&signal.SignalRequest{Message: &signal.SignalRequest_SubscriptionPermission{SubscriptionPermission: &signal.SubscriptionPermission{
		TrackPermissions: []*signal.TrackPermission{{ParticipantIdentity: "ben", AllTracks: true}}}}})
	heard := func(p *client.Participant) uint64 {
		s := p.Snapshot()
		a, _ := s.Track(sound.SID())
		return a.Packets
	}
	await(t, ben, "cleo hears no more, and ben goes on hearing", func(*client.Snapshot) bool {
		before, others := heard(cleo), heard(ben)
		await(t, ben, "ben goes on hearing", packets(sound.SID(), others+10))
		return heard(cleo) == before
	})
	anna.Send(&signal.SignalRequest{Message: &signal.SignalRequest_SubscriptionPermission{SubscriptionPermission: &signal.SubscriptionPermission{
		AllParticipants: true}}})
	await(t, cleo, "cleo hears again", packets(sound.SID(), heard(cleo)+10))
	if n := w.Sections("room", "cleo"); n != 1 {
		t.Errorf("cleo's connection has %d sections", n)
	}
}
