package account_test

import (
	"strings"
	"testing"

	"parley/account"
)

func FuzzCookie(f *testing.F) {
	token := strings.Repeat("aB3_", 10) + "-zZ"
	f.Add("parley="+token, "")
	f.Add("a=b; parley="+token+"; c", "parley="+token)
	f.Add("parley="+token, "parley="+strings.ToUpper(token))
	f.Add(`parley="`+token+`"`, ";;==;")
	f.Fuzz(func(t *testing.T, one, two string) {
		got := account.CookieToken([]string{one, two}, "parley")
		if got == "" {
			return
		}
		if len(got) != 43 || strings.ContainsAny(got, "; =\"\x00") || !strings.Contains(one+two, "parley="+got) {
			t.Fatalf("%q from %q, %q", got, one, two)
		}
	})
}

func FuzzPasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=47104,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=99999999999,t=1,p=1$AA$AA")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) { _ = account.ParseHash(s) })
}

func FuzzSpill(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0x43, 0xbf, 0xa6, 0xa3, '{', '}', 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, end := account.ParseSpill(b)
		if end < 8*n || end > len(b) {
			t.Fatalf("%d entries end at %d of %d", n, end, len(b))
		}
	})
}
