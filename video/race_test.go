package video_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/video"
)

// together runs all of them at the same moment.
func together(fns ...func()) {
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for _, fn := range fns {
		wg.Go(func() { <-gate; fn() })
	}
	close(gate)
	wg.Wait()
}

// Many agents answer at the same moment: exactly one does.
func TestFirstAgentWins(t *testing.T) {
	each(t, video.Options{Limits: video.Limits{StartsPerMinute: 1000}}, func(t *testing.T, w *world) {
		agents := []context.Context{w.owner, w.agent, w.second}
		for _, name := range []string{"fourth", "fifth", "sixth"} {
			agents = append(agents, w.member(w.org, name, actor.Agent))
		}
		for range 20 {
			c := w.ring(w.visitor)
			var won, lost atomic.Int32
			var fns []func()
			for _, a := range agents {
				fns = append(fns, func() {
					got, err := w.Accept(a, c.ID)
					switch {
					case err == nil && got.Answerer == actor.From(a).ID:
						won.Add(1)
					case err != nil && fault.Of(err).Code == "call_taken":
						lost.Add(1)
					default:
						t.Errorf("accept: %+v, %v", got, err)
					}
				})
			}
			together(fns...)
			if won.Load() != 1 || int(lost.Load()) != len(agents)-1 {
				t.Fatalf("%d agents answered, %d came too late", won.Load(), lost.Load())
			}
			must[video.Session](t)(w.End(w.visitor, c.ID))
		}
		live := 0
		for _, what := range w.hub.on("conv:" + w.conversation) {
			if what == "live" {
				live++
			}
		}
		if live != 20 {
			t.Errorf("20 calls were announced as live %d times", live)
		}
	})
}

// Both sides call at the same moment: there is one call.
func TestBothCall(t *testing.T) {
	each(t, video.Options{Limits: video.Limits{StartsPerMinute: 1000}}, func(t *testing.T, w *world) {
		for range 20 {
			var mu sync.Mutex
			started, named := []string{}, []string{}
			var fns []func()
			for _, who := range []context.Context{w.visitor, w.agent, w.second, w.visitor} {
				fns = append(fns, func() {
					c, _, err := w.Start(who, w.conversation, db.NewID(), video.WithVideo)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						started = append(started, c.ID)
					case fault.Of(err).Code == "call_busy":
						named = append(named, fault.Of(err).Object)
					default:
						t.Errorf("start: %v", err)
					}
				})
			}
			together(fns...)
			if len(started) != 1 || len(named) != 3 || slices.ContainsFunc(named, func(id string) bool { return id != started[0] }) {
				t.Fatalf("started %v, the others were told of %v", started, named)
			}
			must[video.Session](t)(w.ForceEnd(w.owner, started[0]))
		}
	})
}

// The same client asks twice at the same moment: it is one call.
func TestAskedTwiceAtOnce(t *testing.T) {
	each(t, video.Options{Limits: video.Limits{StartsPerMinute: 1000}}, func(t *testing.T, w *world) {
		for range 20 {
			id := db.NewID()
			var got [2]video.Session
			var fresh [2]bool
			fns := []func(){}
			for i := range got {
				fns = append(fns, func() {
					var err error
					if got[i], fresh[i], err = w.Start(w.visitor, w.conversation, id, video.WithVideo); err != nil {
						t.Errorf("start: %v", err)
					}
				})
			}
			together(fns...)
			if got[0].ID != got[1].ID || fresh[0] == fresh[1] {
				t.Fatalf("asked twice at once: %s %v, %s %v", got[0].ID, fresh[0], got[1].ID, fresh[1])
			}
			must[video.Session](t)(w.End(w.visitor, got[0].ID))
		}
	})
}

// The visitor gives up, an agent answers, another declines, and time runs out, all at once: there is exactly one outcome, and
// everybody is told the same.
func TestOneOutcome(t *testing.T) {
	const ring = 60 * time.Millisecond
	each(t, video.Options{Limits: video.Limits{StartsPerMinute: 1000}, Timing: video.Timing{Ring: ring}}, func(t *testing.T, w *world) {
		outcomes := map[string]int{}
		for round := range 40 {
			from := len(w.hub.on("conv:" + w.conversation))
			c := w.ring(w.visitor)
			wait := ring - 8*time.Millisecond + time.Duration(round%16)*time.Millisecond
			var accepted, declined atomic.Bool
			fns := []func(){
				func() {
					time.Sleep(wait)
					got, err := w.Accept(w.agent, c.ID)
					accepted.Store(err == nil && got.State == video.Live)
					if err != nil && fault.Of(err).Code != "call_ended" {
						t.Errorf("accept: %v", err)
					}
				},
				func() {
					time.Sleep(wait)
					got, err := w.Decline(w.second, c.ID)
					declined.Store(err == nil && got.EndReason == video.Declined)
					if err != nil && fault.Of(err).Code != "call_taken" {
						t.Errorf("decline: %v", err)
					}
				},
				func() {
					time.Sleep(wait)
					if _, err := w.End(w.visitor, c.ID); err != nil {
						t.Errorf("cancel: %v", err)
					}
				}}
			together(append(fns[round%3:], fns[:round%3]...)...) // each may be the first to run
			w.until(func() bool { return w.now(c.ID).State == video.Ended }, "the call goes on")
			c = w.now(c.ID)
			told := w.hub.on("conv:" + w.conversation)[from:]
			want := []string{"ringing", "ended:" + string(c.EndReason)}
			if accepted.Load() {
				want = []string{"ringing", "live", "ended:hung_up"}
			}
			if !slices.Equal(told, want) || accepted.Load() == c.AnsweredAt.IsZero() || declined.Load() != (c.EndReason == video.Declined) {
				t.Fatalf("accepted %v, declined %v, it ended %s; told %v", accepted.Load(), declined.Load(), c.EndReason, told)
			}
			outcomes[strings.Join(told[1:], " ")]++
		}
		t.Logf("outcomes: %v", outcomes)
	})
}

// Somebody joins from two pages at the same moment: one of the two entries holds.
func TestJoinsAtOnce(t *testing.T) {
	each(t, video.Options{Limits: video.Limits{JoinsPerMinute: 1000}}, func(t *testing.T, w *world) {
		c := w.live()
		w.read(w.visitor, w.agent)
		for range 10 {
			var passes [3]video.Pass
			fns := []func(){}
			for i, who := range []context.Context{w.visitor, w.visitor, w.agent} {
				fns = append(fns, func() {
					var err error
					if passes[i], err = w.Join(who, c.ID); err != nil {
						t.Errorf("join: %v", err)
					}
				})
			}
			together(fns...)
			here := 0
			for _, p := range w.now(c.ID).Participants {
				if p.LeftAt.IsZero() {
					here++
				}
			}
			if here != 2 {
				t.Fatalf("%d participants are in the call, of two people", here)
			}
		}
	})
}
