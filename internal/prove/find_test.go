package prove_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"parley/internal/prove"
)

const token, value = "zr4mtk7wq2vhn9cdxg3yae", "Zr4mtk7wq2vhn9cdxg3yae@visitors.example"

// Every form is made here by other means than the search's own, with something else around it.
func TestFormsAreFound(t *testing.T) {
	wide := func(s string) (little []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			little = append(little, byte(u), byte(u>>8))
		}
		return little
	}
	escaped := ""
	for _, r := range token {
		escaped += `\u` + hex.EncodeToString([]byte{0, byte(r)})
	}
	quoted, err := json.Marshal("ü <" + token + ">")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"plain":             []byte("name=" + token + "&"),
		"upper case":        []byte(strings.ToUpper(token)),
		"UTF-16":            wide("Vera " + token),
		"hex":               []byte(hex.EncodeToString([]byte("x" + token))),
		"upper-case hex":    []byte(strings.ToUpper(hex.EncodeToString([]byte(token)))),
		"URL":               []byte(url.QueryEscape("a b " + token)),
		"URL, all escaped":  []byte(strings.ReplaceAll(strings.ReplaceAll(escaped, `\u00`, "%"), " ", "")),
		"JSON":              quoted,
		"JSON, all escaped": []byte(escaped),
		"base64, std":       []byte(base64.StdEncoding.EncodeToString([]byte(token))),
		"base64, 1":         []byte(base64.RawURLEncoding.EncodeToString([]byte("?" + token + "??"))),
		"base64, 2":         []byte(base64.StdEncoding.EncodeToString([]byte("~~" + token + "~"))),
		"base64, 3":         []byte(base64.StdEncoding.EncodeToString([]byte("ÿÿ\xff" + token))),
		"base64, upper":     []byte(base64.StdEncoding.EncodeToString([]byte("/" + strings.ToUpper(token)))),
	} {
		at, pieces := prove.Finds(token, value, data)
		if len(at) == 0 || !maps.Equal(at, pieces) {
			t.Errorf("%s: found as %v, piece by piece as %v", name, at, pieces)
		}
	}
}

// What is found does not depend on where it stands, and nothing is found where nothing is.
func TestSearchAnywhere(t *testing.T) {
	noise := make([]byte, prove.PieceSize+prove.PieceSize/3)
	for i, src := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(src.Uint32())
	}
	if at, pieces := prove.Finds(token, value, noise); len(at)+len(pieces) > 0 {
		t.Fatalf("found in noise: %v %v", at, pieces)
	}
	forms := prove.Forms(token, value)
	if len(forms) < 14 {
		t.Errorf("only %d forms are looked for", len(forms))
	}
	for name, form := range forms {
		for _, offset := range []int{0, 1, prove.PieceSize - len(form), prove.PieceSize - 1, prove.PieceSize, len(noise) - len(form)} {
			data := slices.Clone(noise)
			copy(data[offset:], form)
			at, pieces := prove.Finds(token, value, data)
			if !at[name] || !pieces[name] {
				t.Errorf("%s at %d: found %v, piece by piece %v", name, offset, at[name], pieces[name])
			}
		}
	}
	if at, _ := prove.Finds(token, value, []byte(token[:len(token)-1])); len(at) > 0 {
		t.Errorf("found in a part of the token: %v", at)
	}
}

func TestMonitorQuoting(t *testing.T) {
	got := prove.Unescaped(`1700000000.1 [0 127.0.0.1:1] "PUBLISH" "a\"b" "z\x00r\x00\\n\n"`)
	if want := "1700000000.1 [0 127.0.0.1:1] \"PUBLISH\" \"a\"b\" \"z\x00r\x00\\n\n\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("name="+token), 3)
	f.Add(bytes.Repeat([]byte{0}, 64), 0)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		if at < 0 || at > len(data) || bytes.Contains(bytes.ToLower(data), []byte(token)) {
			return
		}
		with := slices.Concat(data[:at], []byte(token), data[at:])
		if found, _ := prove.Finds(token, value, with); !found["as it is"] {
			t.Errorf("not found in %q", with)
		}
	})
}
