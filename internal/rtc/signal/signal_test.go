package signal_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"parley/internal/rtc/signal"
)

// The fixtures come of LiveKit's npm package (web/scripts/signal-fixtures.mjs): the protocol as browsers speak it.
const (
	fields   = "testdata/livekit-fields.txt"
	messages = "testdata/livekit-messages.jsonl"
)

// TestNumbers compares every field and every enum value of ours with the same one of LiveKit's.
func TestNumbers(t *testing.T) {
	text, err := os.ReadFile(fields)
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		theirs[strings.TrimSuffix(line, "\n")] = true
	}
	file := signal.File_signal_proto
	checked := 0
	check := func(line string) {
		checked++
		if !theirs[line] {
			t.Errorf("LiveKit's protocol has no %q", line)
		}
	}
	enums(file.Enums(), check)
	each(file.Messages(), check)
	if checked < 300 {
		t.Errorf("only %d fields and values were looked at", checked)
	}
}

func each(list protoreflect.MessageDescriptors, check func(string)) {
	for i := range list.Len() {
		m := list.Get(i)
		if m.IsMapEntry() {
			continue
		}
		for j := range m.Fields().Len() {
			check(line(m, m.Fields().Get(j)))
		}
		enums(m.Enums(), check)
		each(m.Messages(), check)
	}
}

func enums(list protoreflect.EnumDescriptors, check func(string)) {
	for i := range list.Len() {
		e := list.Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			check(strings.Join([]string{local(e), string(v.Name()), fmt.Sprint(v.Number()), "value", "-", "-"}, "\t"))
		}
	}
}

func local(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), "livekit.")
}

func line(m protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) string {
	often, oneof := "single", "-"
	switch o := f.ContainingOneof(); {
	case f.IsList():
		often = "repeated"
	case o != nil && o.IsSynthetic():
		often = "optional"
	case o != nil:
		oneof = string(o.Name())
	}
	kind := typeName(f)
	if f.IsMap() {
		kind = "map " + typeName(f.MapKey()) + " " + typeName(f.MapValue())
	}
	return strings.Join([]string{local(m), string(f.Name()), fmt.Sprint(f.Number()), often, kind, oneof}, "\t")
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil && !f.IsMap():
		return local(f.Message())
	case f.Enum() != nil:
		return local(f.Enum())
	default:
		return f.Kind().String()
	}
}

// fixture is one message as LiveKit's package wrote it.
type fixture struct {
	Message, Choice string
	Binary          []byte
	JSON            map[string]any
}

func load(t testing.TB) (all []fixture) {
	t.Helper()
	f, err := os.Open(messages)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x fixture
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return all
}

func empty(name string) proto.Message {
	switch name {
	case "livekit.SignalRequest":
		return &signal.SignalRequest{}
	case "livekit.SignalResponse":
		return &signal.SignalResponse{}
	case "livekit.ClientInfo":
		return &signal.ClientInfo{}
	default:
		return &signal.DataPacket{}
	}
}

// TestReadsLiveKit decodes what LiveKit's package encoded: what we know of it means the same, and nothing of the rest is lost on the way.
func TestReadsLiveKit(t *testing.T) {
	for _, x := range load(t) {
		t.Run(strings.TrimPrefix(x.Message, "livekit.")+"/"+x.Choice, func(t *testing.T) {
			m := empty(x.Message)
			if err := proto.Unmarshal(x.Binary, m); err != nil {
				t.Fatal(err)
			}
			if m.ProtoReflect().Descriptor().FullName() != protoreflect.FullName(x.Message) {
				t.Fatalf("the fixture is a %s", x.Message)
			}
			text, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var ours any
			if err := json.Unmarshal(text, &ours); err != nil {
				t.Fatal(err)
			}
			for _, d := range differs("", ours, x.JSON) {
				t.Error(d)
			}
			again, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			back := empty(x.Message)
			if err := proto.Unmarshal(again, back); err != nil || !proto.Equal(m, back) || len(again) != len(x.Binary) {
				t.Errorf("%d bytes became %d on the way through (%v)", len(x.Binary), len(again), err)
			}
		})
	}
}

// differs finds what of ours is not so in theirs; theirs may have more.
func differs(path string, ours, theirs any) (found []string) {
	switch o := ours.(type) {
	case map[string]any:
		t, ok := theirs.(map[string]any)
		if !ok {
			return []string{path + " is not an object there"}
		}
		for k, v := range o {
			found = append(found, differs(path+"."+k, v, t[k])...)
		}
	case []any:
		t, ok := theirs.([]any)
		if !ok || len(t) != len(o) {
			return []string{path + " is another list there"}
		}
		for i := range o {
			found = append(found, differs(fmt.Sprintf("%s[%d]", path, i), o[i], t[i])...)
		}
	default:
		if !reflect.DeepEqual(ours, theirs) {
			return []string{fmt.Sprintf("%s is %v here and %v there", path, ours, theirs)}
		}
	}
	return found
}

// FuzzMessages: bytes from outside never panic, and what was read can be written and read again.
func FuzzMessages(f *testing.F) {
	for _, x := range load(f) {
		f.Add(x.Binary)
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0x0a}, 200)) // lengths within lengths
	f.Add([]byte{0xfa, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []proto.Message{&signal.SignalRequest{}, &signal.SignalResponse{}, &signal.DataPacket{}} {
			if proto.Unmarshal(data, m) != nil {
				continue
			}
			again, err := proto.Marshal(m)
			if err != nil {
				t.Fatalf("%x was read but not written: %v", data, err)
			}
			back := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(again, back); err != nil {
				t.Fatalf("%x was written as %x, which is not read: %v", data, again, err)
			}
			if twice, err := proto.Marshal(back); err != nil || len(twice) != len(again) {
				t.Fatalf("%x became %x", again, twice)
			}
		}
	})
}
