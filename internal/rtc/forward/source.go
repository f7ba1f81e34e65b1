package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"parley/internal/fault"
)

// Limits of what a source takes from its publisher.
const (
	// KeyFrameInterval is the least time between two requests for a key frame of one layer.
	KeyFrameInterval = 500 * time.Millisecond
	// LayerTimeout is how much longer than the others a layer must be silent to count as stopped. A layer that is alone,
	// or silent with all others, has not stopped: its publisher is mute, or nothing moves on a shared screen.
	LayerTimeout = 700 * time.Millisecond

	window     = 1024 // how late a packet may come, in sequence numbers
	maxJump    = 3000 // a larger step forward is a restart, when a second packet confirms it
	meterSlots = 8    // the bitrate is that of the last two seconds
	meterSlot  = 250 * time.Millisecond
)

// Clock rates that are meant when none is given.
const (
	videoRate = 90000
	audioRate = 48000
)

// LayerConfig describes a layer as its publisher announced it. All zero means unknown.
type LayerConfig struct {
	Width, Height uint32
	Bitrate       int // bits/s, used while the layer's own bitrate is not known
}

// SourceConfig describes a published track.
type SourceConfig struct {
	Codec     Codec
	ClockRate uint32        // 0: 90000 for video, 48000 for audio
	Screen    bool          // a shared screen goes before cameras when the downlink is short
	Layers    []LayerConfig // the lowest first; none means one layer of unknown size
	Clock     *Clock        // the publisher's, shared by all its sources; nil: one of its own

	// RequestKeyFrame sends a picture loss indication for the layer to the publisher. It is called at most once per
	// KeyFrameInterval and layer, by whatever goroutine calls a method of this package, with no lock of this package held.
	// It must not block. Audio never needs it.
	RequestKeyFrame func(layer int)
}

// Source is one published track.
type Source struct {
	codec   Codec
	rate    uint32
	screen  bool
	count   int
	sizes   [MaxLayers]LayerConfig
	clock   *Clock
	request func(layer int)
	epoch   time.Time

	live   atomic.Uint32 // Layers that carry packets
	muted  atomic.Bool
	layers [MaxLayers]layer

	mu         sync.Mutex // held before a forwarder's lock, never after
	forwarders []*Forwarder
	dynacast   dynacast
}

// former is an SSRC that a layer had until a restart.
type former struct {
	ssrc uint32
	at   time.Duration
	ok   bool
}

// layer is the state of one layer's stream. Its goroutine writes it, others read it.
type layer struct {
	mu      sync.Mutex
	started bool
	ssrc    uint32
	gen     uint32
	formers [4]former // the last SSRCs; their late packets are no restart
	high    uint64    // the highest sequence number, unwrapped
	suspect uint16    // where the stream would go on if it has restarted
	doubt   bool
	seen    [window / 64]uint64
	pic     int64 // the last picture id, unwrapped
	picked  bool
	last    time.Duration
	meter   meter
	cache   cache
	report  report

	asked  atomic.Int64 // when a key frame was last asked for, since the epoch; 0 is never
	wanted atomic.Bool  // a key frame is wanted that was not asked for yet
}

// NewSource returns a source that has received nothing yet.
func NewSource(cfg SourceConfig) (*Source, error) {
	const op = "forward.NewSource"
	if cfg.Codec < Audio || cfg.Codec > VP9 {
		return nil, fault.New(fault.Invalid, op, "codec_unknown", "this codec cannot be forwarded")
	}
	if len(cfg.Layers) > MaxLayers {
		return nil, fault.New(fault.Invalid, op, "too_many_layers", "a track has at most three simulcast layers")
	}
	s := &Source{codec: cfg.Codec, rate: cfg.ClockRate, screen: cfg.Screen, count: max(1, len(cfg.Layers)),
		clock: cfg.Clock, request: cfg.RequestKeyFrame, epoch: time.Now()}
	copy(s.sizes[:], cfg.Layers)
	if s.rate == 0 {
		s.rate = audioRate
		if s.codec.Video() {
			s.rate = videoRate
		}
	}
	if s.clock == nil {
		s.clock = NewClock()
	}
	if s.request == nil {
		s.request = func(int) {}
	}
	s.dynacast.announced = upTo(s.count - 1)
	return s, nil
}

// Codec returns the codec of the source.
func (s *Source) Codec() Codec { return s.codec }

// LayerCount returns how many layers the source was announced with.
func (s *Source) LayerCount() int { return s.count }

// Live returns the layers that carry packets now.
func (s *Source) Live() Layers { return Layers(s.live.Load()) }

// SetMuted tells that the publisher has muted the track: it takes nothing of anybody's downlink meanwhile.
func (s *Source) SetMuted(muted bool) { s.muted.Store(muted) }

// Muted reports what SetMuted said last.
func (s *Source) Muted() bool { return s.muted.Load() }

// LayerFor returns the lowest layer that fills a view of this size, or comes so near that nobody sees the difference.
// The short sides are compared: a phone may be turned. Unknown sizes ask for the highest layer.
func (s *Source) LayerFor(width, height uint32) int {
	need := uint64(min(width, height))
	for i := range s.count {
		has := uint64(min(s.sizes[i].Width, s.sizes[i].Height))
		if need == 0 || has == 0 {
			break
		}
		if has*11 >= need*10 {
			return i
		}
	}
	return s.count - 1
}

// LayerForQuality returns the layer for a quality from 0 (low) to 2 (high), or None for anything else, which is "off".
func (s *Source) LayerForQuality(quality int) int {
	if quality < 0 || quality >= MaxLayers {
		return None
	}
	return min(quality, s.count-1)
}

// since turns a time into one since the source's epoch.
func (s *Source) since(t time.Time) time.Duration { return t.Sub(s.epoch) }

// Receive takes a packet of a layer from the publisher and fills p with what forwarders need. It reports false for a
// packet that nobody shall get: a duplicate, one that comes far too late, or one of a layer that does not exist. The
// payload is used until the next call with the same p.
func (s *Source) Receive(index int, h *rtp.Header, payload []byte, at time.Time, p *Packet) bool {
	if index < 0 || index >= s.count {
		return false
	}
	l := &s.layers[index]
	p.layer, p.ts, p.marker, p.at = index, h.Timestamp, h.Marker, s.since(at)
	p.payload = payload
	// What cannot be understood is dropped like padding: its number is closed, or every subscriber would ask for it.
	p.empty = len(payload) == 0 || len(payload) > MaxPayload || !describe(s.codec, payload, &p.desc)
	if p.empty {
		p.desc = descriptor{}
	}
	l.mu.Lock()
	ok := l.accept(h, p)
	if ok && !p.empty {
		p.pic = l.picture(p)
		l.meter.add(p.at, len(payload)+12)
		l.last = p.at
	}
	if ok {
		l.cache.put(s.codec, p)
	}
	l.mu.Unlock()
	if !ok || p.empty {
		return ok
	}
	if s.live.Load()&(1<<index) == 0 {
		s.live.Or(1 << index)
		s.retarget(p.at, !p.desc.key)
	}
	if p.desc.key {
		l.wanted.Store(false)
	} else if l.wanted.Load() {
		s.askKeyFrame(index, p.at)
	}
	return true
}

// accept unwraps the sequence number, finds duplicates, and notices when the publisher began anew (RFC 3550, A.1).
func (l *layer) accept(h *rtp.Header, p *Packet) bool {
	step := int(int16(h.SequenceNumber - uint16(l.high)))
	switch {
	case !l.started || h.SSRC != l.ssrc:
		if l.straggles(h.SSRC, p.at) {
			return false
		}
		l.restart(h, p.at)
		step = 0
	case step > maxJump || step <= -window:
		if !l.doubt || h.SequenceNumber != l.suspect {
			l.doubt, l.suspect = true, h.SequenceNumber+1
			return false
		}
		l.restart(h, p.at)
		step = 0
	default:
		l.doubt = false
	}
	p.gen = l.gen
	if step > 0 {
		for i := 1; i < step && i < window; i++ { // forget who had these places one window ago
			l.mark(l.high+uint64(i), false)
		}
		l.high += uint64(step)
		p.seq = l.high
		l.mark(p.seq, true)
		return true
	}
	p.seq = l.high - uint64(-step)
	place := p.seq % window
	if l.seen[place/64]&(1<<(place%64)) != 0 {
		return false
	}
	l.mark(p.seq, true)
	return true
}

// straggles reports whether a packet with another SSRC is a late one from before a restart.
func (l *layer) straggles(ssrc uint32, at time.Duration) bool {
	for _, f := range l.formers {
		if f.ok && f.ssrc == ssrc && ssrc != l.ssrc && at-f.at < CacheWindow {
			return true
		}
	}
	return false
}

func (l *layer) mark(seq uint64, seen bool) {
	place := seq % window
	if seen {
		l.seen[place/64] |= 1 << (place % 64)
	} else {
		l.seen[place/64] &^= 1 << (place % 64)
	}
}

// restart begins a generation: nothing of the stream so far says anything about what follows.
func (l *layer) restart(h *rtp.Header, at time.Duration) {
	if l.started {
		l.gen++
		l.report = report{}
		l.formers[l.gen%uint32(len(l.formers))] = former{l.ssrc, at, true}
	}
	l.started, l.ssrc, l.doubt, l.picked = true, h.SSRC, false, false
	l.high = 1<<16 + uint64(h.SequenceNumber) // room for packets that were sent before this one and come later
	clear(l.seen[:])
}

// picture unwraps the picture id.
func (l *layer) picture(p *Packet) int64 {
	if p.desc.pic == 0 {
		return 0
	}
	id, bits := p.desc.picture(p.payload)
	if !l.picked {
		l.picked, l.pic = true, 1<<16+int64(id)
		return l.pic
	}
	span := int64(1) << bits
	step := (int64(id) - l.pic) & (span - 1)
	if step >= span/2 {
		step -= span
	}
	pic := l.pic + step
	l.pic = max(l.pic, pic)
	return pic
}

// meter counts bytes in slots of time.
type meter struct {
	slots [meterSlots]uint32
	slot  int64 // the slot that is being filled
	since int64 // the slot in which counting began
	begun bool
}

func (m *meter) add(at time.Duration, bytes int) {
	m.roll(int64(at / meterSlot))
	m.slots[m.slot%meterSlots] += uint32(bytes)
}

// roll empties the slots that have passed by.
func (m *meter) roll(now int64) {
	if !m.begun || now-m.slot >= meterSlots {
		*m = meter{slot: now, since: now, begun: true}
	}
	for m.slot < now {
		m.slot++
		m.slots[m.slot%meterSlots] = 0
	}
}

// bitrate returns the mean over the full slots; until there are some, over what there is.
func (m *meter) bitrate(at time.Duration) int {
	m.roll(int64(at / meterSlot))
	var sum uint64
	for i, n := range m.slots {
		if int64(i) != m.slot%meterSlots {
			sum += uint64(n)
		}
	}
	full := min(m.slot-m.since, meterSlots-1)
	if full < 2 { // half a second says too little
		return 0
	}
	return int(sum * 8 * uint64(time.Second/meterSlot) / uint64(full))
}

// Bitrate returns the measured bits/s of a layer, or 0 while that is not known.
func (s *Source) Bitrate(layer int, now time.Time) int {
	if layer < 0 || layer >= s.count {
		return 0
	}
	l := &s.layers[layer]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meter.bitrate(s.since(now))
}

// KeyFrame asks the publisher for a key frame of a layer: now, or as soon as KeyFrameInterval allows.
func (s *Source) KeyFrame(layer int, now time.Time) {
	if layer >= 0 && layer < s.count {
		s.askKeyFrame(layer, s.since(now))
	}
}

func (s *Source) askKeyFrame(layer int, at time.Duration) {
	if !s.codec.Video() {
		return
	}
	l := &s.layers[layer]
	last := l.asked.Load()
	if last != 0 && at-time.Duration(last) < KeyFrameInterval || !l.asked.CompareAndSwap(last, max(1, int64(at))) {
		l.wanted.Store(true)
		return
	}
	l.wanted.Store(false)
	s.request(layer)
}

// Tick does what time brings: it notices layers that have stopped, and asks again for key frames that did not come.
// Call it about every 100 ms.
func (s *Source) Tick(now time.Time) {
	at := s.since(now)
	live := s.Live()
	var last [MaxLayers]time.Duration
	for i := range s.count {
		l := &s.layers[i]
		l.mu.Lock()
		last[i] = l.last
		if at-l.last > 10*CacheWindow {
			l.cache = cache{} // of a track that is mute, nobody asks for anything
		}
		l.mu.Unlock()
		if l.wanted.Load() {
			s.askKeyFrame(i, at)
		}
	}
	newest := slices.Max(last[:s.count])
	changed := false
	for i := range s.count {
		if live.Has(i) && newest-last[i] > LayerTimeout {
			s.live.And(^uint32(1 << i))
			changed = true
		}
	}
	if changed {
		s.retarget(at, true)
	}
	for _, f := range s.subscribers() {
		f.tick(at)
	}
}

// retarget lets all forwarders choose again; ask is false when a key frame is there already.
func (s *Source) retarget(at time.Duration, ask bool) {
	for _, f := range s.subscribers() {
		f.choose(at, ask)
	}
}

// subscribers returns the forwarders; the slice is replaced, never changed.
func (s *Source) subscribers() []*Forwarder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forwarders
}

// pick returns the layer to send to who may have up to this one: the highest of those that carry packets, else the
// lowest above, else the one itself, which may begin any time.
func (s *Source) pick(upto int) int {
	live := s.Live()
	for i := upto; i >= 0; i-- {
		if live.Has(i) {
			return i
		}
	}
	for i := upto + 1; i < s.count; i++ {
		if live.Has(i) {
			return i
		}
	}
	return upto
}
