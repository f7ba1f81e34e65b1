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
	if !ok || len(info.Participants) != 2 || len(info.Participants[0].Tracks) != 2 {
		t.Errorf("the room is %+v", info)
	}
}

func TestSectionsAreUsedAgain(t *testing.T) {
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
