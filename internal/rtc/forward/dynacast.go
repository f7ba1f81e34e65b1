package forward

import "time"

// DynacastDelay is how long a layer must be of no use to anybody before its publisher is told to stop sending it:
// people turn pages and resize windows, and a layer that begins anew costs a key frame.
const DynacastDelay = 5 * time.Second

// dynacast remembers what the publisher was told.
type dynacast struct {
	announced Layers
	lower     Layers // what it could be told since
	since     time.Time
	waiting   bool
}

// Needed returns the layers that subscribers want, and whether that is news for the publisher, who is then told. More
// layers are news at once, fewer after DynacastDelay. All layers below a wanted one are needed too: a subscriber whose
// downlink narrows falls back to them. Call it after every change of a subscription, and on the timer of Tick.
func (s *Source) Needed(now time.Time) (layers Layers, changed bool) {
	for _, f := range s.subscribers() {
		if top := f.Wanted(); top != None {
			layers |= upTo(min(top, s.count-1))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.dynacast
	switch {
	case layers == d.announced:
		d.waiting = false
	case layers > d.announced: // sets from the lowest up: the larger number is the larger set
		d.announced, d.waiting, changed = layers, false, true
	case !d.waiting || layers > d.lower:
		d.lower, d.since, d.waiting = layers, now, true
	case now.Sub(d.since) >= DynacastDelay:
		d.announced, d.waiting, changed = d.lower, false, true
	}
	return d.announced, changed
}
