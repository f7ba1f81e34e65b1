package realtime

import "sync/atomic"

// Stats are the hub's figures since it was made, on this node.
type Stats struct {
	Conns           int64 // open now
	Channels        int64 // with subscribers here, now
	Subscriptions   int64 // now
	Accepted        int64 // handshakes
	Refused         int64 // handshakes answered with a problem
	Commands        int64
	CommandsRefused int64 // over the limit
	Published       int64 // by this node
	Opened          int64 // publications opened for clients here
	OpenFailed      int64 // publications that could not be opened or were not JSON
	Dropped         int64 // publications given up: too many waited to be opened or for Redis
	Deliveries      int64 // frames queued for subscribers
	Writes          int64 // WebSocket messages written; one holds many frames
	BytesOut        int64 // in those messages
	Slow            int64 // clients disconnected because they did not read
	Disconnects     int64 // connections that the hub ended
	RelaySent       int64 // records sent to Redis
	RelayReceived   int64 // records received from other nodes
	RelayErrors     int64 // failures of Redis
	Resyncs         int64 // times that clients were asked to reconnect because publications may have been missed
}

type counters struct {
	conns, subscriptions, accepted, refused, commands, commandsRefused, published, opened, openFailed, dropped,
	deliveries, writes, bytesOut, slow, disconnects, relaySent, relayReceived, relayErrors, resyncs atomic.Int64
}

// Stats returns the hub's figures.
func (h *Hub) Stats() Stats {
	var channels int64
	for i := range h.channels {
		s := &h.channels[i]
		s.mu.RLock()
		channels += int64(len(s.byName))
		s.mu.RUnlock()
	}
	n := &h.stats
	return Stats{
		Conns: n.conns.Load(), Channels: channels, Subscriptions: n.subscriptions.Load(), Accepted: n.accepted.Load(),
		Refused: n.refused.Load(), Commands: n.commands.Load(), CommandsRefused: n.commandsRefused.Load(),
		Published: n.published.Load(), Opened: n.opened.Load(), OpenFailed: n.openFailed.Load(), Dropped: n.dropped.Load(),
		Deliveries: n.deliveries.Load(), Writes: n.writes.Load(), BytesOut: n.bytesOut.Load(), Slow: n.slow.Load(),
		Disconnects: n.disconnects.Load(), RelaySent: n.relaySent.Load(), RelayReceived: n.relayReceived.Load(),
		RelayErrors: n.relayErrors.Load(), Resyncs: n.resyncs.Load(),
	}
}
