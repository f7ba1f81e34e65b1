package prove_test

import (
	"bytes"
	"slices"
	"testing"

	"parley/internal/prove"
	"parley/internal/rtc/signal"
)

// What participants and the media engine say to each other is read off the wire: masked, in pieces, of every length.
func TestMessagesAreRead(t *testing.T) {
	long := bytes.Repeat([]byte("z"), 300)
	wire := slices.Concat(
		[]byte{0x82, 2, 'h', 'i'},
		[]byte{0x82, 0x83, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3},        // masked
		[]byte{0x02, 1, 'd'}, []byte{0x89, 1, 'p'}, []byte{0x80, 1, 'e'}, // in two pieces, with a ping between
		[]byte{0x82, 126, 1, 44}, long,
		[]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 1, 44}, long,
		[]byte{0x82, 0},
		[]byte{0x82, 5, 'c', 'u', 't'})
	want := [][]byte{[]byte("hi"), []byte("abc"), []byte("de"), long, long, nil}
	if got := prove.Messages(wire); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("read %q, want %q", got, want)
	}
	for n := range wire {
		prove.Messages(wire[:n]) // what is not complete is no reason to fail
	}
}

// A name is found wherever the media engine could put it; the room's own, which is the call's id, is none.
func TestStrayTextIsFound(t *testing.T) {
	track := []*signal.TrackInfo{{Sid: "TR_1", Name: "x"}}
	m := &signal.SignalResponse{Message: &signal.SignalResponse_Join{Join: &signal.JoinResponse{Room: &signal.Room{Name: "call", Metadata: "x"},
		Participant:       &signal.ParticipantInfo{Identity: "i", Attributes: map[string]string{"mail": "x"}},
		OtherParticipants: []*signal.ParticipantInfo{{Identity: "j"}, {Identity: "k", Name: "x", Tracks: track}}}}}
	got := prove.StrayText(m)
	slices.Sort(got)
	if want := []string{"ParticipantInfo.attributes", "ParticipantInfo.name", "Room.metadata", "TrackInfo.name"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got := prove.StrayText(&signal.SignalResponse{}); len(got) > 0 {
		t.Errorf("found %v in nothing", got)
	}
}
