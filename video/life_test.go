package video_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/video"
)

// A page that is reloaded in mid-call comes back as somebody new, and who it was is taken out of the room: no ghost stays.
func TestReload(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.agent, c.ID)
		first := w.in(w.visitor, c.ID)
		second := w.in(w.visitor, c.ID) // the engine has not noticed yet that the first is gone
		if first.Identity == second.Identity {
			t.Error("an identity came twice")
		}
		w.until(func() bool { return w.engine.howRemoved(first.Identity) == video.Replaced }, "a ghost stays in the room")
		w.engine.lose(first) // the engine says so too, afterwards
		w.engine.enter(first)
		if w.engine.howRemoved(first.Identity) != video.Replaced || w.engine.Present(c.ID) != 2 {
			t.Error("a replaced entry opens the room again")
		}
		c = w.now(c.ID)
		if len(c.Participants) != 3 || c.Participants[1].Departure != video.Replaced || !c.Participants[2].LeftAt.IsZero() || c.State != video.Live {
			t.Errorf("the call is %+v", c)
		}
		want := []string{"ringing", "live", "joined", "joined", "left", "joined"}
		if got := w.hub.on("conv:" + w.conversation); !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		// The connection is lost for a while, and comes back with the same entry.
		w.engine.lose(second)
		if p := w.now(c.ID).Participants[2]; p.Departure != video.Left || p.LeftAt.IsZero() {
			t.Errorf("without connection it is %+v", p)
		}
		w.engine.enter(second)
		if p := w.now(c.ID).Participants[2]; p.Departure != "" || !p.LeftAt.IsZero() {
			t.Errorf("back again it is %+v", p)
		}
		// Lost, and then come anew: the lost entry holds no longer.
		w.engine.lose(second)
		third := w.in(w.visitor, c.ID)
		w.engine.enter(second)
		if w.engine.howRemoved(second.Identity) != video.Replaced || w.engine.Present(c.ID) != 2 || w.engine.howRemoved(third.Identity) != "" {
			t.Error("the entry before the last one opens the room again")
		}
	})
}

func TestLeave(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		w.in(w.agent, c.ID)
		third := w.in(w.second, c.ID)
		if c = must[video.Session](t)(w.Leave(w.second, c.ID)); c.State != video.Live {
			t.Fatalf("a third one left, and the call is %s", c.State)
		}
		w.until(func() bool { return w.engine.howRemoved(third.Identity) == video.Left }, "who left is in the room")
		w.in(w.second, c.ID) // may come back
		if c = must[video.Session](t)(w.Leave(w.agent, c.ID)); c.State != video.Live {
			t.Fatalf("an agent is left, and the call is %s", c.State)
		}
		if c = must[video.Session](t)(w.Leave(w.visitor, c.ID)); c.State != video.Ended || c.EndReason != video.HungUp {
			t.Errorf("without the visitor the call is %s %s", c.State, c.EndReason)
		}
		must[video.Session](t)(w.Leave(w.agent, c.ID))

		c = w.live()
		w.in(w.agent, c.ID)
		w.in(w.second, c.ID)
		if c = must[video.Session](t)(w.Leave(w.second, c.ID)); c.State != video.Live {
			t.Errorf("the visitor is on the way in, and the call is %s %s", c.State, c.EndReason)
		}
		if c = must[video.Session](t)(w.Leave(w.owner, c.ID)); c.State != video.Live {
			t.Errorf("somebody who was not in it left, and the call is %s", c.State)
		}
	})
}

// The side that stays is never asked: it may have lost the connection for a moment.
func TestLeaveWhileTheOtherSideReconnects(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		mine := w.in(w.visitor, c.ID)
		w.in(w.agent, c.ID)
		w.in(w.second, c.ID)
		w.engine.lose(mine)
		w.until(func() bool { return w.now(c.ID).State == video.Live && !here(w.now(c.ID), video.Visitor) }, "the visitor is out")
		if c = must[video.Session](t)(w.Leave(w.second, c.ID)); c.State != video.Live {
			t.Fatalf("an agent waits for the visitor, and the call is %s %s", c.State, c.EndReason)
		}
		if c = must[video.Session](t)(w.Leave(w.agent, c.ID)); c.State != video.Ended || c.EndReason != video.HungUp {
			t.Errorf("without an agent the call is %s %s", c.State, c.EndReason)
		}
	})
}

// Who answered and then will not come, because of the notice or the preview, leaves nobody waiting.
func TestLeaveWithoutHavingEntered(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		if c = must[video.Session](t)(w.Leave(w.agent, c.ID)); c.State != video.Ended || c.EndReason != video.HungUp {
			t.Errorf("the agent who answered left, and the call is %s %s", c.State, c.EndReason)
		}
		c = must[video.Session](t)(w.Accept(w.visitor, w.ring(w.agent).ID))
		w.in(w.agent, c.ID)
		if c = must[video.Session](t)(w.Leave(w.visitor, c.ID)); c.State != video.Ended || c.EndReason != video.HungUp {
			t.Errorf("the visitor who answered left, and the call is %s %s", c.State, c.EndReason)
		}
	})
}

func here(c video.Session, side video.Side) bool {
	return slices.ContainsFunc(c.Participants, func(p video.Participant) bool { return p.Kind == side && p.LeftAt.IsZero() })
}

// A sign-in that was ended, on a laptop that was left in a train, hears nobody any more; the member's other one is untouched.
func TestSignInThatEndsLeavesTheCall(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		session := func(ctx context.Context, id string) context.Context {
			a := actor.From(ctx)
			a.Session = id
			return actor.With(ctx, a)
		}
		c := w.live()
		mine, theirs := w.in(session(w.visitor, "token-1"), c.ID), w.in(session(w.agent, "laptop"), c.ID)
		revoke := func(typ string, data map[string]string) {
			raw := must[[]byte](t)(json.Marshal(data))
			err := w.db.Do(context.Background(), "test", func(tx *db.Tx) error {
				w.bus.Emit(tx, bus.Event{ID: db.NewID(), Type: typ, Org: w.org, Time: tx.Now(), Data: raw})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		agent, visitor := actor.From(w.agent).ID, actor.From(w.visitor).ID
		revoke("account.session.revoked.v1", map[string]string{"member": agent, "session": "telephone"})
		revoke("account.session.revoked.v1", map[string]string{"member": agent, "session": "laptop"})
		w.until(func() bool { return w.engine.howRemoved(theirs.Identity) == video.Left }, "the laptop is in the room")
		if how := w.engine.howRemoved(mine.Identity); how != "" {
			t.Errorf("the visitor was taken out: %s", how)
		}
		w.in(session(w.agent, "telephone"), c.ID)
		revoke("chat.token.revoked.v1", map[string]string{"person": visitor, "session": "token-2"})
		revoke("chat.token.revoked.v1", map[string]string{"person": visitor, "session": "token-1"})
		w.until(func() bool { return w.engine.howRemoved(mine.Identity) == video.Left }, "the visitor's page is in the room")
		if now := w.now(c.ID); now.State != video.Live || !here(now, video.Agent) {
			t.Errorf("the call is %s", now.State)
		}
	})
}

func TestEmptyRoomEnds(t *testing.T) {
	quick := video.Timing{Empty: 300 * time.Millisecond, Tick: 20 * time.Millisecond}
	each(t, video.Options{Timing: quick}, func(t *testing.T, w *world) {
		c := w.live()
		mine := w.in(w.visitor, c.ID)
		w.in(w.agent, c.ID)
		w.engine.lose(mine)
		time.Sleep(2 * quick.Empty)
		if now := w.now(c.ID); now.State != video.Live {
			t.Fatalf("somebody is in the room, and the call is %s %s", now.State, now.EndReason)
		}
		w.engine.lose(w.in(w.agent, c.ID))
		w.engine.lose(w.in(w.visitor, c.ID))
		again := w.in(w.visitor, c.ID) // a moment empty is not empty
		time.Sleep(2 * quick.Empty)
		if now := w.now(c.ID); now.State != video.Live {
			t.Fatalf("somebody came back, and the call is %s %s", now.State, now.EndReason)
		}
		w.engine.lose(again)
		w.await(c.ID, video.HungUp)
		w.until(func() bool { return w.engine.howClosed(c.ID) == video.HungUp }, "the room stays open")

		c = w.live()
		w.read(w.visitor)
		must[video.Pass](t)(w.Join(w.visitor, c.ID)) // and never connects
		w.await(c.ID, video.Failed)
	})
}

// The engine gives up a room by itself.
func TestEngineCloses(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		w.engine.svc.Happened(context.Background(), video.MediaEvent{Kind: video.MediaClosed, Room: c.ID})
		w.await(c.ID, video.Failed)
	})
}

// After a stop the live calls are over and people were told why; what rang goes on ringing.
func TestStop(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		if err := w.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.await(c.ID, video.Shutdown)
		if w.engine.howClosed(c.ID) != video.Shutdown {
			t.Error("the room stays open")
		}
		_, _, err := w.Start(w.visitor, w.conversation, db.NewID(), video.WithVideo)
		wantCode(t, err, "calls_stopping")
		if got := w.hub.on("conv:" + w.conversation); got[len(got)-1] != "ended:shutdown" {
			t.Errorf("told %v", got)
		}
	})
}

// The process dies without a word. The next one knows that the calls which it carried are over.
func TestRestart(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		live := w.live()
		w.in(w.visitor, live.ID)
		caller, talk := w.writer()
		ringing, _, err := w.Start(caller, talk, db.NewID(), video.WithVideo)
		if err != nil {
			t.Fatal(err)
		}
		w.stop()
		w.again(w.opt)
		w.await(live.ID, video.Shutdown)
		for _, p := range w.now(live.ID).Participants {
			if p.Departure != video.Over {
				t.Errorf("after the restart a participant is %+v", p)
			}
		}
		if c := must[video.Session](t)(w.Accept(w.agent, ringing.ID)); c.State != video.Live {
			t.Errorf("what rang is %s %s", c.State, c.EndReason)
		}
		w.in(caller, ringing.ID)
	})
}

// Another process carried the call and is gone. Whoever is left ends it, once it has been silent for long enough; until then
// nobody is let into a room that this process does not have.
func TestAnotherProcessIsGone(t *testing.T) {
	timing := video.Timing{Lease: 500 * time.Millisecond, Tick: 20 * time.Millisecond}
	each(t, video.Options{Timing: timing}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		other := w.opt
		other.Node = "there"
		if w.db.Engine() == db.SQLite { // one process has the file: what another carried is over at once
			w.stop()
			w.again(other)
			w.await(c.ID, video.Shutdown)
			return
		}
		time.Sleep(2 * timing.Lease) // the call is kept alive
		w.stop()
		w.again(other)
		w.read(w.agent)
		_, err := w.Join(w.agent, c.ID)
		wantCode(t, err, "call_elsewhere")
		w.until(func() bool { return time.Since(w.now(c.ID).AnsweredAt) > 4*timing.Lease }, "time stands still")
		if err := w.Tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.await(c.ID, video.Shutdown)
	})
}

// Answered, and nobody ever entered; and a call whose job got lost.
func TestTidy(t *testing.T) {
	each(t, video.Options{Timing: video.Timing{Empty: 50 * time.Millisecond}}, func(t *testing.T, w *world) {
		c := w.live()
		w.until(func() bool { return time.Since(c.AnsweredAt) > 100*time.Millisecond }, "time stands still")
		if err := w.Tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.await(c.ID, video.Failed)
		c = w.ring(w.visitor)
		err := w.db.Do(context.Background(), "test", func(tx *db.Tx) error {
			if _, err := tx.Exec(`DELETE FROM bus_job WHERE kind = 'video.missed'`); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE video_session SET ring_until = 1 WHERE id = $1`, c.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.await(c.ID, video.Missed)
	})
}

// An overdue call that nobody has ended yet stands in nobody's way.
func TestOverdue(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.ring(w.visitor)
		err := w.db.Do(context.Background(), "test", func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE video_session SET ring_until = 1 WHERE id = $1`, c.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Accept(w.agent, c.ID)
		wantCode(t, err, "call_ended")
		w.ring(w.agent)
		w.await(c.ID, video.Missed)
	})
}

// Erasing a visitor ends their calls and leaves no row of them.
func TestErasure(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		w.in(w.agent, c.ID)
		other, talk := w.writer()
		stays, _, err := w.Start(other, talk, db.NewID(), video.WithVideo)
		if err != nil {
			t.Fatal(err)
		}
		w.read(other)
		if _, err := w.privacy.Erase(w.owner, w.personID); err != nil {
			t.Fatal(err)
		}
		w.until(func() bool { return w.engine.howClosed(c.ID) == video.Forced }, "the room stays open")
		_, err = w.Get(w.owner, c.ID)
		wantCode(t, err, "call_unknown")
		if got := w.hub.on("conv:" + w.conversation); got[len(got)-1] != "ended:forced" {
			t.Errorf("the agents were told %v", got)
		}
		if got := w.now(stays.ID); got.State != video.Ringing {
			t.Errorf("another visitor's call is %s %s", got.State, got.EndReason)
		}
		for table, want := range map[string]int{"video_session": 1, "video_participant": 0, "privacy_acknowledgement": 2} { // the agent's, and the other visitor's
			if n := w.count(`SELECT COUNT(*) FROM ` + table); n != want {
				t.Errorf("%s has %d rows, want %d", table, n, want)
			}
		}
		// A member who goes takes their acknowledgements along.
		if err := w.account.RemoveMember(w.owner, w.org, actor.From(w.agent).ID); err != nil {
			t.Fatal(err)
		}
		if n := w.count(`SELECT COUNT(*) FROM privacy_acknowledgement`); n != 1 {
			t.Errorf("%d acknowledgements are left, want that of the other visitor", n)
		}
	})
}

// What is past its time goes: the calls with their participants, and the acknowledgements.
func TestSweep(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		must[video.Session](t)(w.End(w.visitor, c.ID))
		w.ring(w.visitor)
		err := w.db.Do(context.Background(), "test", func(tx *db.Tx) error {
			if _, err := tx.Exec(`UPDATE video_session SET created_at = 1 WHERE id = $1`, c.ID); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE privacy_acknowledgement SET at = 1`)
			return err
		})
		if err == nil {
			err = w.privacy.Sweep(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, p, a := w.count(`SELECT COUNT(*) FROM video_session`), w.count(`SELECT COUNT(*) FROM video_participant`),
			w.count(`SELECT COUNT(*) FROM privacy_acknowledgement`); s != 1 || p != 0 || a != 0 {
			t.Errorf("after the sweep there are %d calls, %d participants, %d acknowledgements", s, p, a)
		}
	})
}
