package forward_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"parley/internal/rtc/forward"
)

// sent is a packet as a publisher made it. Its last bytes name it, so that it is known again behind the forwarder.
type sent struct {
	layer  int
	header rtp.Header
	data   []byte
	frame  uint64 // counts the frames of all layers together; 0 is padding or garbage
	first  bool   // first packet of its frame
	key    bool
	pic    int
	tl0    uint8
	idx    uint8
	tid    int
}

// encoder makes the stream of one VP8 layer.
type encoder struct {
	layer  int
	ssrc   uint32
	seq    uint16
	base   uint32 // timestamp at time zero
	pic    int
	tl0    uint8
	idx    uint8
	count  int
	narrow bool // picture ids of 7 bits
	key    bool // the next frame is a key frame
}

// publisher makes all layers of a track, 30 frames a second, in a random and repeatable way.
type publisher struct {
	rnd    *rand.Rand
	layers []*encoder
	now    time.Duration
	frame  uint64
}

const frameTime = 33 * time.Millisecond

func newPublisher(seed uint64, layers int) *publisher {
	p := &publisher{rnd: rand.New(rand.NewPCG(seed, 1))}
	for i := range layers {
		p.layers = append(p.layers, &encoder{layer: i})
		p.restart(i)
	}
	return p
}

// restart begins a layer anew, with numbers that wrap around soon.
func (p *publisher) restart(i int) {
	e := p.layers[i]
	*e = encoder{layer: i, ssrc: p.rnd.Uint32(), seq: uint16(65536 - p.rnd.IntN(400)), base: -uint32(p.rnd.IntN(300000)),
		pic: 32768 - p.rnd.IntN(60), tl0: uint8(p.rnd.Uint32()), idx: uint8(p.rnd.IntN(32)), key: true, narrow: i == 1}
	if e.narrow {
		e.pic %= 128
	}
}

// next advances by a frame and returns the packets of all layers.
func (p *publisher) next() (packets []sent) {
	p.now += frameTime
	for _, e := range p.layers {
		p.frame++
		packets = append(packets, e.frame(p, 1+p.rnd.IntN(3))...)
	}
	return packets
}

func (e *encoder) timestamp(now time.Duration) uint32 {
	return e.base + uint32(now*90000/time.Second)
}

func (e *encoder) header(now time.Duration) rtp.Header {
	h := rtp.Header{Version: 2, PayloadType: 96, SSRC: e.ssrc, SequenceNumber: e.seq, Timestamp: e.timestamp(now)}
	e.seq++
	return h
}

func (e *encoder) frame(p *publisher, packets int) (out []sent) {
	tid := []int{0, 2, 1, 2}[e.count%4]
	if e.key {
		tid, e.count = 0, 0
		e.idx = (e.idx + 1) % 32
	}
	if tid == 0 {
		e.tl0++
	}
	for i := range packets {
		s := sent{layer: e.layer, header: e.header(p.now), frame: p.frame, first: i == 0, key: e.key, pic: e.pic, tl0: e.tl0, idx: e.idx, tid: tid}
		s.header.Marker = i == packets-1
		s.data = e.payload(&s)
		out = append(out, s)
	}
	e.key = false
	e.count++
	e.pic = (e.pic + 1) % 32768
	if e.narrow {
		e.pic %= 128
	}
	return out
}

// payload builds descriptor, frame header and name.
func (e *encoder) payload(s *sent) []byte {
	b := []byte{0x80, 0xf0}
	if s.first {
		b[0] |= 0x10
	}
	if e.narrow {
		b = append(b, byte(s.pic))
	} else {
		b = append(b, 0x80|byte(s.pic>>8), byte(s.pic))
	}
	b = append(b, s.tl0, byte(s.tid)<<6|s.idx)
	if s.key && s.first {
		b = append(b, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0)
	} else {
		b = append(b, 0x11, 0, 0)
	}
	b = append(b, make([]byte, 40*(s.layer+1))...)
	return binary.BigEndian.AppendUint64(b, s.name())
}

func (s *sent) name() uint64 {
	return s.frame<<24 | uint64(s.layer)<<16 | uint64(s.header.SequenceNumber)
}

// padding makes a packet without payload that uses a number.
func (p *publisher) padding(i int) sent {
	return sent{layer: i, header: p.layers[i].header(p.now)}
}

// garbage makes a packet whose payload nobody understands.
func (p *publisher) garbage(i int) sent {
	return sent{layer: i, header: p.layers[i].header(p.now), data: []byte{0xff, 0xff}}
}

// report is a sender report of a layer. The publisher's clock is hours off.
func (p *publisher) report(i int) *rtcp.SenderReport {
	wrong := 5*time.Hour + p.now
	ntp := uint64(wrong/time.Second)<<32 | uint64(wrong%time.Second)<<32/uint64(time.Second)
	return &rtcp.SenderReport{SSRC: p.layers[i].ssrc, NTPTime: ntp | 3900000000<<32, RTPTime: p.layers[i].timestamp(p.now)}
}

// got is a packet as the subscriber got it.
type got struct {
	header rtp.Header
	data   []byte
	from   *sent // nil for a packet without payload
	at     time.Duration
}

// subscriber takes what a forwarder makes and finds the packet of the publisher in it.
type subscriber struct {
	t       testing.TB
	f       *forward.Forwarder
	packets []got
	known   map[uint64]*sent
	newest  uint16
	seen    map[uint16]int // number → how many packets there were before it
	out     forward.Out
}

func (s *subscriber) take(at time.Duration) {
	g := got{header: s.out.Header, data: append([]byte(nil), s.out.Payload...), at: at}
	g.header.Extensions = nil
	if len(g.data) > 0 {
		g.from = s.known[binary.BigEndian.Uint64(g.data[len(g.data)-8:])]
		if g.from == nil {
			s.t.Fatalf("a packet that nobody sent: % x", g.data)
		}
	}
	if len(s.packets) == 0 || int16(g.header.SequenceNumber-s.newest) > 0 {
		s.newest = g.header.SequenceNumber
	}
	s.seen[g.header.SequenceNumber] = len(s.packets)
	s.packets = append(s.packets, g)
}

// askAgain asks for every number that is missing among the last ones, as a browser does (NACK).
func (s *subscriber) askAgain(tr *track) {
	if len(s.packets) == 0 {
		return
	}
	for n := s.newest - 200; n != s.newest; n++ {
		if at, ok := s.seen[n]; ok && len(s.packets)-at < 5000 {
			continue
		}
		if s.f.Retransmit(n, tr.time(), &s.out) {
			s.take(tr.pub.now)
		}
	}
}

// vp8 reads the counters of an outgoing payload, which always has a picture id of 15 bits.
func (g *got) vp8(t testing.TB) (pic int, tl0, idx uint8, rest []byte) {
	t.Helper()
	if len(g.data) < 7 || g.data[0]&0x80 == 0 || g.data[1] != 0xf0 || g.data[2]&0x80 == 0 {
		t.Fatalf("not the descriptor that was sent: % x", g.data[:min(8, len(g.data))])
	}
	return int(binary.BigEndian.Uint16(g.data[2:]) & 0x7fff), g.data[4], g.data[5] & 0x1f, g.data[6:]
}

// track is a publisher, its source and one subscriber.
type track struct {
	t      testing.TB
	pub    *publisher
	src    *forward.Source
	sub    *subscriber
	start  time.Time
	packet forward.Packet
	asked  []int // layers of which key frames were asked for
}

func newTrack(t testing.TB, seed uint64, layers int, wanted int) *track {
	t.Helper()
	tr := &track{t: t, pub: newPublisher(seed, layers), start: time.Now()}
	src, err := forward.NewSource(forward.SourceConfig{Codec: forward.VP8, Layers: make([]forward.LayerConfig, layers),
		RequestKeyFrame: func(l int) {
			tr.asked = append(tr.asked, l)
			for _, e := range tr.pub.layers { // browsers answer with a key frame on every layer
				e.key = true
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	tr.src = src
	tr.sub = &subscriber{t: t, f: forward.NewForwarder(src, wanted), known: map[uint64]*sent{}, seen: map[uint16]int{}}
	tr.sub.f.Bind(4711, 120, tr.time())
	return tr
}

func (tr *track) time() time.Time { return tr.start.Add(tr.pub.now) }

// deliver brings a packet to the source and on to the subscriber. It returns what the source says.
func (tr *track) deliver(p sent) bool {
	if p.frame != 0 {
		tr.sub.known[p.name()] = &p
	}
	h := p.header
	ok := tr.src.Receive(p.layer, &h, p.data, tr.time(), &tr.packet)
	if ok && tr.sub.f.Forward(&tr.packet, &tr.sub.out) {
		tr.sub.take(tr.pub.now)
	}
	return ok
}

// play delivers frames as they are.
func (tr *track) play(frames int) {
	for range frames {
		for _, p := range tr.pub.next() {
			tr.deliver(p)
		}
		tr.src.Tick(tr.time())
	}
}
