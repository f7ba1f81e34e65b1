package video_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/video"
)

var discard = slog.New(slog.DiscardHandler)

func TestVisitorCalls(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.ring(w.visitor)
		if c.StartedBy != video.Visitor || c.Starter != "" || c.RingUntil.Sub(c.CreatedAt) != video.RingFor {
			t.Errorf("the call is %+v", c)
		}
		_, err := w.Accept(w.visitor, c.ID)
		wantCode(t, err, "call_not_yours")
		c = must[video.Session](t)(w.Accept(w.agent, c.ID))
		if c.State != video.Live || c.Answerer != actor.From(w.agent).ID || c.AnsweredAt.IsZero() {
			t.Errorf("accepted, it is %+v", c)
		}
		again := must[video.Session](t)(w.Accept(w.agent, c.ID)) // the first answer got lost
		if again.State != video.Live {
			t.Errorf("accepted again, it is %+v", again)
		}
		_, err = w.Accept(w.second, c.ID)
		wantCode(t, err, "call_taken")
		_, err = w.Join(w.agent, c.ID)
		wantCode(t, err, "notice_unacknowledged")
		mine, theirs := w.in(w.visitor, c.ID), w.in(w.agent, c.ID)
		if mine.Identity == theirs.Identity || len(mine.Identity) != 32 || mine.Token == "" || mine.Room != c.ID {
			t.Errorf("the passes are %+v and %+v", mine, theirs)
		}
		for _, secret := range []string{w.personID, actor.From(w.agent).ID, w.conversation} {
			if strings.Contains(mine.Token+theirs.Token, secret) {
				t.Error("the engine is told who somebody is")
			}
		}
		list := must[[]video.Session](t)(w.Running(w.second))
		if len(list) != 1 || len(list[0].Participants) != 2 || list[0].Participants[1].JoinedAt.IsZero() {
			t.Errorf("running: %+v", list)
		}
		c = must[video.Session](t)(w.End(w.visitor, c.ID))
		for _, p := range c.Participants {
			if p.LeftAt.IsZero() || p.Departure != video.Over {
				t.Errorf("after the end a participant is %+v", p)
			}
		}
		w.await(c.ID, video.HungUp)
		w.until(func() bool { return w.engine.howClosed(c.ID) == video.HungUp }, "the room stays open")
		if again := must[video.Session](t)(w.End(w.agent, c.ID)); !again.EndedAt.Equal(c.EndedAt) {
			t.Errorf("ended again, it is %+v", again)
		}
		want := []string{"ringing", "live", "joined", "joined", "ended:hung_up"}
		for _, channel := range []string{"conv:" + w.conversation, "org:" + w.org} {
			if got := w.hub.on(channel); !slices.Equal(got, want) {
				t.Errorf("on %s went %v, want %v", channel, got, want)
			}
		}
		if got := w.hub.on("visitor:" + w.personID); len(got) != 0 {
			t.Errorf("the visitor's own pages were told %v of their own call", got)
		}
		if h := must[[]video.Session](t)(w.History(w.visitor, w.conversation)); len(h) != 1 || h[0].ID != c.ID || len(h[0].Participants) != 2 {
			t.Errorf("history: %+v", h)
		}
		if got := w.audited(); !slices.Equal(got, []string{"video.call.joined"}) {
			t.Errorf("the audit log says %v", got)
		}
	})
}

func TestAgentCalls(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.ring(w.agent)
		_, err := w.Accept(w.second, c.ID)
		wantCode(t, err, "call_not_yours")
		_, err = w.End(w.second, c.ID)
		wantCode(t, err, "call_not_yours")
		w.read(w.visitor, w.second)
		_, err = w.Join(w.visitor, c.ID) // has not answered
		wantCode(t, err, "call_not_live")
		_, err = w.Join(w.second, c.ID) // does not call
		wantCode(t, err, "call_not_live")
		w.in(w.agent, c.ID) // warms up
		c = must[video.Session](t)(w.Accept(w.visitor, c.ID))
		views := must[[]video.SessionView](t)(w.SessionViews(w.visitor, []video.Session{c}))
		if v := views[0]; v.Agent == nil || v.Agent.Name != "agent" || v.Participants[0].Name != "agent" || v.State != video.Live || v.EndedAt != nil {
			t.Errorf("the visitor sees %+v", v)
		}
		w.in(w.visitor, c.ID)
		if got := w.hub.on("visitor:" + w.personID); !slices.Equal(got, []string{"ringing", "joined", "live", "joined"}) {
			t.Errorf("the visitor's pages were told %v", got)
		}
		if got := w.hub.on("org:" + w.org); len(got) != 0 {
			t.Errorf("the other agents were told %v of a colleague's call", got)
		}
	})
}

func TestWhoDoesNotAnswer(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.ring(w.visitor)
		_, err := w.Decline(w.visitor, c.ID)
		wantCode(t, err, "call_not_yours")
		must[video.Session](t)(w.Decline(w.agent, c.ID))
		w.await(c.ID, video.Declined)
		must[video.Session](t)(w.Decline(w.second, c.ID)) // saw it a moment later
		c = w.ring(w.visitor)
		_, err = w.End(w.visitor, c.ID)
		if err != nil {
			t.Error(err)
		}
		w.await(c.ID, video.Cancelled)
		_, err = w.Accept(w.agent, c.ID)
		wantCode(t, err, "call_ended")
		c = w.ring(w.agent)
		must[video.Session](t)(w.End(w.visitor, c.ID)) // hangs up what rings: does not want it
		w.await(c.ID, video.Declined)
		_, err = w.Join(w.agent, c.ID)
		wantCode(t, err, "notice_unacknowledged")
		w.read(w.agent)
		_, err = w.Join(w.agent, c.ID)
		wantCode(t, err, "call_not_live")
	})
}

func TestMissed(t *testing.T) {
	each(t, video.Options{Timing: video.Timing{Ring: 300 * time.Millisecond}}, func(t *testing.T, w *world) {
		c := w.ring(w.visitor)
		c = w.await(c.ID, video.Missed)
		if c.EndedAt.Before(c.RingUntil) {
			t.Errorf("it rang until %s and was missed at %s", c.RingUntil, c.EndedAt)
		}
		c = w.ring(w.agent) // the next one may ring
		must[video.Session](t)(w.Accept(w.visitor, c.ID))
		time.Sleep(400 * time.Millisecond) // its job finds it answered
		if c = w.now(c.ID); c.State != video.Live {
			t.Errorf("an answered call is %s %s", c.State, c.EndReason)
		}
		if got := w.hub.on("conv:" + w.conversation); !slices.Equal(got, []string{"ringing", "ended:missed", "ringing", "live"}) {
			t.Errorf("on the conversation went %v", got)
		}
	})
}

func TestAskedTwice(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		id := db.NewID()
		c, fresh, err := w.Start(w.visitor, w.conversation, id, video.AudioOnly)
		if err != nil || !fresh || c.Medium != video.AudioOnly {
			t.Fatal(c, fresh, err)
		}
		again, fresh, err := w.Start(w.visitor, w.conversation, id, video.AudioOnly)
		if err != nil || fresh || again.ID != c.ID {
			t.Errorf("asked again it is %+v, %v, %v", again, fresh, err)
		}
		_, _, err = w.Start(w.agent, w.conversation, id, video.AudioOnly)
		wantCode(t, err, "client_id_used")
		_, _, err = w.Start(w.agent, w.conversation, db.NewID(), video.WithVideo)
		wantCode(t, err, "call_busy")
		if f := fault.Of(err); f == nil || f.Object != c.ID {
			t.Errorf("it does not name the call that is running: %+v", f)
		}
		for bad, media := range map[string]video.Medium{"": video.WithVideo, strings.Repeat("x", 65): video.WithVideo, "a b": video.WithVideo} {
			_, _, err = w.Start(w.visitor, w.conversation, bad, media)
			wantCode(t, err, "client_id_invalid")
		}
		_, _, err = w.Start(w.visitor, w.conversation, db.NewID(), "smoke")
		wantCode(t, err, "media_unknown")
	})
}

// What is not one's own does not exist.
func TestTenancy(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		p := w.in(w.visitor, c.ID)
		stranger, _ := w.writer()
		elsewhere := w.member(w.organisation("Neighbour"), "nora", actor.Owner)
		w.read(stranger, elsewhere)
		for name, who := range map[string]context.Context{"another visitor": stranger, "another organisation": elsewhere} {
			for op, do := range map[string]func(context.Context, string) (video.Session, error){
				"get": w.Get, "accept": w.Accept, "decline": w.Decline, "end": w.End, "leave": w.Leave} {
				if _, err := do(who, c.ID); !fault.Is(err, fault.NotFound) || fault.Of(err).Code != "call_unknown" {
					t.Errorf("%s may %s: %v", name, op, err)
				}
			}
			if _, err := w.Join(who, c.ID); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s may join: %v", name, err)
			}
			if _, _, err := w.Start(who, w.conversation, db.NewID(), video.WithVideo); !fault.Is(err, fault.NotFound) || fault.Of(err).Code != "conversation_unknown" {
				t.Errorf("%s may start: %v", name, err)
			}
			if _, err := w.History(who, w.conversation); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s may read the history: %v", name, err)
			}
		}
		_, err := w.ForceEnd(elsewhere, c.ID)
		wantCode(t, err, "call_unknown")
		wantCode(t, w.Remove(elsewhere, c.ID, p.Identity), "call_unknown")
		if list := must[[]video.Session](t)(w.Running(elsewhere)); len(list) != 0 {
			t.Errorf("another organisation sees %+v", list)
		}
		_, err = w.Running(w.visitor)
		wantCode(t, err, "members_only")
		_, err = w.Get(context.Background(), c.ID)
		wantCode(t, err, "signed_out")
		if w.now(c.ID).State != video.Live {
			t.Error("somebody else ended the call")
		}
	})
}

func TestManagers(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.live()
		_, theirs := w.in(w.visitor, c.ID), w.in(w.agent, c.ID)
		_, err := w.ForceEnd(w.agent, c.ID)
		wantCode(t, err, "role_needed")
		wantCode(t, w.Remove(w.second, c.ID, theirs.Identity), "role_needed")
		_, err = w.End(w.second, c.ID)
		wantCode(t, err, "call_not_yours")
		wantCode(t, w.Remove(w.owner, c.ID, "nobody"), "participant_unknown")
		for range 2 {
			if err := w.Remove(w.owner, c.ID, theirs.Identity); err != nil {
				t.Error(err)
			}
		}
		w.until(func() bool { return w.engine.howRemoved(theirs.Identity) == video.Removed }, "the participant stays in the room")
		_, err = w.Join(w.agent, c.ID)
		wantCode(t, err, "call_removed")
		w.engine.enter(theirs) // with the old token, were the engine to let it
		if p := w.now(c.ID).Participants[1]; p.Departure != video.Removed || p.LeftAt.IsZero() {
			t.Errorf("the removed participant is back: %+v", p)
		}
		must[video.Session](t)(w.ForceEnd(w.owner, c.ID))
		must[video.Session](t)(w.ForceEnd(w.owner, c.ID))
		w.await(c.ID, video.Forced)
		got := w.audited()
		slices.Sort(got)
		if !slices.Equal(got, []string{"video.call.forced", "video.call.joined", "video.participant.removed"}) {
			t.Errorf("the audit log says %v", got)
		}
	})
}

func TestLimits(t *testing.T) {
	limits := video.Limits{Participants: 2, StartsPerMinute: 2, Open: 2, JoinsPerMinute: 3}
	each(t, video.Options{Limits: limits}, func(t *testing.T, w *world) {
		c := w.live()
		w.in(w.visitor, c.ID)
		w.in(w.agent, c.ID)
		w.read(w.second)
		_, err := w.Join(w.second, c.ID)
		wantCode(t, err, "call_full")
		w.in(w.agent, c.ID) // comes again: the seat is theirs
		w.in(w.agent, c.ID)
		_, err = w.Join(w.agent, c.ID)
		wantCode(t, err, "too_many_calls")
		must[video.Session](t)(w.End(w.visitor, c.ID))
		must[video.Session](t)(w.End(w.visitor, w.ring(w.visitor).ID))
		_, _, err = w.Start(w.visitor, w.conversation, db.NewID(), video.WithVideo)
		wantCode(t, err, "too_many_calls")
		if f := fault.Of(err); f.Kind != fault.RateLimited || f.RetryAfter < time.Second {
			t.Errorf("the refusal is %+v", f)
		}
		for i := range 3 {
			who, talk := w.writer()
			_, _, err = w.Start(who, talk, db.NewID(), video.WithVideo)
			if i < 2 && err != nil {
				t.Fatal(err)
			}
		}
		wantCode(t, err, "too_many_open_calls")
	})
}

func TestSwitchedOff(t *testing.T) {
	each(t, video.Options{}, func(t *testing.T, w *world) {
		c := w.ring(w.visitor)
		off := video.New(video.Options{DB: w.db, Bus: must[*busOf](t)(newBus(w.db)), Account: w.account, Conversations: talks{w.chat}, Notices: w.privacy})
		_, _, err := off.Start(w.visitor, w.conversation, db.NewID(), video.WithVideo)
		wantCode(t, err, "calls_off")
		_, err = off.Accept(w.agent, c.ID)
		wantCode(t, err, "calls_off")
		_, err = off.Join(w.visitor, c.ID)
		wantCode(t, err, "calls_off")
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("the refusal is %v", err)
		}
		if list := must[[]video.Session](t)(off.Running(w.owner)); len(list) != 1 {
			t.Errorf("what was is not listed any more: %+v", list)
		}
	})
}
