package prove

import (
	"bytes"
	"crypto/md5" //nolint:gosec // looked for, not relied upon: what somebody else may have kept of a value
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf16"

	"parley/catalog"
)

// canary is a unique mark that was put somewhere, to see where it turns up.
type canary struct {
	token  string          // what is looked for, in every encoding
	what   string          // in words: "the visitor's name in a first message"
	field  catalog.FieldID // that was to keep it; "" for what is to be dropped
	value  string          // what was sent, with the token in it
	secret bool            // something that opens a door, or that never was to be kept: no answer may show it
	erased bool            // of the visitor who is erased
	public bool            // no secret at all: put where it must be found, which shows that the search looks there
	addr   netip.Addr      // for the address of a client
	at     netip.AddrPort  // for a place on this machine that a client speaks from: its address says nothing without the port
	shown  int             // in how many answers a secret that the server made is shown to whom it is for
}

// tokenLetters survive whatever is done to a name, an address or a link.
const (
	tokenLetters = "abcdefghijkmnpqrstuvwxyz23456789"
	tokenLength  = 22
)

// newToken returns 22 random letters and digits, more than 100 bits.
func newToken() string {
	b := make([]byte, tokenLength)
	_, _ = rand.Read(b) // never fails
	for i, c := range b {
		b[i] = tokenLetters[int(c)%len(tokenLetters)]
	}
	b[0] = 'z' // a letter: it may begin the name of a host
	return string(b)
}

// newAddress returns a random address of a range that documentation uses, so that it is nobody's.
func newAddress() netip.Addr {
	b := netip.MustParseAddr("2001:db8::").As16()
	_, _ = rand.Read(b[4:])
	for i := 4; i < len(b); i += 2 {
		b[i] |= 0x10 // four digits in each group: there is one way to write it
	}
	return netip.AddrFrom16(b)
}

// needle is a form in which a canary could be read.
type needle struct {
	canary *canary
	form   string
	bytes  []byte
	fold   bool // upper and lower case are the same
}

// minNeedle is the shortest form that is looked for, in bytes: less would be found by chance.
const minNeedle = 8

// needles returns the forms in which a canary could be read.
func (c *canary) needles() []needle {
	forms := encodings(c.token)
	if c.addr.IsValid() {
		raw := c.addr.As16()
		prefix := netip.PrefixFrom(c.addr, 64).Masked().Addr().String()
		forms = append(forms, needle{form: "address bytes", bytes: raw[:]}, needle{form: "address bytes in hex", bytes: []byte(hex.EncodeToString(raw[:])), fold: true},
			needle{form: "the address's network", bytes: []byte(strings.TrimSuffix(prefix, "::")), fold: true}, needle{form: "the network's bytes", bytes: raw[:minNeedle]})
	}
	if c.at.IsValid() {
		ip := c.at.Addr().As16()
		forms = append(forms, needle{form: "address and port as a candidate has them", bytes: fmt.Appendf(nil, "%s %d ", c.at.Addr(), c.at.Port())},
			needle{form: "address and port as bytes", bytes: binary.BigEndian.AppendUint16(ip[:], c.at.Port())})
	}
	if c.field != "" && !c.secret {
		forms = append(forms, plainHashes(c.value)...)
	}
	for i := range forms {
		forms[i].canary = c
	}
	return forms
}

// encodings returns the ways in which programs write a text, the text itself first. Of base64 only the part is looked for
// that does not depend on what stands before and behind.
func encodings(token string) []needle {
	units := utf16.Encode([]rune(token))
	little, big := make([]byte, 0, 2*len(units)), make([]byte, 0, 2*len(units))
	for _, u := range units {
		little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
	}
	percent, unicode, entity := "", "", ""
	for _, b := range []byte(token) {
		percent += fmt.Sprintf("%%%02x", b)
		unicode += fmt.Sprintf(`\u%04x`, b)
		entity += fmt.Sprintf("&#%d;", b)
	}
	out := []needle{
		{form: "as it is", bytes: []byte(token), fold: true},
		{form: "UTF-16, little end first", bytes: little, fold: true},
		{form: "UTF-16, big end first", bytes: big, fold: true},
		{form: "hexadecimal", bytes: []byte(hex.EncodeToString([]byte(token))), fold: true},
		{form: "URL-escaped", bytes: []byte(percent), fold: true},
		{form: "JSON-escaped", bytes: []byte(unicode), fold: true},
		{form: "HTML-escaped", bytes: []byte(entity), fold: true},
	}
	for _, text := range []string{token, strings.ToUpper(token)} {
		for shift := range 3 {
			for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				n := needle{form: fmt.Sprintf("base64, shifted by %d", shift), bytes: inner(alphabet, text, shift)}
				if !slices.ContainsFunc(out, func(have needle) bool { return bytes.Equal(have.bytes, n.bytes) }) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// inner returns the letters of base64 that stand for text alone when shift bytes stand before it.
func inner(alphabet *base64.Encoding, text string, shift int) []byte {
	all := alphabet.EncodeToString([]byte(strings.Repeat("x", shift) + text))
	from := (shift*8 + 5) / 6         // the first letter without a bit of what stands before
	to := (shift + len(text)) * 8 / 6 // letters that are complete without what stands behind
	return []byte(all[from:to])
}

// plainHashes are what a careless blind index would hold: anybody who guesses the value finds it again.
func plainHashes(value string) (out []needle) {
	for _, v := range []string{value, strings.ToLower(value)} {
		s256, s1, m := sha256.Sum256([]byte(v)), sha1.Sum([]byte(v)), md5.Sum([]byte(v)) //nolint:gosec // see the imports
		for name, sum := range map[string][]byte{"SHA-256": s256[:], "SHA-1": s1[:], "MD5": m[:]} {
			out = append(out, needle{form: name + " without a key", bytes: sum},
				needle{form: name + " without a key, in hex", bytes: []byte(hex.EncodeToString(sum)), fold: true},
				needle{form: name + " without a key, in base64", bytes: []byte(base64.RawStdEncoding.EncodeToString(sum))})
		}
	}
	return out
}
