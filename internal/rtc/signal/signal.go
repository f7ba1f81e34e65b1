// Package signal is what a participant and the media engine say to each other before and beside the media: the messages of
// LiveKit's signalling protocol, as far as Parley speaks it, so that LiveKit's own client for browsers is used as it is.
//
// Each binary message of the WebSocket is one SignalRequest (from the participant) or one SignalResponse (from the engine); each
// message on a data channel is one DataPacket. The package holds their form and nothing else: no sockets, no tokens, no rules.
// Only signal.proto is written by hand; what is not in it arrives as unknown fields, and is carried or dropped by those who read.
package signal

//go:generate go run ../../../tools/genproto signal.proto
//go:generate node ../../../web/scripts/signal-fixtures.mjs testdata
