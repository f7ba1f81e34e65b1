package rtc_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"parley/internal/fault"
	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// Signalling that is away for ten seconds and more ends nothing: media go on, and who comes back is told what has changed.
func TestMediaOutliveSignalling(t *testing.T) {
	var c clock
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Now = c.now })
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	cleo := w.join("room", "cleo", rtc.Publisher)
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "the sound arrives", packets(sound.SID(), 10))
	sid := ben.Snapshot().SID
	w.gate.fail()
	w.awaitInfo("room", "signalling is lost", func(i rtc.RoomInfo) bool { return i.Participants[0].Lost && i.Participants[1].Lost })
	if err := cleo.Close(); err != nil {
		t.Fatal(err)
	}
	c.forward(10 * time.Second)
	before := ben.Snapshot()
	heard, _ := before.Track(sound.SID())
	await(t, ben, "the sound goes on", packets(sound.SID(), heard.Packets+60)) // the engine looks at the clock every second
	if info, _ := w.Room("room"); len(info.Participants) != 3 {
		t.Fatalf("after 10 s there are %d participants", len(info.Participants))
	}
	w.RemoveParticipant("room", "cleo", rtc.ReasonRemoved)
	w.awaitEvent(rtc.ParticipantLeft, "cleo")
	w.gate.repair()
	for name, p := range map[string]*client.Participant{"anna": anna, "ben": ben} {
		s := await(t, p, name+" resumes", func(s *client.Snapshot) bool {
			return s.State == client.Connected && s.Resumes == 1 && len(s.Participants) == 1
		})
		if name == "ben" && s.SID != sid {
			t.Errorf("ben was %s and is %s", sid, s.SID)
		}
	}
	after := ben.Snapshot()
	heard, _ = after.Track(sound.SID())
	await(t, ben, "the sound goes on after that", packets(sound.SID(), heard.Packets+25))
	more, err := ben.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, anna, "something new arrives", packets(more.SID(), 25))
	if n := w.Stats().Resumes; n != 2 {
		t.Errorf("%d resumptions were counted", n)
	}
}

// What is published while somebody's signalling is lost, and what is taken back, is there when they come back.
func TestWhatHappensMeanwhileIsMadeUpFor(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	far, network := serve(w.Engine)
	t.Cleanup(far.Close)
	anna := w.join("room", "anna", rtc.Publisher)
	ben := w.join("room", "ben", rtc.Publisher, func(cfg *client.Config) { cfg.URL = far.URL })
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	screen, err := anna.PublishVideo(w.ctx(), client.Video{Source: signal.TrackSource_SCREEN_SHARE})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "the sound arrives", packets(sound.SID(), 10))
	await(t, ben, "the screen arrives", packets(screen.SID(), 10))
	network.fail()
	w.awaitInfo("room", "signalling is lost", func(i rtc.RoomInfo) bool { return i.Participants[1].Lost })
	video, err := anna.PublishVideo(w.ctx(), client.Video{})
	if err != nil {
		t.Fatal(err)
	}
	if err := screen.Unpublish(); err != nil {
		t.Fatal(err)
	}
	w.awaitInfo("room", "the picture is there", func(i rtc.RoomInfo) bool {
		tracks := i.Participants[0].Tracks
		return len(tracks) == 2 && tracks[1].Live
	})
	network.repair()
	await(t, ben, "ben resumes", func(s *client.Snapshot) bool { return s.State == client.Connected && s.Resumes == 1 })
	await(t, ben, "the picture arrives", packets(video.SID(), 50))
	s := ben.Snapshot()
	if tracks := s.Participants[0].GetTracks(); len(tracks) != 2 {
		t.Errorf("ben knows of %v", tracks)
	}
	heard, _ := s.Track(sound.SID())
	await(t, ben, "the sound goes on", packets(sound.SID(), heard.Packets+25))
}

func (w *world) awaitInfo(room, what string, cond func(rtc.RoomInfo) bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if info, ok := w.Room(room); ok && cond(info) {
			return
		}
		if time.Now().After(deadline) {
			info, ok := w.Room(room)
			w.t.Fatalf("%s: %+v, %v", what, info, ok)
		}
		time.Sleep(5 * time.Millisecond) // the engine tells nobody of this
	}
}

func TestWhoDoesNotComeBackIsGone(t *testing.T) {
	var c clock
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Now = c.now })
	w.open("room")
	w.join("room", "anna", rtc.Publisher)
	w.gate.fail()
	w.awaitInfo("room", "signalling is lost", func(i rtc.RoomInfo) bool { return i.Participants[0].Lost })
	c.forward(70 * time.Second)
	if ev := w.awaitEvent(rtc.ParticipantLeft, "anna"); ev.Reason != rtc.ReasonTimeout {
		t.Errorf("anna left: %v", ev.Reason)
	}
	w.gate.repair()
	// Who comes back later is told to begin anew.
	r := w.rawJoin(w.token("room", "anna", rtc.Publisher), "&reconnect=1&sid=PA_gone")
	if l := r.left(); l.GetAction() != signal.LeaveRequest_RECONNECT || l.GetReason() != signal.DisconnectReason_STATE_MISMATCH {
		t.Errorf("the answer is %v", l)
	}
}

func TestTheSameIdentityReplacesTheFormer(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	ben := w.join("room", "ben", rtc.Publisher)
	first := w.join("room", "anna", rtc.Publisher)
	sound, err := first.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, ben, "the sound arrives", packets(sound.SID(), 10))
	second := w.join("room", "anna", rtc.Publisher)
	if e := ended(t, first); e.Reason != signal.DisconnectReason_DUPLICATE_IDENTITY || e.Action != signal.LeaveRequest_DISCONNECT {
		t.Errorf("the former ended with %v", e)
	}
	if ev := w.awaitEvent(rtc.ParticipantLeft, "anna"); ev.Reason != rtc.ReasonDuplicate {
		t.Errorf("the event says %v", ev.Reason)
	}
	again, err := second.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	s := await(t, ben, "the new sound arrives", packets(again.SID(), 10))
	if len(s.Participants) != 1 || s.Participants[0].GetSid() != second.Snapshot().SID {
		t.Errorf("ben sees %v", s.Participants)
	}
}

func TestDrainTellsEverybody(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Subscriber)
	token := w.token("room", "cleo", rtc.Publisher)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Drain(ctx); err != nil {
		t.Fatalf("Drain: %v", err)
	}
	for _, p := range []*client.Participant{anna, ben} {
		if e := ended(t, p); e.Reason != signal.DisconnectReason_SERVER_SHUTDOWN {
			t.Errorf("it ended with %v", e)
		}
	}
	if status, text, _ := w.ask("/rtc/validate", token); status != http.StatusServiceUnavailable || text == "" {
		t.Errorf("a late join is answered with %d %q", status, text)
	}
	if err := w.OpenRoom("other", 0); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a room was opened: %v", err)
	}
}

func TestRemovedAndClosed(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	anna, ben := w.join("room", "anna", rtc.Publisher), w.join("room", "ben", rtc.Publisher)
	old := w.token("room", "anna", rtc.Publisher)
	w.RemoveParticipant("room", "anna", rtc.ReasonRemoved)
	if e := ended(t, anna); e.Reason != signal.DisconnectReason_PARTICIPANT_REMOVED {
		t.Errorf("anna ended with %v", e)
	}
	if status, _, _ := w.ask("/rtc/validate", old); status != http.StatusForbidden {
		t.Errorf("the old token is answered with %d", status)
	}
	if status, _, _ := w.ask("/rtc/validate", w.token("room", "anna", rtc.Publisher)); status != http.StatusOK {
		t.Errorf("a new token is answered with %d", status)
	}
	await(t, ben, "anna has gone", func(s *client.Snapshot) bool { return len(s.Participants) == 0 })
	w.CloseRoom("room", rtc.ReasonRoomClosed)
	if e := ended(t, ben); e.Reason != signal.DisconnectReason_ROOM_DELETED {
		t.Errorf("ben ended with %v", e)
	}
	if _, ok := w.Room("room"); ok || w.Present("room") != 0 {
		t.Error("the room is still there")
	}
	if ev := w.awaitEvent(rtc.RoomClosed, ""); ev.Room != "room" || ev.Reason != rtc.ReasonRoomClosed {
		t.Errorf("the event is %+v", ev)
	}
	w.open("room") // as if nothing had been
	w.join("room", "anna", rtc.Publisher)
}

func TestRoomsAndEnginesFillUp(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Limits.Rooms = 1 })
	if err := w.OpenRoom("room", 1); err != nil {
		t.Fatal(err)
	}
	if err := w.OpenRoom("other", 1); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a second room: %v", err)
	}
	w.join("room", "anna", rtc.Publisher)
	if status, _, _ := w.ask("/rtc/validate", w.token("room", "ben", rtc.Publisher)); status != http.StatusServiceUnavailable {
		t.Errorf("a second participant is answered with %d", status)
	}
	if status, _, _ := w.ask("/rtc/validate", w.token("room", "anna", rtc.Publisher)); status != http.StatusOK {
		t.Errorf("anna herself is answered with %d", status)
	}
	if err := w.OpenRoom("room", 2); err != nil {
		t.Fatal(err)
	}
	w.join("room", "ben", rtc.Publisher)
}

// A token that runs out while its bearer takes part is replaced in time.
func TestTokensAreRenewed(t *testing.T) {
	var c clock
	w := newWorld(t, func(cfg *rtc.Config) { cfg.Now, cfg.Limits.RefreshTokens = c.now, time.Second })
	w.open("room")
	old := w.token("room", "anna", rtc.Publisher)
	c.forward(rtc.DefaultLife - 5*time.Second)
	r := w.rawJoin(old, "")
	r.joined()
	m := r.next("a new token", func(m *signal.SignalResponse) bool { return m.GetRefreshToken() != "" })
	c.forward(10 * time.Second)
	if status, _, _ := w.ask("/rtc/validate", old); status != http.StatusUnauthorized {
		t.Errorf("the old token is answered with %d", status)
	}
	if status, _, _ := w.ask("/rtc/validate", m.GetRefreshToken()); status != http.StatusOK {
		t.Errorf("the new token is answered with %d", status)
	}
}
