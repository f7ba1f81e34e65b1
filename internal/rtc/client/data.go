package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"parley/internal/rtc/signal"
)

// The data channels' names in the protocol.
const (
	reliableLabel = "_reliable"
	lossyLabel    = "_lossy"
)

// maxReplay is how many reliable messages are kept to be said again after a connection was resumed.
const maxReplay = 64

// Data is a message that another participant sent.
type Data struct {
	From     string // identity
	Topic    string
	Payload  []byte
	Reliable bool
}

// dataChannels are those over which we send, on the connection that publishes, and those over which we receive.
type dataChannels struct {
	p        *Participant
	open     chan struct{} // closed when both of ours are open
	received atomic.Uint64

	mu              sync.Mutex
	reliable, lossy *webrtc.DataChannel
	opened          int
	seq             uint32
	sent            []*signal.DataPacket // the last reliable ones
	lastOf          map[string]uint32    // the last reliable message read, by publisher
}

func newDataChannels(p *Participant) *dataChannels {
	return &dataChannels{p: p, open: make(chan struct{}), lastOf: map[string]uint32{}}
}

// create makes ours; the next offer contains them.
func (d *dataChannels) create(pc *webrtc.PeerConnection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ordered, unordered, never := true, false, uint16(0)
	var err error
	if d.reliable, err = pc.CreateDataChannel(reliableLabel, &webrtc.DataChannelInit{Ordered: &ordered}); err != nil {
		return // the connection is closed
	}
	if d.lossy, err = pc.CreateDataChannel(lossyLabel, &webrtc.DataChannelInit{Ordered: &unordered, MaxRetransmits: &never}); err != nil {
		return
	}
	for _, c := range []*webrtc.DataChannel{d.reliable, d.lossy} {
		c.OnOpen(func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.opened++; d.opened == 2 {
				close(d.open)
			}
		})
		c.OnMessage(func(m webrtc.DataChannelMessage) { d.message(c.Label(), m.Data) })
	}
}

// adopt takes a channel that the server opened.
func (d *dataChannels) adopt(c *webrtc.DataChannel) {
	c.OnMessage(func(m webrtc.DataChannelMessage) { d.message(c.Label(), m.Data) })
}

func (d *dataChannels) message(label string, b []byte) {
	m := &signal.DataPacket{}
	if proto.Unmarshal(b, m) != nil {
		return
	}
	if seq, from := m.GetSequence(), m.GetParticipantSid(); seq > 0 && from != "" {
		d.mu.Lock()
		known := seq <= d.lastOf[from]
		if !known {
			d.lastOf[from] = seq
		}
		d.mu.Unlock()
		if known {
			return
		}
	}
	u := m.GetUser()
	if u == nil {
		return
	}
	d.received.Add(1)
	if d.p.cfg.OnData != nil {
		from := m.GetParticipantIdentity()
		if from == "" {
			from = u.GetParticipantIdentity()
		}
		d.p.cfg.OnData(Data{From: from, Topic: u.GetTopic(), Payload: u.GetPayload(), Reliable: label == reliableLabel})
	}
}

// SendData sends a message to the participants named, or to all. It returns when the message is on its way.
func (p *Participant) SendData(ctx context.Context, payload []byte, topic string, reliable bool, to ...string) error {
	if !p.publisher.offered() {
		p.publisher.negotiate(false)
	}
	select {
	case <-p.data.open:
	case <-p.ended:
		return p.Snapshot().Err
	case <-ctx.Done():
		return ctx.Err()
	}
	m := &signal.DataPacket{DestinationIdentities: to, Value: &signal.DataPacket_User{User: &signal.UserPacket{Payload: payload, Topic: &topic, DestinationIdentities: to}}}
	return p.data.send(m, reliable)
}

func (d *dataChannels) send(m *signal.DataPacket, reliable bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.lossy
	m.Kind = signal.DataPacket_LOSSY
	if reliable {
		c, m.Kind = d.reliable, signal.DataPacket_RELIABLE
		d.seq++
		m.Sequence = d.seq
		d.sent = append(d.sent, m)
		d.sent = d.sent[max(0, len(d.sent)-maxReplay):]
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return c.Send(b)
}

// replay says again what the server has not heard.
func (d *dataChannels) replay(after uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if after == 0 || d.reliable == nil || d.reliable.ReadyState() != webrtc.DataChannelStateOpen {
		return
	}
	for _, m := range d.sent {
		if m.GetSequence() <= after {
			continue
		}
		if b, err := proto.Marshal(m); err == nil {
			_ = d.reliable.Send(b) // the channel may close at any time; the connection says so
		}
	}
}

// info names our channels to the server.
func (d *dataChannels) info() (all []*signal.DataChannelInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range []*webrtc.DataChannel{d.reliable, d.lossy} {
		if c != nil && c.ID() != nil {
			all = append(all, &signal.DataChannelInfo{Label: c.Label(), Id: uint32(*c.ID()), Target: signal.SignalTarget_PUBLISHER})
		}
	}
	return all
}

func (d *dataChannels) receiveStates() (all []*signal.DataChannelReceiveState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for sid, seq := range d.lastOf {
		all = append(all, &signal.DataChannelReceiveState{PublisherSid: sid, LastSeq: seq})
	}
	return all
}
