package vault

import (
	"encoding/binary"
	"errors"

	"parley/catalog"
)

// Provenance stands in the clear in a sealed value's header: who or what supplied the value, at which stage it was collected,
// and which version of the notice was shown. It names kinds and versions, never a person.
type Provenance struct{ Source, Stage, Notice string }

// header is the clear beginning of a sealed value: version byte, key id, key version, then field id, source, stage
// and notice, each after one byte with its length. There is one way to write a header, so parsing and writing are inverse.
type header struct {
	key     keyID
	version uint32
	field   catalog.FieldID
	prov    Provenance
}

const (
	formatPlain  = 0 // not encrypted: builds with the tag parley_noop_vault only
	formatSealed = 1 // AES-256-GCM by tink: 12 bytes nonce, ciphertext, 16 bytes tag

	fixedHeader = 1 + 16 + 4
	maxPart     = 255
	minCipher   = 12 + 16
)

var (
	errHeader    = errors.New("vault: not a sealed value")
	errHeaderBig = errors.New("vault: a field id or provenance is longer than 255 bytes")
)

func (h *header) size() int {
	return fixedHeader + 4 + len(h.field) + len(h.prov.Source) + len(h.prov.Stage) + len(h.prov.Notice)
}

// appendTo adds the header to b.
func (h *header) appendTo(b []byte) ([]byte, error) {
	format := byte(formatSealed)
	if NoOp {
		format = formatPlain
	}
	b = append(b, format)
	b = append(b, h.key[:]...)
	b = binary.BigEndian.AppendUint32(b, h.version)
	for _, s := range [...]string{string(h.field), h.prov.Source, h.prov.Stage, h.prov.Notice} {
		if len(s) > maxPart {
			return nil, errHeaderBig
		}
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b, nil
}

// parseHeader reads the header and returns how long it is.
func parseHeader(b []byte) (h header, n int, err error) {
	format := byte(formatSealed)
	if NoOp {
		format = formatPlain
	}
	if len(b) < fixedHeader || b[0] != format {
		return header{}, 0, errHeader
	}
	copy(h.key[:], b[1:])
	h.version = binary.BigEndian.Uint32(b[17:])
	var parts [4]string
	n = fixedHeader
	for i := range parts {
		if n >= len(b) {
			return header{}, 0, errHeader
		}
		end := n + 1 + int(b[n])
		if end > len(b) {
			return header{}, 0, errHeader
		}
		parts[i] = string(b[n+1 : end])
		n = end
	}
	if !NoOp && len(b)-n < minCipher {
		return header{}, 0, errHeader
	}
	h.field = catalog.FieldID(parts[0])
	h.prov = Provenance{Source: parts[1], Stage: parts[2], Notice: parts[3]}
	return h, n, nil
}

// bound returns the additional data of a value: its organisation, field, row and key version, and the whole header.
func bound(org string, field catalog.FieldID, row string, version uint32, header []byte) []byte {
	b := make([]byte, 0, 48+len(org)+len(field)+len(row)+len(header))
	b = appendPart(b, "parley value")
	b = appendPart(b, org)
	b = appendPart(b, string(field))
	b = appendPart(b, row)
	b = binary.BigEndian.AppendUint32(b, version)
	return append(b, header...)
}
