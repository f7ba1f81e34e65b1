// Package fault holds the kinds of error that Parley knows. Every error that reaches a client is
// one of these; internal/api maps a kind to HTTP in a single place, and the socket does the same.
// It does not log, translate or decide what to do about an error.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in terms that a caller can act upon.
type Kind uint8

// The kinds, with the HTTP status that internal/api gives each.
const (
	Internal        Kind = iota // 500: ours; the cause is logged, never shown
	Invalid                     // 422: a field is wrong; Field names it
	Malformed                   // 400: the request could not be read at all
	Unauthenticated             // 401: no, expired or unknown credentials
	Forbidden                   // 403: known, but not allowed
	NotFound                    // 404: absent, or another organisation's
	Conflict                    // 409: the state does not allow it
	Gone                        // 410: it was there and was erased
	TooLarge                    // 413: over a documented limit
	RateLimited                 // 429: RetryAfter says when to come back
	Unavailable                 // 503: a dependency is away; RetryAfter may be set
	Full                        // 507: no disk space for writes; reads go on
)

var kindNames = [...]string{"internal", "invalid", "malformed", "unauthenticated", "forbidden", "not_found",
	"conflict", "gone", "too_large", "rate_limited", "unavailable", "full"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Error is kind + operation + cause. Code is stable and machine-readable ("message_too_long"); Text is
// for people, in English, and must hold nothing that a person wrote; Field is the JSON name of the input at fault; Object is
// the id of what stands in the way, where the client can do something with it.
type Error struct {
	Kind       Kind
	Op         string // "chat.Send"
	Code       string // defaults to the kind's name
	Field      string
	Object     string
	Text       string
	RetryAfter time.Duration
	Cause      error
}

// New makes an error of the kind with a stable code and a text for people.
func New(kind Kind, op, code, text string) *Error {
	return &Error{Kind: kind, Op: op, Code: code, Text: text}
}

// Wrap gives a cause a kind. A cause that already is a fault keeps its own kind.
func Wrap(kind Kind, op string, cause error) error {
	if cause == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](cause); ok {
		return fmt.Errorf("%s: %w", op, cause)
	}
	return &Error{Kind: kind, Op: op, Code: kind.String(), Cause: cause}
}

// Bad is the error for one wrong input field; text says what would be right.
func Bad(op, field, code, text string) *Error {
	return &Error{Kind: Invalid, Op: op, Field: field, Code: code, Text: text}
}

// Retry is a RateLimited error that says when to come back.
func Retry(op, code, text string, after time.Duration) *Error {
	return &Error{Kind: RateLimited, Op: op, Code: code, Text: text, RetryAfter: after}
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Code
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Of returns the fault inside err, or an Internal one that wraps it. It returns nil for nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Code: Internal.String(), Cause: err}
}

// Is reports whether err carries a fault of the kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
