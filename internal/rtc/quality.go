package rtc

import (
	"time"

	"parley/internal/rtc/signal"
)

// What makes a connection good or poor: the share of packets lost, and the time to the client and back.
const (
	goodLoss, poorLoss = 0.02, 0.08
	goodTrip, poorTrip = 250 * time.Millisecond, 600 * time.Millisecond
)

// rating is how good a participant's connection was, in the last interval.
type rating struct {
	told    bool
	quality signal.ConnectionQuality

	sent, lost uint64 // packets of its publishers' streams so far, at the last look
}

// rate looks at everybody's connection and tells what has changed. Who is new is told of everybody.
func (rm *room) rate(all []*participant) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	var changed, every []*signal.ConnectionQualityInfo
	var fresh []*participant
	for _, p := range all {
		if rm.participants[p.Identity] != p {
			continue
		}
		quality, score := p.assess()
		info := &signal.ConnectionQualityInfo{ParticipantSid: p.sid, Quality: quality, Score: score}
		every = append(every, info)
		if !p.rating.told {
			fresh = append(fresh, p)
		}
		if !p.rating.told || quality != p.rating.quality {
			changed = append(changed, info)
		}
		p.rating.told, p.rating.quality = true, quality
	}
	whole := encode(qualityUpdate(every))
	for _, p := range fresh {
		p.sendRaw(whole)
	}
	if len(changed) == 0 {
		return
	}
	part := encode(qualityUpdate(changed))
	for _, p := range rm.participants {
		known := true
		for _, f := range fresh {
			known = known && f != p
		}
		if known {
			p.sendRaw(part)
		}
	}
}

func qualityUpdate(infos []*signal.ConnectionQualityInfo) *signal.SignalResponse {
	return &signal.SignalResponse{Message: &signal.SignalResponse_ConnectionQuality{
		ConnectionQuality: &signal.ConnectionQualityUpdate{Updates: infos}}}
}

// assess rates the connection by the last interval. Only rate calls it, under the room's lock.
func (p *participant) assess() (signal.ConnectionQuality, float32) {
	var sent, got uint64
	for _, t := range p.liveTracks() {
		for i := range t.streams {
			expected, packets := t.streams[i].expected.Load(), t.streams[i].packets.Load()
			sent += expected
			got += min(expected, packets)
		}
	}
	lost := sent - got
	var loss float64
	if sent > p.rating.sent && lost > p.rating.lost { // a track that was taken back takes its figures along
		loss = float64(lost-p.rating.lost) / float64(max(sent-p.rating.sent, leastPackets))
		p.engine.stats.packetsLost.Add(int64(lost - p.rating.lost))
	}
	p.rating.sent, p.rating.lost = sent, lost
	down, of := p.sub.total.take()
	loss = max(loss, down/max(of, leastPackets))
	trip := time.Duration(p.sub.rtt.Load())
	switch {
	case p.sub.ever.Load() && !p.sub.up.Load():
		return signal.ConnectionQuality_LOST, 1
	case loss > poorLoss || trip > poorTrip:
		return signal.ConnectionQuality_POOR, 2
	case loss > goodLoss || trip > goodTrip:
		return signal.ConnectionQuality_GOOD, 3.5
	}
	return signal.ConnectionQuality_EXCELLENT, 4.5
}
