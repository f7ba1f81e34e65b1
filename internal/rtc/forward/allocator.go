package forward

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// How the allocator hesitates. Less is taken at once; more is given only after the estimate has borne it for a while.
const (
	// RaiseDelay is how long there must be room for more before it is given.
	RaiseDelay = 3 * time.Second
	// RaiseStep is the time between two raises after that.
	RaiseStep = time.Second
	// MaxRaiseDelay is the longest delay, for a downlink that has failed again and again after a raise. Every raise that
	// has to be taken back within RaiseRegret doubles the delay; one that lasts longer resets it.
	MaxRaiseDelay = time.Minute
	// RaiseRegret is how long a raise is on trial.
	RaiseRegret = 10 * time.Second
	// headroom is the share of the estimate, in percent, that raises leave unused.
	headroom = 10
)

// defaultBitrate is assumed of a layer of which nothing is known, in bits/s.
func defaultBitrate(layer, count int) int {
	switch count - layer {
	case 1:
		return 1_700_000
	case 2:
		return 500_000
	default:
		return 150_000
	}
}

// Class orders what a downlink is given to.
type Class uint8

// The classes, the most important first.
const (
	Voice Class = iota
	Screen
	Camera
)

// Demand is what one track would take of a downlink.
type Demand struct {
	Class  Class
	Wanted int            // the highest layer the subscriber wants; None wants nothing
	Costs  [MaxLayers]int // bits/s of each layer
}

// Share divides budget bits/s among the demands and writes the layer of each into grants, None for what is not wanted. Voices and
// the lowest layer of every picture are given whatever the budget says: where an estimate is so low it is doubtful, and people can
// switch pictures off themselves. What is left raises screens as far as it goes, then cameras, large views before small ones, one
// layer at a time.
func Share(budget int, demands []Demand, grants []int) {
	order := make([]int, 0, len(demands))
	for i, d := range demands {
		grants[i] = None
		if d.Wanted == None {
			continue
		}
		grants[i] = 0
		budget -= d.Costs[0]
		if d.Class != Voice {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(demands[a].Class, demands[b].Class), -cmp.Compare(demands[a].Wanted, demands[b].Wanted))
	})
	raise := func(i int) bool {
		next := grants[i] + 1
		if next > demands[i].Wanted {
			return false
		}
		more := demands[i].Costs[next] - demands[i].Costs[grants[i]]
		if more > budget {
			return false
		}
		budget -= more
		grants[i] = next
		return true
	}
	for _, class := range []Class{Screen, Camera} {
		for again := true; again; {
			again = false
			for _, i := range order {
				if demands[i].Class == class && raise(i) {
					again = true
				}
			}
		}
	}
}

// Allocator divides one subscriber's downlink among its forwarders.
type Allocator struct {
	mu     sync.Mutex
	tracks []*allotment

	roomSince time.Time // since when the estimate bears more than is given; zero: it does not
	raised    time.Time // the last raise,
	trial     bool      // which must still prove itself
	delay     time.Duration
}

// allotment is what one forwarder was given.
type allotment struct {
	f       *Forwarder
	granted int
	wanted  int
	fresh   bool // new, or the subscriber wants more since: it need not wait for its first share
}

// NewAllocator returns an allocator without tracks.
func NewAllocator() *Allocator { return &Allocator{delay: RaiseDelay} }

// Add puts a forwarder under the allocator. Until the next Allocate it has its lowest layer.
func (a *Allocator) Add(f *Forwarder, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tracks = append(a.tracks, &allotment{f: f, wanted: None, fresh: true})
	f.Allow(0, now)
}

// Remove takes a forwarder away, before or after its Close.
func (a *Allocator) Remove(f *Forwarder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tracks = slices.DeleteFunc(a.tracks, func(t *allotment) bool { return t.f == f })
}

// Allocate divides an estimate of bits/s, applies the result to the forwarders, and reports whether everybody has what they want. An
// estimate of 0 or less means that none is known: then they do. Call it about every 250 ms and after every change of a
// subscription.
func (a *Allocator) Allocate(estimate int, now time.Time) (all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	demands := make([]Demand, len(a.tracks))
	ideal, before := make([]int, len(a.tracks)), make([]int, len(a.tracks))
	fresh := false
	for i, t := range a.tracks {
		demands[i] = t.demand(now)
		before[i] = t.granted
		t.granted = min(t.granted, demands[i].Wanted)
		t.fresh = t.fresh || demands[i].Wanted > t.wanted
		t.wanted = demands[i].Wanted
		fresh = fresh || t.fresh
	}
	switch {
	case estimate <= 0:
		for i, t := range a.tracks {
			t.granted = demands[i].Wanted
		}
	case a.used(demands) > estimate:
		Share(estimate, demands, ideal)
		a.settle(ideal)
		a.regret(now)
	case fresh:
		Share(usable(estimate), demands, ideal)
		a.settle(ideal)
	default:
		Share(usable(estimate), demands, ideal)
		a.raise(usable(estimate), demands, ideal, now)
	}
	all = true
	for i, t := range a.tracks {
		if t.granted != before[i] {
			t.f.Allow(t.granted, now)
		}
		t.fresh = false
		all = all && t.granted == t.wanted
	}
	return all
}

// usable is what of an estimate raises may use.
func usable(estimate int) int { return estimate / 100 * (100 - headroom) }

// demand returns what the track would take now.
func (t *allotment) demand(now time.Time) Demand {
	src := t.f.src
	d := Demand{Class: Camera, Wanted: t.f.Wanted()}
	switch {
	case !src.codec.Video():
		d.Class = Voice
	case src.screen:
		d.Class = Screen
	}
	if src.Muted() {
		return d // it keeps its grant and costs nothing
	}
	live := src.Live()
	for i := range src.count {
		if live.Has(i) {
			d.Costs[i] = src.Bitrate(i, now)
		}
		if d.Costs[i] == 0 && src.codec.Video() {
			d.Costs[i] = cmp.Or(src.sizes[i].Bitrate, defaultBitrate(i, src.count))
		}
		if i > 0 { // what is measured of a still picture may say otherwise
			d.Costs[i] = max(d.Costs[i], d.Costs[i-1])
		}
	}
	return d
}

func (a *Allocator) used(demands []Demand) (sum int) {
	for i, t := range a.tracks {
		if t.granted != None {
			sum += demands[i].Costs[t.granted]
		}
	}
	return sum
}

// settle takes from everybody what the ideal does not give them, and gives new wishes all that it does.
func (a *Allocator) settle(ideal []int) {
	for i, t := range a.tracks {
		if t.fresh || ideal[i] < t.granted {
			t.granted = ideal[i]
		}
	}
}

// regret makes the next raise wait: longer, when the last one was too much.
func (a *Allocator) regret(now time.Time) {
	a.roomSince = time.Time{}
	if a.trial && now.Sub(a.raised) < RaiseRegret {
		a.delay = min(2*a.delay, MaxRaiseDelay)
	}
	a.trial = false
}

// raise gives one track its next layer, when there has been room for long enough.
func (a *Allocator) raise(budget int, demands []Demand, ideal []int, now time.Time) {
	if a.trial && now.Sub(a.raised) >= RaiseRegret {
		a.trial, a.delay = false, RaiseDelay
	}
	next := a.next(budget, demands, ideal)
	switch {
	case next < 0:
		a.roomSince = time.Time{}
		return
	case a.roomSince.IsZero():
		a.roomSince = now
		return
	case now.Sub(a.roomSince) < a.delay || now.Sub(a.raised) < RaiseStep:
		return
	}
	if demands[next].Class == Screen { // cameras make room
		for i, t := range a.tracks {
			if demands[i].Class == Camera {
				t.granted = min(t.granted, ideal[i])
			}
		}
	}
	a.tracks[next].granted++
	a.raised, a.trial = now, true
}

// next returns the track to raise, or -1. Nobody is lowered for another of their class.
func (a *Allocator) next(budget int, demands []Demand, ideal []int) int {
	best := -1
	used := a.used(demands)
	for i, t := range a.tracks {
		if ideal[i] <= t.granted {
			continue
		}
		d := demands[i]
		if d.Class != Screen && used+t.more(d) > budget {
			continue
		}
		if best < 0 || cmp.Or(cmp.Compare(d.Class, demands[best].Class), -cmp.Compare(d.Wanted, demands[best].Wanted)) < 0 {
			best = i
		}
	}
	return best
}

// more returns what the next layer takes beyond the present one.
func (t *allotment) more(d Demand) int { return d.Costs[t.granted+1] - d.Costs[t.granted] }
