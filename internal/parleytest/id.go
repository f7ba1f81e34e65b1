package parleytest

import "parley/internal/db"

// NewClientID returns an id as a well-behaved client makes one up.
func NewClientID() string { return db.NewID() }
