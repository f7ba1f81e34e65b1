package realtime

import (
	"encoding/binary"
	"errors"
)

// What nodes tell each other through Redis: a message is a header (version, the sender's id) and records, each a kind,
// a name and a body, the last two preceded by their length as an unsigned varint. They hold ids and sealed bytes only.

// record is one thing that a node tells the others.
type record struct {
	kind byte
	name string // a channel, or a user for drops and subscriptions
	body []byte
}

// The kinds of record. Unknown ones are skipped: nodes of two releases may run together.
const (
	recordPublish   = 'p' // channel, sealed bytes
	recordJoin      = 'j' // channel, user NUL client
	recordLeave     = 'l' // channel, user NUL client
	recordDrop      = 'd' // user, session
	recordSubscribe = 's' // user, channel
	recordGap       = 'g' // the sender lost publications
)

const (
	recordVersion = 1
	nodeBytes     = 16
	headerBytes   = 1 + nodeBytes
)

var errRecord = errors.New("a relayed message cannot be read")

func appendHeader(b []byte, node [nodeBytes]byte) []byte {
	return append(append(b, recordVersion), node[:]...)
}

func appendRecord(b []byte, r record) []byte {
	b = append(b, r.kind)
	b = binary.AppendUvarint(b, uint64(len(r.name)))
	b = append(b, r.name...)
	b = binary.AppendUvarint(b, uint64(len(r.body)))
	return append(b, r.body...)
}

// DecodeRelayed reads a message of another node and calls fn with each record in order, until one is damaged. The
// slices alias message.
func DecodeRelayed(message []byte, fn func(node [16]byte, kind byte, name string, body []byte)) error {
	if len(message) < headerBytes || message[0] != recordVersion {
		return errRecord
	}
	node := [nodeBytes]byte(message[1:headerBytes])
	for rest := message[headerBytes:]; len(rest) > 0; {
		kind := rest[0]
		name, after, ok := field(rest[1:])
		if !ok {
			return errRecord
		}
		body, after, ok := field(after)
		if !ok {
			return errRecord
		}
		fn(node, kind, string(name), body)
		rest = after
	}
	return nil
}

// field splits a length-prefixed field from b.
func field(b []byte) (value, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	end := used + int(n)
	return b[used:end:end], b[end:], true
}
