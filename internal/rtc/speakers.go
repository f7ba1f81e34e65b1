package rtc

import (
	"math"
	"sync/atomic"
	"time"

	"parley/internal/rtc/signal"
)

// How speech is told from noise, by the level that a client puts beside each packet of sound: 0 is as loud as can be, 127 is
// silence, in decibels below full scale.
const (
	speechLevel  = 40 // at least so loud
	frame        = 20 * time.Millisecond
	speechShare  = 0.3  // for so much of the time
	smoothing    = 0.5  // share of the past in a level
	levelStep    = 0.04 // changes of a level below this are not worth a message
	quietRounds  = 3    // rounds of listening after which who was heard counts as silent
	levelFloor   = 1e-3
	levelSilence = 127
)

// voice counts the loud packets of one track since it was last listened to.
type voice struct {
	frames atomic.Int64
	sum    atomic.Int64 // of their levels
}

// hear takes the extension of one packet.
func (v *voice) hear(extension []byte) {
	if len(extension) == 0 {
		return
	}
	if level := int64(extension[0] & levelSilence); level <= speechLevel {
		v.frames.Add(1)
		v.sum.Add(level)
	}
}

// take returns how loud the track was, from 0 to 1, and begins anew.
func (v *voice) take(over time.Duration) float64 {
	frames, sum := v.frames.Swap(0), v.sum.Swap(0)
	if float64(frames)*float64(frame) < float64(over)*speechShare {
		return 0
	}
	return math.Pow(10, -float64(sum)/float64(frames)/20)
}

// speakers is what participants were told of who is heard. The room's lock guards it.
type speakers struct {
	heard  map[string]*speaker // by participation
	repeat bool                // somebody has resumed and may have missed something
}

type speaker struct {
	level  float64
	told   float64
	active bool
	quiet  int // rounds without speech
}

func newSpeakers() speakers { return speakers{heard: map[string]*speaker{}} }

func (s *speakers) forget(sid string) { delete(s.heard, sid) }

// listen finds out who is heard and tells everybody what has changed.
func (rm *room) listen(all []*participant) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	var changes []*signal.SpeakerInfo
	for _, p := range all {
		if rm.participants[p.Identity] != p {
			continue
		}
		var now float64
		for _, t := range p.liveTracks() {
			if t.level != 0 && !t.source.Muted() {
				now = max(now, t.voice.take(speakersEvery))
			}
		}
		if c := rm.speakers.update(p.sid, now); c != nil {
			changes = append(changes, c)
		}
	}
	rm.speakers.repeat = false
	if len(changes) == 0 {
		return
	}
	b := encode(&signal.SignalResponse{Message: &signal.SignalResponse_SpeakersChanged{
		SpeakersChanged: &signal.SpeakersChanged{Speakers: changes}}})
	for _, p := range rm.participants {
		p.sendRaw(b)
	}
}

// update takes how loud a participant was in the last round, and returns what there is to tell of it.
func (s *speakers) update(sid string, now float64) *signal.SpeakerInfo {
	k := s.heard[sid]
	if k == nil {
		if now == 0 {
			return nil
		}
		k = &speaker{}
		s.heard[sid] = k
	}
	k.level = k.level*smoothing + now*(1-smoothing)
	if now > 0 {
		k.quiet = 0
	} else {
		k.quiet++
	}
	active := k.quiet < quietRounds
	if !active || k.level < levelFloor {
		k.level = 0
	}
	if active == k.active && math.Abs(k.level-k.told) < levelStep && (!s.repeat || !active) {
		if !active {
			delete(s.heard, sid)
		}
		return nil
	}
	k.active, k.told = active, k.level
	return &signal.SpeakerInfo{Sid: sid, Level: float32(k.level), Active: active}
}
