package api

import (
	"encoding/base64"
	"encoding/json"

	"parley/internal/fault"
)

// The limits of a page of a list.
const (
	DefaultLimit = 50
	MaxLimit     = 100
	maxCursor    = 512
)

// Page is the part of an input that every list takes; embed it.
type Page struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"From next of the page before. Opaque: its form may change."`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"How many items at most."`
}

// Size returns the limit within its bounds, for callers that did not come through HTTP.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultLimit
	case p.Limit > MaxLimit:
		return MaxLimit
	}
	return p.Limit
}

// List is the answer of every list: no Next means that this was the last page.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Pass it as cursor to get the next page. Absent: there is none."`
}

// EncodeCursor makes an opaque cursor of a position: sort keys and ids, never anything that a person wrote.
// Cursors carry no authority; stores apply their scope to every page.
func EncodeCursor(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil { // strings always marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCursor reads a cursor of n parts. The empty cursor is the first page: nil and no error.
func DecodeCursor(s string, n int) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	bad := fault.Bad("api.DecodeCursor", "cursor", "cursor_invalid", "The cursor is not one that a list gave out.")
	if len(s) > maxCursor {
		return nil, bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, bad
	}
	var parts []string
	if err := json.Unmarshal(raw, &parts); err != nil || len(parts) != n {
		return nil, bad
	}
	return parts, nil
}
