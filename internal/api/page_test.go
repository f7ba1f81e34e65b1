package api_test

import (
	"slices"
	"testing"

	"parley/internal/api"
	"parley/internal/fault"
)

func TestCursor(t *testing.T) {
	c := api.EncodeCursor("1700000000000000", "0199-id")
	got, err := api.DecodeCursor(c, 2)
	if err != nil || !slices.Equal(got, []string{"1700000000000000", "0199-id"}) {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := api.DecodeCursor(c, 3); !fault.Is(err, fault.Invalid) {
		t.Errorf("wrong number of parts: %v", err)
	}
	if got, err := api.DecodeCursor("", 2); got != nil || err != nil {
		t.Errorf("empty: %q %v", got, err)
	}
	for in, want := range map[int]int{0: 50, -1: 50, 7: 7, 100: 100, 101: 100} {
		if got := (api.Page{Limit: in}).Size(); got != want {
			t.Errorf("limit %d: %d", in, got)
		}
	}
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add("", 1)
	f.Add(api.EncodeCursor("a", "b"), 2)
	f.Add("WyJhIl0", 1)
	f.Add("!!!!", 1)
	f.Add("bnVsbA", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		parts, err := api.DecodeCursor(s, n)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("not a client's error: %v", err)
			}
			return
		}
		if parts == nil {
			return
		}
		if len(parts) != n {
			t.Fatalf("%d parts instead of %d", len(parts), n)
		}
		again, err := api.DecodeCursor(api.EncodeCursor(parts...), n)
		if len(api.EncodeCursor(parts...)) <= 512 && (err != nil || !slices.Equal(again, parts)) {
			t.Fatalf("%q became %q: %v", parts, again, err)
		}
	})
}
