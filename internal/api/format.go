package api

import (
	"errors"
	"maps"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

var errNotUTF8 = errors.New("the body is not valid UTF-8")

// formats are huma's, but a body that is not UTF-8 (RFC 8259, section 8.1) is refused: encoding/json would replace the bytes it
// cannot read, and somebody's words would be stored changed.
func formats() map[string]huma.Format {
	out := maps.Clone(huma.DefaultFormats)
	for name, f := range out {
		decode := f.Unmarshal
		f.Unmarshal = func(data []byte, v any) error {
			if !utf8.Valid(data) {
				return errNotUTF8
			}
			return decode(data, v)
		}
		out[name] = f
	}
	return out
}
