package prove

import (
	"bytes"

	"google.golang.org/protobuf/proto"
)

// Forms returns the forms in which a token is looked for, by name.
func Forms(token, value string) map[string][]byte {
	out := map[string][]byte{}
	for _, n := range (&canary{token: token, value: value, field: "test.value"}).needles() {
		out[n.form] = n.bytes
	}
	return out
}

// Finds reports in which forms a token is found in data, read in one go and piece by piece.
func Finds(token, value string, data []byte) (at map[string]bool, pieces map[string]bool) {
	f := newFinder([]*canary{{token: token, value: value, field: "test.value"}})
	f.piece = PieceSize
	forms := func(found map[hit]bool) map[string]bool {
		out := map[string]bool{}
		for h := range found {
			out[h.form] = true
		}
		return out
	}
	found, _, err := f.inAll(bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	return forms(f.in(data)), forms(found)
}

// Unescaped undoes the quoting of Redis's MONITOR.
func Unescaped(line string) string { return unescaped(line) }

// Messages reads the frames of a WebSocket into messages.
func Messages(b []byte) [][]byte { return messages(b) }

// StrayText returns the places in a message of the media engine that a person could have written to.
func StrayText(m proto.Message) []string { return strayText(m.ProtoReflect()) }

// Ids returns the ids of the promises.
func Ids() (ids []string) {
	for _, p := range promises() {
		ids = append(ids, p.id)
	}
	return ids
}

// PieceSize is how much Finds reads at a time.
const PieceSize = 1 << 10
