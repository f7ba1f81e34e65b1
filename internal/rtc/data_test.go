package rtc_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// inbox is what data messages a participant got.
type inbox struct {
	mu   sync.Mutex
	got  []client.Data
	news chan struct{}
}

func newInbox() *inbox { return &inbox{news: make(chan struct{}, 1)} }

func (b *inbox) into(cfg *client.Config) {
	cfg.OnData = func(d client.Data) {
		b.mu.Lock()
		b.got = append(b.got, d)
		b.mu.Unlock()
		select {
		case b.news <- struct{}{}:
		default:
		}
	}
}

// await waits for a message on the topic, and returns how many there are on it.
func (b *inbox) await(t *testing.T, topic string) (first client.Data, count int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		for _, d := range b.got {
			if d.Topic == topic {
				if count == 0 {
					first = d
				}
				count++
			}
		}
		b.mu.Unlock()
		if count > 0 {
			return first, count
		}
		select {
		case <-b.news:
		case <-deadline:
			t.Fatalf("nothing comes on %q", topic)
		}
	}
}

func send(t *testing.T, w *world, p *client.Participant, topic, text string, reliable bool, to ...string) {
	t.Helper()
	if err := p.SendData(w.ctx(), []byte(text), topic, reliable, to...); err != nil {
		t.Fatal(err)
	}
}

func TestDataReachesThoseItIsFor(t *testing.T) {
	w := newWorld(t, nil)
	w.open("room")
	w.open("other")
	toBen, toCleo, toDan := newInbox(), newInbox(), newInbox()
	anna := w.join("room", "anna", rtc.Publisher)
	ben := w.join("room", "ben", rtc.Subscriber, toBen.into)
	w.join("room", "cleo", rtc.Publisher, toCleo.into)
	dan := w.join("other", "dan", rtc.Publisher, toDan.into)
	send(t, w, anna, "all", "hello", true)
	for name, b := range map[string]*inbox{"ben": toBen, "cleo": toCleo} {
		if d, n := b.await(t, "all"); string(d.Payload) != "hello" || d.From != "anna" || !d.Reliable || n != 1 {
			t.Errorf("%s got %d times %+v", name, n, d)
		}
	}
	send(t, w, anna, "lossy", "hello", false)
	if d, _ := toBen.await(t, "lossy"); d.Reliable {
		t.Errorf("a lossy message came as %+v", d)
	}
	send(t, w, anna, "secret", "for cleo", true, "cleo")
	send(t, w, anna, "last", "for all", true)
	toCleo.await(t, "secret")
	toBen.await(t, "last")
	toBen.mu.Lock()
	for _, d := range toBen.got {
		if d.Topic == "secret" {
			t.Error("ben got what was for cleo")
		}
	}
	toBen.mu.Unlock()
	// The other room got nothing; its own participant's message is the first that could be there.
	erin := newInbox()
	w.join("other", "erin", rtc.Subscriber, erin.into)
	send(t, w, dan, "own", "hello", true)
	erin.await(t, "own")
	toDan.mu.Lock()
	if len(toDan.got) > 0 {
		t.Errorf("the other room got %+v", toDan.got)
	}
	toDan.mu.Unlock()
	// Who only watches has no voice.
	before := w.Stats().DataOut
	_ = ben.Close()
	w.awaitEvent(rtc.ParticipantLeft, "ben")
	if after := w.Stats().DataOut; after != before {
		t.Errorf("%d messages came from ben", after-before)
	}
}

func TestDataThatIsTooMuch(t *testing.T) {
	var c clock
	w := newWorld(t, func(cfg *rtc.Config) {
		cfg.Now = c.now
		cfg.Limits.DataRefusals = 300
	})
	w.open("room")
	toBen := newInbox()
	anna := w.join("room", "anna", rtc.Publisher)
	mallory := w.join("room", "mallory", rtc.Publisher)
	w.join("room", "ben", rtc.Publisher, toBen.into)
	send(t, w, mallory, "big", strings.Repeat("x", 20<<10), true)
	send(t, w, mallory, "small", "fits", true)
	toBen.await(t, "small")
	toBen.mu.Lock()
	for _, d := range toBen.got {
		if d.Topic == "big" {
			t.Error("a message of 20 KiB was delivered")
		}
	}
	toBen.mu.Unlock()
	for i := range 5000 {
		if err := mallory.SendData(w.ctx(), []byte("flood"), "flood", false); err != nil {
			break // sent away already
		}
		if i == 100 {
			send(t, w, anna, "meanwhile", "hello", true)
		}
		if mallory.Snapshot().State == client.Ended {
			break
		}
	}
	if e := ended(t, mallory); e.Reason != signal.DisconnectReason_PARTICIPANT_REMOVED {
		t.Errorf("who floods ends with %v", e)
	}
	toBen.await(t, "meanwhile")
	send(t, w, anna, "after", "hello", true)
	toBen.await(t, "after")
	if s := w.Stats(); s.DataRefused < 300 || s.Misbehaved != 1 {
		t.Errorf("the figures are %+v", s)
	}
}

// Whoever does not read misses messages; the others do not.
func TestASlowReaderIsAlone(t *testing.T) {
	w := newWorld(t, func(cfg *rtc.Config) {
		cfg.Limits.DataPerSecond, cfg.Limits.DataBurst = 1e6, 1e6
		cfg.Limits.DataBytesPerSecond, cfg.Limits.DataBytesBurst = 1e9, 1e9
		cfg.Limits.DataBuffer = 256 << 10
	})
	w.open("room")
	quick := newInbox()
	stuck := make(chan struct{})
	anna := w.join("room", "anna", rtc.Publisher)
	w.join("room", "ben", rtc.Publisher, quick.into)
	w.join("room", "slow", rtc.Publisher, func(cfg *client.Config) { cfg.OnData = func(client.Data) { <-stuck } })
	t.Cleanup(func() { close(stuck) })
	sound, err := anna.PublishAudio(w.ctx(), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 10<<10)
	for i := range 40 {
		for range 10 {
			send(t, w, anna, "many", text, true)
		}
		end := "end " + strconv.Itoa(i)
		send(t, w, anna, end, "hello", true)
		quick.await(t, end)
	}
	if _, n := quick.await(t, "many"); n != 400 {
		t.Errorf("of 400 messages %d came", n)
	}
	if w.Stats().DataDropped == 0 {
		t.Error("nothing was dropped for the slow one")
	}
	info, _ := w.Room("room")
	if len(info.Participants) != 3 {
		t.Errorf("there are %d participants", len(info.Participants))
	}
	await(t, anna, "anna still stands", func(s *client.Snapshot) bool { return s.State == client.Connected })
	await(t, anna, "and so does her sound", func(*client.Snapshot) bool { return sound.Sent().Packets > 50 })
}
