package forward_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// trouble is what happens to a stream on its way, in percent.
type trouble struct {
	loss, reorder, duplicate, padding, garbage int
	control                                    int // layers are changed, the track is paused and resumed
	restart                                    int // per mille
	reports                                    bool
}

// network delivers packets with trouble. It remembers per stream which numbers never arrived.
type network struct {
	tr   *track
	bad  trouble
	late []held
	lost map[string][]int // stream → unwrapped numbers
	nums map[string]*unwrapped
}

type held struct {
	p     sent
	num   int
	after int
	again bool // a duplicate
}

// unwrapped follows the sequence numbers of one stream.
type unwrapped struct {
	last int
	any  bool
}

func (u *unwrapped) next(n uint16) int {
	if !u.any {
		u.last, u.any = 1<<16+int(n), true
		return u.last
	}
	v := u.last + int(int16(n-uint16(u.last)))
	u.last = max(u.last, v)
	return v
}

func stream(p *sent) string { return fmt.Sprint(p.layer, "/", p.header.SSRC) }

// number unwraps the number of a packet as its publisher made it; publishers make them in order.
func (n *network) number(p *sent) int {
	u := n.nums[stream(p)]
	if u == nil {
		u = &unwrapped{}
		n.nums[stream(p)] = u
	}
	return u.next(p.header.SequenceNumber)
}

func (n *network) send(p sent) {
	rnd := n.tr.pub.rnd
	num := n.number(&p)
	roll := rnd.IntN(100)
	switch {
	case roll < n.bad.loss:
		n.lost[stream(&p)] = append(n.lost[stream(&p)], num)
	case roll < n.bad.loss+n.bad.reorder:
		n.late = append(n.late, held{p, num, 1 + rnd.IntN(12), false})
	default:
		n.tr.deliver(p)
		if rnd.IntN(100) < n.bad.duplicate {
			n.late = append(n.late, held{p, num, 1 + rnd.IntN(40), true})
		}
	}
	n.pass()
}

// pass delivers what was held up long enough.
func (n *network) pass() {
	var due []held
	n.late = slices.DeleteFunc(n.late, func(h held) bool { return h.after <= 0 })
	for i := range n.late {
		if n.late[i].after--; n.late[i].after == 0 {
			due = append(due, n.late[i])
		}
	}
	for _, h := range due {
		if !n.tr.deliver(h.p) && !h.again { // behind a restart
			n.lost[stream(&h.p)] = append(n.lost[stream(&h.p)], h.num)
		}
	}
}

func (n *network) run(frames int) {
	rnd := n.tr.pub.rnd
	for i := range frames {
		for l := range n.tr.pub.layers {
			for rnd.IntN(100) < n.bad.padding {
				n.send(n.tr.pub.padding(l))
			}
			if rnd.IntN(100) < n.bad.garbage {
				n.send(n.tr.pub.garbage(l))
			}
		}
		for _, p := range n.tr.pub.next() {
			n.send(p)
		}
		if rnd.IntN(100) < n.bad.control {
			n.control()
		}
		if rnd.IntN(1000) < n.bad.restart {
			n.tr.pub.restart(rnd.IntN(len(n.tr.pub.layers)))
		}
		if n.bad.reports && i%30 == 0 {
			for l := range n.tr.pub.layers {
				n.tr.src.SenderReport(l, n.tr.pub.report(l), n.tr.time())
			}
		}
		n.tr.src.Tick(n.tr.time())
		if i%5 == 0 {
			n.tr.sub.askAgain(n.tr)
		}
	}
	for len(n.late) > 0 {
		n.pass()
	}
	n.tr.sub.askAgain(n.tr)
}

func (n *network) control() {
	rnd, f, now := n.tr.pub.rnd, n.tr.sub.f, n.tr.time()
	switch rnd.IntN(4) {
	case 0:
		f.SetWanted(rnd.IntN(len(n.tr.pub.layers)), now)
	case 1:
		f.Allow(rnd.IntN(len(n.tr.pub.layers)+1)-1, now)
	case 2:
		f.SetEnabled(rnd.IntN(3) > 0, now)
	case 3:
		f.KeyFrame(now)
	}
}

// TestStreamsStayWhole: whatever happens to the publisher's packets and layers, the subscriber sees one stream.
func TestStreamsStayWhole(t *testing.T) {
	cases := map[string]trouble{
		"calm":         {},
		"switching":    {control: 5},
		"loss":         {loss: 8},
		"reordering":   {reorder: 20, duplicate: 10},
		"padding":      {padding: 40, reorder: 10},
		"garbage":      {garbage: 20},
		"restarts":     {restart: 10, control: 3},
		"everything":   {loss: 4, reorder: 8, duplicate: 5, padding: 20, garbage: 5, control: 4, restart: 5, reports: true},
		"with reports": {control: 5, reports: true},
	}
	for name, bad := range cases {
		for layers := 1; layers <= 3; layers++ {
			for seed := range uint64(4) {
				t.Run(fmt.Sprintf("%s/%d layers/seed %d", name, layers, seed), func(t *testing.T) {
					tr := newTrack(t, seed, layers, layers-1)
					n := &network{tr: tr, bad: bad, lost: map[string][]int{}, nums: map[string]*unwrapped{}}
					n.run(1500)
					n.check(t)
				})
			}
		}
	}
}

// check looks at all that the subscriber got, in the order of its numbers.
func (n *network) check(t *testing.T) {
	t.Helper()
	packets := n.tr.sub.packets
	if len(packets) < 50 {
		t.Fatalf("only %d packets were forwarded", len(packets))
	}
	u := &unwrapped{}
	type numbered struct {
		got
		n int
	}
	all := make([]numbered, len(packets))
	for i, g := range packets {
		if g.header.SSRC != 4711 || g.header.PayloadType != 120 {
			t.Fatalf("labelled SSRC %d, type %d", g.header.SSRC, g.header.PayloadType)
		}
		all[i] = numbered{g, u.next(g.header.SequenceNumber)}
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return a.n - b.n })
	var last *numbered // the last with a payload
	empty := 0         // packets without payload since
	for i := range all {
		g := &all[i]
		if i > 0 && g.n == all[i-1].n {
			t.Fatalf("number %d was sent twice", g.n)
		}
		if g.from == nil {
			empty++
			continue
		}
		n.checkPayload(t, &g.got)
		if last == nil && !(g.from.key && g.from.first) {
			t.Fatalf("the stream does not begin with a key frame")
		}
		if last != nil {
			holes := g.n - last.n - 1 - empty
			n.checkStep(t, &last.got, &g.got, holes)
		}
		last, empty = g, 0
	}
}

// checkPayload: what is behind the descriptor is as it was sent.
func (n *network) checkPayload(t *testing.T, g *got) {
	t.Helper()
	_, _, _, rest := g.vp8(t)
	if was := g.from.data[len(g.from.data)-len(rest):]; !bytes.Equal(rest, was) {
		t.Fatalf("the frame was changed:\n% x\n% x", was, rest)
	}
	if g.header.Marker != g.from.header.Marker {
		t.Fatalf("marker %v of a packet that had %v", g.header.Marker, g.from.header.Marker)
	}
}

// reach is how far behind a stream's last packet another may be lost and still have its number: until a switch.
const reach = 20

// checkStep compares two packets that follow one another.
func (n *network) checkStep(t *testing.T, a, b *got, holes int) {
	t.Helper()
	aPic, aTL0, aIdx, _ := a.vp8(t)
	bPic, bTL0, bIdx, _ := b.vp8(t)
	sameFrame := a.from.frame == b.from.frame
	step := int32(b.header.Timestamp - a.header.Timestamp)
	pics := (bPic - aPic) & 0x7fff
	same := stream(a.from) == stream(b.from)
	from, to := n.at(a), n.at(a)+reach
	if same {
		to = n.at(b)
	}
	lost := 0
	for _, l := range n.lost[stream(a.from)] {
		if l > from && l < to {
			lost++
		}
	}
	switch {
	case holes > lost:
		t.Fatalf("%d numbers are missing where %d packets were lost (same stream: %v)", holes, lost, same)
	case sameFrame != (step == 0):
		t.Fatalf("timestamps step by %d; same frame: %v", step, sameFrame)
	case step < 0:
		t.Fatalf("the timestamp goes back by %d", -step)
	case step > 0 && time.Duration(step)*time.Second/90000 > b.at-a.at+time.Second:
		t.Fatalf("the timestamp leaps by %v in %v", time.Duration(step)*time.Second/90000, b.at-a.at)
	case sameFrame && (pics != 0 || aTL0 != bTL0 || aIdx != bIdx):
		t.Fatalf("one frame, but picture ids %d and %d, %d and %d, %d and %d", aPic, bPic, aTL0, bTL0, aIdx, bIdx)
	case !sameFrame && !same && (pics != 1 || bTL0 != aTL0+1 || bIdx != (aIdx+1)%32 || !b.from.key || !b.from.first):
		t.Fatalf("a switch: pictures %d → %d, tl0 %d → %d, key index %d → %d, key frame %v", aPic, bPic, aTL0, bTL0, aIdx, bIdx, b.from.key)
	case !sameFrame && same && n.bad.control == 0 && n.bad.restart == 0:
		n.checkSame(t, a, b, holes, lost, pics)
	}
}

// checkSame: without switches, exactly what was lost is missing, and nothing was renumbered.
func (n *network) checkSame(t *testing.T, a, b *got, holes, lost, pics int) {
	t.Helper()
	was := (b.from.pic - a.from.pic) & 0x7fff
	if n.tr.pub.layers[b.from.layer].narrow {
		was &= 0x7f
	}
	if holes != lost {
		t.Fatalf("%d numbers are missing, %d packets were lost", holes, lost)
	}
	if pics != was {
		t.Fatalf("picture ids step by %d, the publisher's by %d", pics, was)
	}
}

// at is the unwrapped number of a packet in its stream: far from the end of the run, so that one wrap is all there is.
func (n *network) at(g *got) int {
	last := n.nums[stream(g.from)].last
	return last - int(uint16(last)-g.from.header.SequenceNumber)
}
