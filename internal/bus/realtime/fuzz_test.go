package realtime_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"parley/internal/bus/realtime"
)

func FuzzDecodeCommands(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"id":1,"connect":{"token":"t","data":{"a":[1,2,{}]},"name":"js"}}`,
		`{"id":2,"subscribe":{"channel":"conv:1","flag":1}}` + "\n" + `{"id":3,"rpc":{"method":"send","data":{"body":"\ud83d\ude00"}}}`,
		`{"id":4,"unsubscribe":{"channel":"conv:1"}}`, `{"id":5,"presence":{"channel":"x"}}`, `{"id":6,"refresh":{"token":"t"}}`,
		`{"send":{"data":1}}`, `{"id":-1}`, `{"id":1e3,"rpc":{}}`, `{"id":1,"rpc":null}`, "\n\n{}\n", `{"ID":1,"Rpc":{}}`,
		"{\"id\":1,\"rpc\":{\"method\":\"\xff\"}}", `{"id":1,"id":2,"rpc":{},"rpc":{"data":"\u0000"}}`, `[[[[[[`, `{"a":{"a":{"a":{}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		commands, err := realtime.DecodeCommands(frame)
		if !bytes.Equal(before, frame) {
			t.Fatal("the frame was changed")
		}
		if err != nil {
			if commands != nil {
				t.Fatal("commands beside an error")
			}
			return
		}
		if len(commands) == 0 || !utf8.Valid(frame) {
			t.Fatalf("%d commands from %q", len(commands), frame)
		}
		for i := range frame {
			frame[i] = 0 // what was decoded must stand by itself
		}
		for _, c := range commands {
			if c.RPC != nil && c.RPC.Data != nil && !json.Valid(c.RPC.Data) {
				t.Fatalf("data is not JSON: %q", c.RPC.Data)
			}
			if c.Pong() && c.ID != 0 {
				t.Fatal("a pong with an id")
			}
			if c.ID == 0 && !c.Pong() && c.Send == nil {
				t.Fatalf("a command without an id: %+v", c)
			}
		}
	})
}

func FuzzDecodeRelayed(f *testing.F) {
	header := append([]byte{1}, make([]byte, 16)...)
	for _, seed := range [][]byte{
		nil, header, append(bytes.Clone(header), "p\x06conv:1\x03abc"...), append(bytes.Clone(header), "d\x08member:1\x00g\x00\x00"...),
		append(bytes.Clone(header), 'p', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), append(bytes.Clone(header), "p\x05a"...), {2},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var bytesOut int
		err := realtime.DecodeRelayed(message, func(_ [16]byte, _ byte, name string, body []byte) {
			bytesOut += 3 + len(name) + len(body)
			_ = append(body, 1) // must not reach into the next record
		})
		if bytesOut > len(message) {
			t.Fatalf("%d bytes out of %d", bytesOut, len(message))
		}
		if err == nil && len(message) < 17 {
			t.Fatal("a message without a header was read")
		}
	})
}
