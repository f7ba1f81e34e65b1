package rtc

import "sync/atomic"

// Stats are the engine's figures since it was made; those of the first group hold now.
type Stats struct {
	Rooms, Participants, Signalling, PublishedTracks, Subscriptions int64

	RoomsOpened, Joins, Resumes, Departures int64
	RefusedTokens                           int64 // forged, expired, of a room that is not open, of somebody removed
	RefusedJoins                            int64 // over a limit
	SignalMessages, SignalRefused           int64 // from clients; refused are malformed, too large or too many
	PacketsIn, BytesIn                      int64 // media that publishers sent
	PacketsOut, BytesOut                    int64 // media that was handed to subscribers' connections
	PacketsLost                             int64 // media of publishers that never arrived
	DataIn, DataOut, DataRefused            int64 // data messages; refused ones were too large or too many
	DataDropped                             int64 // data messages that a receiver was too slow for
	KeyFrameRequests                        int64 // sent to publishers
	Misbehaved                              int64 // participants removed because they went on over the limits
	Panics                                  int64 // faults of the engine or its libraries that ended one participation
}

type counters struct {
	participants, signalling, tracks, subscriptions, roomsOpened, joins, resumes, departures, refusedTokens, refusedJoins,
	signalMessages, signalRefused, packetsIn, bytesIn, packetsOut, bytesOut, packetsLost, dataIn, dataOut, dataRefused,
	dataDropped, keyFrames, misbehaved, panics atomic.Int64
}

// Stats returns the engine's figures.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	rooms := int64(len(e.rooms))
	e.mu.Unlock()
	n := &e.stats
	return Stats{
		Rooms: rooms, Participants: n.participants.Load(), Signalling: n.signalling.Load(), PublishedTracks: n.tracks.Load(),
		Subscriptions: n.subscriptions.Load(), RoomsOpened: n.roomsOpened.Load(), Joins: n.joins.Load(), Resumes: n.resumes.Load(),
		Departures: n.departures.Load(), RefusedTokens: n.refusedTokens.Load(), RefusedJoins: n.refusedJoins.Load(),
		SignalMessages: n.signalMessages.Load(), SignalRefused: n.signalRefused.Load(), PacketsIn: n.packetsIn.Load(),
		BytesIn: n.bytesIn.Load(), PacketsOut: n.packetsOut.Load(), BytesOut: n.bytesOut.Load(), PacketsLost: n.packetsLost.Load(),
		DataIn: n.dataIn.Load(), DataOut: n.dataOut.Load(), DataRefused: n.dataRefused.Load(), DataDropped: n.dataDropped.Load(),
		KeyFrameRequests: n.keyFrames.Load(), Misbehaved: n.misbehaved.Load(), Panics: n.panics.Load(),
	}
}
