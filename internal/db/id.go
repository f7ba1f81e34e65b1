package db

import (
	"time"

	"github.com/google/uuid"
)

// NewID returns a fresh UUIDv7 as lower-case text. Ids of one process sort in the order in which they were made.
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic("db: the system's random source failed: " + err.Error()) // crypto/rand does not fail on supported systems
	}
	return id.String()
}

// Micros returns t as the database keeps it: Unix microseconds.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// FromMicros returns the time, in UTC, that the database keeps as us.
func FromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
