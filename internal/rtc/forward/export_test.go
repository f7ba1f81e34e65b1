package forward

// VideoEntries is how many packets the cache of a layer of video holds at most.
const VideoEntries = videoEntries

// State is a look at a forwarder.
type State struct {
	Target, Current int    // layers, None for nothing
	Packets         uint64 // sent, first times only
}

// State returns how the forwarder stands.
func (f *Forwarder) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{Target: f.target, Current: f.current, Packets: f.packets}
}
