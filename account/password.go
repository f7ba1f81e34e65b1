package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	zxcvbn "github.com/ccojocar/zxcvbn-go"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"parley/internal/fault"
)

// The rules for passwords, after NIST SP 800-63B: length, no composition rules, no expiry, and a blocklist - here zxcvbn's
// dictionaries plus the member's and organisation's own words, with a guessing strength of at least 3 of 4.
const (
	minPassword   = 10  // characters
	maxPassword   = 256 // characters
	minStrength   = 3   // of zxcvbn: safe against offline guessing for a while
	strengthReads = 72  // zxcvbn's work grows fast with length; the first characters say enough
)

// The parameters of argon2id, one of OWASP's equal choices: 46 MiB, one pass, one lane. A hash takes some 50 ms of
// one core; hashes made with other parameters are replaced at the next sign-in.
const (
	argonMemory = 46 * 1024 // KiB
	argonTime   = 1
	argonLanes  = 1
	argonSalt   = 16 // bytes
	argonKey    = 32 // bytes
)

// checkPassword refuses what is short or easy to guess. words are what an attacker would try first: e-mail, names, organisation.
func checkPassword(op, password string, words ...string) error {
	password = norm.NFKC.String(password)
	n := utf8.RuneCountInString(password)
	switch {
	case n < minPassword:
		return fault.Bad(op, "password", "password_short", "Use at least 10 characters.")
	case n > maxPassword:
		return fault.Bad(op, "password", "password_long", "Use at most 256 characters.")
	}
	known := blocklist(words)
	if rest := without(password, known); rest != strings.ToLower(password) && utf8.RuneCountInString(rest) < minPassword-2 {
		return fault.Bad(op, "password", "password_known", "Do not build the password from your name, e-mail address or organisation.")
	}
	head := password
	if r := []rune(password); len(r) > strengthReads {
		head = string(r[:strengthReads])
	}
	if zxcvbn.PasswordStrength(head, known).Score < minStrength {
		return fault.Bad(op, "password", "password_weak", "This password is easy to guess. Use a longer one, or several words that do not belong together.")
	}
	return nil
}

// blocklist splits what is known of a member into words of four characters and more.
func blocklist(words []string) []string {
	out := []string{"parley"}
	for _, w := range words {
		w = strings.ToLower(norm.NFKC.String(w))
		parts := strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" @._-+,'", r) })
		for _, p := range append(parts, w) {
			if utf8.RuneCountInString(p) >= 4 {
				out = append(out, p)
			}
		}
	}
	return out
}

func without(password string, words []string) string {
	rest := strings.ToLower(password)
	for _, word := range slices.Backward(words) { // whole values before their parts
		rest = strings.ReplaceAll(rest, word, "")
	}
	return rest
}

// hasher computes argon2id hashes, as many at a time as there are cores: each takes argonMemory.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	decoy   func() string
}

// maxWaiting bounds the queue for a slot.
const maxWaiting = 64

func newHasher() *hasher {
	h := &hasher{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	// The decoy is what an unknown address's password is compared with, at the same cost.
	h.decoy = sync.OnceValue(func() string { return encodeHash(randomBytes(argonSalt), randomBytes(argonKey)) })
	return h
}

func (h *hasher) enter(ctx context.Context) error {
	busy := &fault.Error{Kind: fault.Unavailable, Op: "account.hash", Code: "unavailable", RetryAfter: 2 * time.Second}
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return busy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		busy.Cause = ctx.Err()
		return busy
	}
}

// hash returns the password's hash in PHC form.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	salt := randomBytes(argonSalt)
	key := argon2.IDKey([]byte(norm.NFKC.String(password)), salt, argonTime, argonMemory, argonLanes, argonKey)
	return encodeHash(salt, key), nil
}

// verify compares a password with a hash. An empty hash - no such member, or no password yet - takes as long and never fits.
// stale says that the hash was made with other parameters than today's.
func (h *hasher) verify(ctx context.Context, password, encoded string) (ok, stale bool, err error) {
	known := encoded != ""
	if !known {
		encoded = h.decoy()
	}
	p, err := parseHash(encoded)
	if err != nil {
		return false, false, fault.Wrap(fault.Internal, "account.verify", err)
	}
	if err := h.enter(ctx); err != nil {
		return false, false, err
	}
	defer func() { <-h.slots }()
	if utf8.RuneCountInString(password) > maxPassword {
		password = "" // no such password was ever accepted; the time is spent all the same
	}
	key := argon2.IDKey([]byte(norm.NFKC.String(password)), p.salt, p.time, p.memory, p.lanes, uint32(len(p.key)))
	same := subtle.ConstantTimeCompare(key, p.key) == 1
	return same && known, p.memory != argonMemory || p.time != argonTime || p.lanes != argonLanes, nil
}

type argonHash struct {
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

func encodeHash(salt, key []byte) string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, b.EncodeToString(salt), b.EncodeToString(key))
}

// parseHash reads a hash in PHC form. Its bounds keep a damaged row from asking for all memory.
func parseHash(s string) (h argonHash, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, fmt.Errorf("not an argon2id hash")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); err != nil {
		return h, fmt.Errorf("argon2id parameters")
	}
	h.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	if err == nil {
		h.key, err = base64.RawStdEncoding.DecodeString(parts[5])
	}
	if err != nil || len(h.salt) < 8 || len(h.key) < 16 || h.time < 1 || h.time > 16 || h.lanes < 1 || h.memory < 8 || h.memory > 1<<20 {
		return h, fmt.Errorf("argon2id hash out of bounds")
	}
	return h, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// newToken returns 32 random bytes as text: 43 characters of base64url.
func newToken() string { return base64.RawURLEncoding.EncodeToString(randomBytes(32)) }

// hashToken is what the database keeps of a token. Tokens are random, so the hash needs no salt.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
