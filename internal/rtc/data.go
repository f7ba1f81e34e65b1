package rtc

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"parley/internal/fault"
	"parley/internal/rtc/signal"
)

// Labels of the data channels; the first two on both connections.
const (
	labelReliable  = "_reliable"
	labelLossy     = "_lossy"
	labelDataTrack = "_data_track" // livekit-client opens it in any case
)

// Limits of the channels that a client opens. Each keeps a goroutine and 64 KiB.
const (
	// maxSameChannels is how many may be open under one label: livekit-client replaces channels that Safari gave no number when it
	// resumes, and the new one may be there before the old one has gone.
	maxSameChannels = 2
	// maxChannels is how many may be opened under one label in all: the library remembers those that were closed.
	maxChannels = 20
)

// dataState is how much data a participant has sent of late. Its channels' goroutines share it.
type dataState struct {
	mu       sync.Mutex
	messages bucket
	bytes    bucket
	refused  int       // since the participant last kept within the limits for a while
	last     time.Time // of the last refusal
	told     time.Time
	sequence uint32 // of the last reliable message

	channels map[string]*channels // by label
}

// channels counts those under one label.
type channels struct{ open, opened int }

// refusalsForgotten is how long a participant has to keep within the limits until earlier refusals no longer count.
const refusalsForgotten = 10 * time.Second

// lastReliable is the number of the last reliable message that arrived: a client that resumes sends those after it again.
func (d *dataState) lastReliable() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sequence
}

// verdict on one data message.
type verdict uint8

const (
	accepted verdict = iota
	refused
	refusedLoudly // and the client is to be told
	abusive       // and the participation ends
)

// admit says whether a message of so many bytes is within the limits.
func (d *dataState) admit(now time.Time, size int, l Limits) verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size <= l.DataBytes {
		few, _ := d.messages.take(now, 1, l.DataPerSecond, l.DataBurst)
		small, _ := d.bytes.take(now, float64(size), l.DataBytesPerSecond, l.DataBytesBurst)
		if few && small {
			return accepted
		}
	}
	if now.Sub(d.last) > refusalsForgotten {
		d.refused = 0
	}
	d.refused++
	d.last = now
	if d.refused > l.DataRefusals {
		return abusive
	}
	if now.Sub(d.told) >= time.Second {
		d.told = now
		return refusedLoudly
	}
	return refused
}

// opens counts a channel that the client has opened, and says whether it may.
func (d *dataState) opens(label string) bool {
	switch label {
	case labelReliable, labelLossy, labelDataTrack:
	default:
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channels == nil {
		d.channels = map[string]*channels{}
	}
	c := d.channels[label]
	if c == nil {
		c = &channels{}
		d.channels[label] = c
	}
	c.open++
	c.opened++
	return c.open <= maxSameChannels && c.opened <= maxChannels
}

func (d *dataState) closed(label string) {
	d.mu.Lock()
	d.channels[label].open--
	d.mu.Unlock()
}

// dataChannel takes what the client sends on a channel. What comes as data tracks goes nowhere.
func (p *participant) dataChannel(dc *webrtc.DataChannel) {
	label := dc.Label()
	if !p.data.opens(label) {
		p.do(p.misbehaved)
		return
	}
	dc.OnClose(func() { p.data.closed(label) })
	if label != labelDataTrack {
		dc.OnMessage(func(m webrtc.DataChannelMessage) { p.received(m.Data, label == labelReliable) })
	}
}

// received hands a data message to those that it is for.
func (p *participant) received(b []byte, reliable bool) {
	e := p.engine
	switch p.data.admit(e.now(), len(b), e.limits) {
	case accepted:
	case refusedLoudly:
		e.stats.dataRefused.Add(1)
		p.refuse(fault.New(fault.RateLimited, "rtc.data", "data_limited",
			"You are sending more data than a call carries. Some of it was not delivered."), nil)
		return
	case abusive:
		e.stats.dataRefused.Add(1)
		p.do(p.misbehaved)
		return
	case refused:
		e.stats.dataRefused.Add(1)
		return
	}
	var m signal.DataPacket
	if proto.Unmarshal(b, &m) != nil || !carried(&m) || len(m.GetDestinationIdentities()) > maxNames {
		e.stats.dataRefused.Add(1)
		return
	}
	if reliable && m.GetSequence() > 0 && !p.data.advance(m.GetSequence()) {
		return // sent again after a resumption
	}
	e.stats.dataIn.Add(1)
	to := m.GetDestinationIdentities()
	if u := m.GetUser(); len(to) == 0 && u != nil {
		to = u.GetDestinationIdentities()
	}
	out, err := proto.Marshal(p.signed(&m, reliable))
	if err != nil {
		return // cannot be: it was read from the wire
	}
	for _, other := range p.room.everybody() {
		if other != p && (len(to) == 0 || slices.Contains(to, other.Identity)) && other.hears {
			other.deliver(out, reliable)
		}
	}
}

// advance notes a message's number; false means that it was there before.
func (d *dataState) advance(sequence uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sequence <= d.sequence {
		return false
	}
	d.sequence = sequence
	return true
}

// signed is the message with the sender that it really has, whatever it said.
func (p *participant) signed(m *signal.DataPacket, reliable bool) *signal.DataPacket {
	m.ParticipantIdentity, m.ParticipantSid, m.DestinationIdentities = p.Identity, p.sid, nil
	m.Kind = signal.DataPacket_LOSSY
	if reliable {
		m.Kind = signal.DataPacket_RELIABLE
	}
	if u := m.GetUser(); u != nil {
		u.ParticipantIdentity, u.ParticipantSid, u.DestinationIdentities, u.DestinationSids = p.Identity, p.sid, nil, nil
	}
	return m
}

// Numbers of the contents of a data message that are carried unread: remote calls and streams of text and bytes, which
// livekit-client makes of messages.
const (
	fieldRPCRequest    = protowire.Number(10)
	fieldRPCAck        = protowire.Number(11)
	fieldRPCResponse   = protowire.Number(12)
	fieldStreamHeader  = protowire.Number(13)
	fieldStreamChunk   = protowire.Number(14)
	fieldStreamTrailer = protowire.Number(15)
)

// carried says whether a message is of a kind that participants may send each other. Who speaks, for instance, is for the
// engine to say.
func carried(m *signal.DataPacket) bool {
	if m.GetValue() != nil {
		return m.GetUser() != nil && len(m.ProtoReflect().GetUnknown()) == 0
	}
	b := []byte(m.ProtoReflect().GetUnknown())
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		switch number {
		case fieldRPCRequest, fieldRPCAck, fieldRPCResponse, fieldStreamHeader, fieldStreamChunk, fieldStreamTrailer:
		default:
			return false
		}
		b = b[n:]
		if len(b) == 0 {
			return true
		}
	}
	return false
}

// deliver queues a message for the client, if it keeps up. It never waits.
func (p *participant) deliver(b []byte, reliable bool) {
	dc := p.sub.lossy
	if reliable {
		dc = p.sub.reliable
	}
	e := p.engine
	if dc.ReadyState() != webrtc.DataChannelStateOpen || dc.BufferedAmount()+uint64(len(b)) > uint64(e.limits.DataBuffer) {
		e.stats.dataDropped.Add(1)
		return
	}
	if err := dc.Send(b); err != nil {
		e.stats.dataDropped.Add(1)
		return
	}
	e.stats.dataOut.Add(1)
}
