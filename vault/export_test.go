//go:build !parley_noop_vault

package vault

// What the tests reach of the inside.

// SetCrash ends destructions at a named point: "condemned", "ledger" or "deleted".
func SetCrash(v *Vault, fn func(point string) error) { v.crash = fn }

// ReencodeHeader parses a header and writes it again. It returns the bytes that the header took and what was written.
func ReencodeHeader(b []byte) (took, wrote []byte, err error) {
	h, n, err := parseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	wrote, err = h.appendTo(nil)
	return b[:n], wrote, err
}

// CheckLine parses a ledger's first entry and checks that it has one spelling.
func CheckLine(line []byte) error {
	e, err := parseEntry(line, 0, chain{})
	if err != nil {
		return err
	}
	if want := e.line(chain{}); string(want) != string(line)+"\n" {
		return errNotCanonical
	}
	return nil
}

// FirstLine returns a well-formed ledger line, for seeds.
func FirstLine() []byte {
	e := entry{seq: 1, at: 1_700_000_000_000_000, subject: subject{1, 2, 3}}
	line := e.line(chain{})
	return line[:len(line)-1]
}

func ParseMaster(b []byte) ([]byte, error) { return parseMaster(b) }

func ParseCopy(s string) error { _, _, err := parseCopy(s); return err }

type canonicalError struct{}

func (canonicalError) Error() string { return "two spellings of one line" }

var errNotCanonical error = canonicalError{}

// ErrNotCanonical is what CheckLine returns for a line that would be written differently.
var ErrNotCanonical = errNotCanonical
