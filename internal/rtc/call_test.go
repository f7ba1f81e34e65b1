package rtc_test

import (
	"testing"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

func TestTwoParticipantsHearAndSeeEachOther(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	video, err := anna.PublishVideo(w.ctx(), client.Video{Simulcast: true})
	if err != nil {
		t.Fatal(err)
	}
	audio, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := ben.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	s := await(t, ben, "the picture arrives", packets(video.SID(), 200))
	await(t, ben, "the sound arrives", packets(audio.SID(), 50))
	await(t, anna, "the answer arrives", packets(back.SID(), 50))
	got, _ := s.Track(video.SID())
	if got.Lost > 0 || got.Duplicates > 0 || got.Backwards > 0 || got.KeyFrames == 0 {
		t.Errorf("the picture arrived as %+v", got)
	}
	info, ok := w.Room("room")
	if !ok || len(info.Participants) != 2 || len(info.Participants[0].Tracks) != 2 || w.Present("room") != 2 {
		t.Errorf("the room is %+v", info)
	}
}

func TestTracksComeAndGo(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	for range 3 {
		screen, err := anna.PublishVideo(w.ctx(), client.Video{Source: signal.TrackSource_SCREEN_SHARE})
		if err != nil {
			t.Fatal(err)
		}
		await(t, ben, "the screen arrives", packets(screen.SID(), 100))
		if err := screen.Unpublish(); err != nil {
			t.Fatal(err)
		}
		await(t, ben, "the screen is taken back", func(s *client.Snapshot) bool {
			return len(s.Participants) == 1 && len(s.Participants[0].GetTracks()) == 0
		})
	}
}

// A connection collects sections, since none is used again. One that has collected too many begins anew.
func TestAConnectionWithTooManyIdleSectionsBeginsAnew(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna := w.join("room", "anna", rtc.Publisher)
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	w.awaitInfo("room", "the sound is there", func(i rtc.RoomInfo) bool {
		return len(i.Participants[0].Tracks) == 1 && i.Participants[0].Tracks[0].Live
	})
	ben := w.rawJoin(w.token("room", "ben", rtc.Subscriber), "&auto_subscribe=0")
	ben.joined()
	want := func(yes bool) {
		ben.send(&signal.SignalRequest{Message: &signal.SignalRequest_Subscription{
			Subscription: &signal.UpdateSubscription{TrackSids: []string{sound.SID()}, Subscribe: yes}}})
	}
	for range rtc.MaxIdle {
		want(true)
		want(false)
	}
	ben.still("with so many, ben stays")
	if n := w.Sections("room", "ben"); n != rtc.MaxIdle {
		t.Errorf("the connection has %d sections", n)
	}
	want(true)
	if l := ben.left(); l.GetAction() != signal.LeaveRequest_RECONNECT || l.GetReason() != signal.DisconnectReason_STATE_MISMATCH {
		t.Errorf("the answer is %v", l)
	}
}
