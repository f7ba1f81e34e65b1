// Package forward carries one published track to its subscribers: packets in, packets out, no sockets.
//
// A Source is one published track, with one to three simulcast layers. A Forwarder is one source on its way to one
// subscriber: it chooses the layer, changes it at key frames only, and rewrites sequence numbers, timestamps and
// picture ids so that the subscriber sees one unbroken stream, whatever happened to the publisher's. An Allocator
// divides a subscriber's downlink among the forwarders.
//
// One goroutine reads each layer and does this for every packet; after the first packets nothing is allocated:
//
//	if source.Receive(layer, &header, payload, now, &packet) { // packet and out belong to the goroutine
//		for _, d := range downtracks {
//			if d.forwarder.Forward(&packet, &out) {
//				d.writer.WriteRTP(&out.Header, out.Payload)
//			}
//		}
//	}
//
// Besides, a timer calls Source.Tick about every 100 ms and Allocator.Allocate about every 250 ms.
//
// Everything may be called from any goroutine, with one exception: Receive of one layer is not called twice at the same
// time. A forwarder holds its lock for some hundred nanoseconds and calls nobody meanwhile.
//
// It does not read or write packets, negotiate, decode media, mix, or encrypt, and it sends no NACK to the publisher.
package forward

import (
	"strings"
	"time"

	"github.com/pion/rtp"
)

// Limits.
const (
	// MaxLayers is how many simulcast layers a track has at most.
	MaxLayers = 3
	// MaxPayload is the longest payload that is forwarded, in bytes; one UDP packet on any usual link is shorter.
	MaxPayload = 1600
)

// None is the layer of a forwarder that sends nothing.
const None = -1

// Codec says how much of a payload must be understood to forward it.
type Codec uint8

// The codecs.
const (
	Audio Codec = iota + 1 // any audio codec: payloads are opaque, every packet may be the first
	VP8
	H264
	VP9
)

// CodecOf returns the codec of a MIME type such as "video/VP8", in any case of letters.
func CodecOf(mime string) (Codec, bool) {
	mime = strings.ToLower(mime)
	if strings.HasPrefix(mime, "audio/") {
		return Audio, true
	}
	switch mime {
	case "video/vp8":
		return VP8, true
	case "video/h264":
		return H264, true
	case "video/vp9":
		return VP9, true
	}
	return 0, false
}

// Video reports whether the codec has key frames.
func (c Codec) Video() bool { return c > Audio }

// LayerOf returns the layer that a restriction id names: q, h, f from the lowest to the highest. No id is layer 0.
func LayerOf(rid string) (layer int, ok bool) {
	switch rid {
	case "", "q":
		return 0, true
	case "h":
		return 1, true
	case "f":
		return 2, true
	}
	return 0, false
}

// Layers is a set of layers: bit 0 is the lowest.
type Layers uint8

// Has reports whether the layer is in the set.
func (l Layers) Has(layer int) bool { return layer >= 0 && layer < MaxLayers && l&(1<<layer) != 0 }

// upTo is the set of the layer and all below it.
func upTo(layer int) Layers { return Layers(1<<(layer+1) - 1) }

// Packet is a packet of a source on its way to the forwarders. Source.Receive fills it; it is valid until the next
// call with the same Packet, and nobody changes it in between.
type Packet struct {
	layer   int
	gen     uint32        // counts restarts of the layer's stream: another SSRC, or numbers from nowhere
	seq     uint64        // the sequence number, unwrapped
	ts      uint32        // the publisher's timestamp
	pic     int64         // the picture id, unwrapped
	at      time.Duration // when it arrived, since the source's epoch
	marker  bool
	empty   bool // nothing to forward: padding, or a payload that cannot be understood
	desc    descriptor
	payload []byte
}

// Out is a packet as one subscriber gets it. Each goroutine that forwards has its own and uses it again and again;
// what Header and Payload point to is valid until the next call with the same Out. Whoever writes the packet may
// change the header (interceptors add extensions).
type Out struct {
	Header  rtp.Header
	Payload []byte

	buf [MaxPayload + 8]byte
}

// reset prepares the header for the next packet and keeps the room for its extensions.
func (o *Out) reset() {
	o.Header = rtp.Header{Version: 2, Extensions: o.Header.Extensions[:0]}
}
