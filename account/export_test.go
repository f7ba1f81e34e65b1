package account

// The parsers of outside bytes, for fuzzing, and what the spill file holds.
var (
	CookieToken = cookieToken
	ParseHash   = func(s string) error { _, err := parseHash(s); return err }
	ParseSpill  = func(b []byte) (int, int) { e, end := parseSpill(b); return len(e), end }
)

// SpillSize is the size of the spill file in bytes.
const SpillSize = spillSize
