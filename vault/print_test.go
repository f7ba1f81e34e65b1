//go:build !parley_noop_vault

package vault_test

import (
	"bytes"
	"database/sql"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"testing"

	"parley/internal/parleytest/testdb"
	"parley/vault"
)

func TestNothingPrints(t *testing.T) {
	v, _ := at(t, testdb.SQLite(t)).open(t)
	_, conv := people(t, v, "o1")
	s := seal(t, v, conv, body, "row1")
	text, err := v.Open(as("o1"), s)
	check(t, err)
	type hidden struct{ value any }
	type deep struct {
		Sealed vault.Sealed
		Text   vault.Text
		s      vault.Sealed
		t      vault.Text
		list   []vault.Text
		by     map[string]vault.Text
	}
	d := deep{s, text, s, text, []vault.Text{text}, map[string]vault.Text{"x": text}}
	values := []any{s, &s, text, &text, d, &d, []any{s, text}, hidden{s}, hidden{text}, hidden{&text}}
	var out bytes.Buffer
	for _, val := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%10.3s", "% x"} {
			fmt.Fprintf(&out, verb+"\n", val)
		}
		fmt.Fprintln(&out, val)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", val)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", val)
	}
	for _, secret := range [][]byte{[]byte("CANARY"), []byte("row1"), s.Bytes()[30:60], fmt.Appendf(nil, "%x", "CANARY"), fmt.Appendf(nil, "%X", "CANARY"),
		[]byte(fmt.Sprint([]byte("CANARY"))[1:18]), []byte(fmt.Sprint(s.Bytes())[1:40])} {
		if bytes.Contains(out.Bytes(), secret) {
			t.Errorf("printed %q", secret)
		}
	}
	for _, val := range []any{s, text} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(verb, val); got != "[sealed]" {
				t.Errorf("%s prints %q", verb, got)
			}
		}
		if _, err := json.Marshal(val); err == nil {
			t.Error("json")
		}
		if _, err := json.Marshal(map[string]any{"x": val}); err == nil {
			t.Error("json in a map")
		}
		if _, err := xml.Marshal(val); err == nil {
			t.Error("xml")
		}
		if err := gob.NewEncoder(&out).Encode(val); err == nil {
			t.Error("gob")
		}
	}
	if json.Unmarshal([]byte(`"x"`), &s) == nil {
		t.Error("a client's JSON became a sealed value")
	}
}

var _ sql.Scanner = (*vault.Sealed)(nil)
