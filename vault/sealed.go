package vault

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"parley/catalog"
)

// hidden is all that a sealed or opened value shows of itself.
const hidden = "[sealed]"

var errNeverMarshalled = errors.New("vault: sealed and opened values are never marshalled")

// Sealed is a personal value in the form in which it is stored. It prints and logs as [sealed] and refuses to be marshalled; it
// scans from and writes to a BLOB column, where the zero value is NULL. Only Vault.Open reads it.
//
// The bytes stand behind a pointer to a pointer, so that not even a struct with an unexported field of this type prints them: fmt does not ask
// such a field how it wants to be printed, and follows one pointer when the verb does not fit.
type Sealed struct{ v **sealed }

type sealed struct {
	self  *sealed // what Sealed points at
	b     []byte
	org   string
	field catalog.FieldID
	row   string
}

func (s *sealed) hide() Sealed { s.self = s; return Sealed{&s.self} }

// FromBytes makes a Sealed of stored bytes, such as those of a sealed bus event. It keeps no reference to b.
func FromBytes(b []byte) Sealed {
	if len(b) == 0 {
		return Sealed{}
	}
	return (&sealed{b: bytes.Clone(b)}).hide()
}

// Bind says where the value was found: its organisation, field and row. A store calls it after a scan. Open fails unless the
// value was sealed for that very place.
func (s Sealed) Bind(org string, field catalog.FieldID, row string) Sealed {
	if s.v == nil {
		return s
	}
	return (&sealed{b: (*s.v).b, org: org, field: field, row: row}).hide()
}

// Bytes returns the stored form, nil for the zero value. The caller must not change it.
func (s Sealed) Bytes() []byte {
	if s.v == nil {
		return nil
	}
	b := (*s.v).b
	return slices.Clip(b)
}

// Zero reports whether there is no value.
func (s Sealed) Zero() bool { return s.v == nil }

// Provenance returns the value's origin from its header. Open authenticates the header; this alone does not.
func (s Sealed) Provenance() (Provenance, error) {
	if s.v == nil {
		return Provenance{}, nil
	}
	h, _, err := parseHeader((*s.v).b)
	return h.prov, err
}

// Scan implements sql.Scanner.
func (s *Sealed) Scan(src any) error {
	switch b := src.(type) {
	case nil:
		*s = Sealed{}
	case []byte:
		*s = FromBytes(b)
	case string:
		*s = FromBytes([]byte(b))
	default:
		return fmt.Errorf("vault: a sealed column holds bytes, not %T", src)
	}
	return nil
}

// Value implements driver.Valuer.
func (s Sealed) Value() (driver.Value, error) {
	if s.v == nil {
		return nil, nil
	}
	return (*s.v).b, nil
}

// Text is an opened value. It still prints and logs as [sealed]; only what encodes an answer to somebody who may read it calls Text.
type Text struct{ p *string }

// Text returns the plain value, "" for the zero Text.
func (t Text) Text() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Zero reports whether there is no value.
func (t Text) Zero() bool { return t.p == nil }

func (s Sealed) String() string                  { return hidden }
func (s Sealed) GoString() string                { return hidden }
func (s Sealed) Format(f fmt.State, _ rune)      { _, _ = io.WriteString(f, hidden) }
func (s Sealed) LogValue() slog.Value            { return slog.StringValue(hidden) }
func (s Sealed) MarshalJSON() ([]byte, error)    { return nil, errNeverMarshalled }
func (s Sealed) MarshalText() ([]byte, error)    { return nil, errNeverMarshalled }
func (s Sealed) MarshalBinary() ([]byte, error)  { return nil, errNeverMarshalled }
func (s Sealed) GobEncode() ([]byte, error)      { return nil, errNeverMarshalled }
func (s *Sealed) UnmarshalJSON(_ []byte) error   { return errNeverMarshalled }
func (s *Sealed) UnmarshalText(_ []byte) error   { return errNeverMarshalled }
func (s *Sealed) UnmarshalBinary(_ []byte) error { return errNeverMarshalled }
func (s *Sealed) GobDecode(_ []byte) error       { return errNeverMarshalled }
func (t Text) String() string                    { return hidden }
func (t Text) GoString() string                  { return hidden }
func (t Text) Format(f fmt.State, _ rune)        { _, _ = io.WriteString(f, hidden) }
func (t Text) LogValue() slog.Value              { return slog.StringValue(hidden) }
func (t Text) MarshalJSON() ([]byte, error)      { return nil, errNeverMarshalled }
func (t Text) MarshalText() ([]byte, error)      { return nil, errNeverMarshalled }
func (t Text) MarshalBinary() ([]byte, error)    { return nil, errNeverMarshalled }
func (t Text) GobEncode() ([]byte, error)        { return nil, errNeverMarshalled }
