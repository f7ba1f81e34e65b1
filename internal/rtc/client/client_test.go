package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

func joined(t *testing.T, m *mirror, change func(*client.Config)) *client.Participant {
	t.Helper()
	stack, err := client.NewStack(client.StackOptions{Loopback: true, Path: client.UDP})
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{URL: m.URL, Token: goodToken, HTTP: http.DefaultClient, Stack: stack}
	if change != nil {
		change(&cfg)
	}
	p, err := client.Join(soon(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// soon is how long a test waits for what should come at once.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func await(t *testing.T, p *client.Participant, what string, cond func(*client.Snapshot) bool) {
	t.Helper()
	if err := p.Await(soon(t), cond); err != nil {
		t.Fatalf("%s: %v; %+v", what, err, p.Snapshot())
	}
}

func TestJoinPublishReceive(t *testing.T) {
	m := newMirror(t)
	p := joined(t, m, nil)
	await(t, p, "connected", func(s *client.Snapshot) bool { return s.State == client.Connected })
	s := p.Snapshot()
	if s.SID != selfSID || s.Identity != "self" || s.Room != "room" || len(s.Participants) != 1 || s.Participants[0].GetSid() != otherSID {
		t.Errorf("arrived as %+v", s)
	}
	video, err := p.PublishVideo(soon(t), client.Video{Width: 640, Height: 360, Bitrate: 600_000})
	if err != nil {
		t.Fatal(err)
	}
	audio, err := p.PublishAudio(soon(t), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, p, "half a second of both", func(s *client.Snapshot) bool {
		v, ok1 := s.Track(video.SID())
		a, ok2 := s.Track(audio.SID())
		return ok1 && ok2 && v.Frames > 15 && v.KeyFrames > 0 && a.Packets > 25
	})
	s = p.Snapshot()
	v, _ := s.Track(video.SID())
	a, _ := s.Track(audio.SID())
	if v.KeyFrames == 0 || v.Width != 640 || v.Height != 360 || v.Participant != otherSID || v.Kind != signal.TrackType_VIDEO || a.Kind != signal.TrackType_AUDIO {
		t.Errorf("video %+v, audio %+v", v, a)
	}
	if v.Lost+v.Duplicates+v.PictureGaps+v.Backwards+a.Lost+a.Duplicates > 0 {
		t.Errorf("something is missing on the loopback: video %+v, audio %+v", v, a)
	}
	if v.Delay.N == 0 || v.Delay.Quantile(0.5) > time.Second || a.Delay.N == 0 {
		t.Errorf("delays: %d video packets, %s; %d audio packets", v.Delay.N, v.Delay.Quantile(0.5), a.Delay.N)
	}
	marks := s.Marks
	for name, at := range map[string]time.Time{"joined": marks.Joined, "connected": marks.Connected, "publishing": marks.Publishing, "first packet": marks.FirstPacket, "first key frame": marks.FirstKeyFrame} {
		if at.Before(marks.Began) {
			t.Errorf("%s: %v, and it began %v", name, at, marks.Began)
		}
	}
	if sent := video.Sent(); sent.Frames < v.Frames || sent.Packets < v.Packets {
		t.Errorf("received %+v of %+v", v, sent)
	}
}

func TestSimulcast(t *testing.T) {
	m := newMirror(t)
	p := joined(t, m, nil)
	video, err := p.PublishVideo(soon(t), client.Video{Simulcast: true})
	if err != nil {
		t.Fatal(err)
	}
	for rid, width := range map[string]int{"q": 320, "h": 640, "f": 1280} {
		await(t, p, "layer "+rid, func(s *client.Snapshot) bool {
			l, ok := s.Track(video.SID() + "-" + rid)
			return ok && l.Frames > 10 && l.KeyFrames > 0 && l.Width == width
		})
	}
	// a decoder that came late asks
	if err := p.AskKeyFrame(video.SID() + "-h"); err != nil {
		t.Fatal(err)
	}
	await(t, p, "a key frame that was asked for", func(s *client.Snapshot) bool {
		l, _ := s.Track(video.SID() + "-h")
		return l.KeyFrames > 1 && l.Width == 640 && video.Sent().Asks > 0
	})
	m.say(&signal.SignalResponse{Message: &signal.SignalResponse_SubscribedQualityUpdate{SubscribedQualityUpdate: &signal.SubscribedQualityUpdate{
		TrackSid: video.SID(), SubscribedQualities: []*signal.SubscribedQuality{{Quality: signal.VideoQuality_HIGH}, {Quality: signal.VideoQuality_LOW, Enabled: true}}}}})
	count := func(rid string) uint64 {
		s := p.Snapshot()
		l, _ := s.Track(video.SID() + "-" + rid)
		return l.Frames
	}
	await(t, p, "only the layers that are watched", func(*client.Snapshot) bool {
		f, q := count("f"), count("q")
		time.Sleep(200 * time.Millisecond) // six frames
		return count("f") == f && count("q") > q
	})
}

func TestMuteAndUnpublish(t *testing.T) {
	m := newMirror(t)
	p := joined(t, m, nil)
	audio, err := p.PublishAudio(soon(t), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	packets := func() uint64 {
		s := p.Snapshot()
		a, _ := s.Track(audio.SID())
		return a.Packets
	}
	await(t, p, "sound", func(*client.Snapshot) bool { return packets() > 10 })
	audio.Mute(true)
	await(t, p, "silence", func(*client.Snapshot) bool {
		n := packets()
		time.Sleep(100 * time.Millisecond) // five packets
		return packets() == n
	})
	audio.Mute(false)
	n := packets()
	await(t, p, "sound again", func(*client.Snapshot) bool { return packets() > n+5 })
	if err := audio.Unpublish(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	muted := m.mute
	m.mu.Unlock()
	if len(muted) != 2 || !muted[0] || muted[1] {
		t.Errorf("the server was told %v", muted)
	}
	if _, err := p.PublishVideo(soon(t), client.Video{Source: signal.TrackSource_SCREEN_SHARE}); err == nil {
		t.Error("a track that the server refused was published")
	}
}

func TestData(t *testing.T) {
	m := newMirror(t)
	got := make(chan client.Data, 10)
	p := joined(t, m, func(c *client.Config) { c.OnData = func(d client.Data) { got <- d } })
	for _, reliable := range []bool{true, false} {
		if err := p.SendData(soon(t), []byte("hello"), "greeting", reliable); err != nil {
			t.Fatal(err)
		}
		select {
		case d := <-got:
			if string(d.Payload) != "hello" || d.Topic != "greeting" || d.From != "mirror" {
				t.Errorf("got %+v", d)
			}
		case <-soon(t).Done():
			t.Fatal("nothing came back")
		}
	}
}

func TestResume(t *testing.T) {
	m := newMirror(t)
	got := make(chan client.Data, 10)
	p := joined(t, m, func(c *client.Config) { c.OnData = func(d client.Data) { got <- d } })
	audio, err := p.PublishAudio(soon(t), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.SendData(soon(t), []byte("x"), "", true); err != nil {
			t.Fatal(err)
		}
		<-got
	}
	await(t, p, "sound", func(s *client.Snapshot) bool { a, ok := s.Track(audio.SID()); return ok && a.Packets > 10 })
	p.DropSignal()
	await(t, p, "resumed", func(s *client.Snapshot) bool { return s.Resumes == 1 && s.State == client.Connected })
	s := p.Snapshot()
	a, _ := s.Track(audio.SID())
	await(t, p, "sound after it", func(s *client.Snapshot) bool { b, _ := s.Track(audio.SID()); return b.Packets > a.Packets+25 })
	await(t, p, "what was told", func(*client.Snapshot) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.sync != nil && len(m.sync.GetPublishTracks()) == 1 && len(m.sync.GetDataChannels()) == 2 && m.sync.GetAnswer() != nil &&
			strings.Contains(m.queries[1], "reconnect=1") && strings.Contains(m.queries[1], "sid="+selfSID)
	})
	// the server said that it has the first message only: the second is said again, and known already
	if err := p.SendData(soon(t), []byte("y"), "", true); err != nil {
		t.Fatal(err)
	}
	if d := <-got; string(d.Payload) != "y" {
		t.Errorf("a message came twice: %q", d.Payload)
	}
}

func TestEnds(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		m := newMirror(t)
		_, err := client.Join(soon(t), client.Config{URL: m.URL, Token: "forged-token", HTTP: http.DefaultClient})
		var refused *client.RefusedError
		if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || strings.Contains(err.Error(), "forged-token") {
			t.Errorf("joined with a forged token: %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		_, err := client.Join(soon(t), client.Config{URL: "http://127.0.0.1:9", Token: "secret-token", HTTP: http.DefaultClient})
		if err == nil || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%v", err)
		}
	})
	t.Run("sent away", func(t *testing.T) {
		m := newMirror(t)
		p := joined(t, m, nil)
		m.say(&signal.SignalResponse{Message: &signal.SignalResponse_Leave{Leave: &signal.LeaveRequest{Reason: signal.DisconnectReason_SERVER_SHUTDOWN}}})
		<-p.Done()
		var ended *client.EndedError
		if err := p.Snapshot().Err; !errors.As(err, &ended) || ended.Reason != signal.DisconnectReason_SERVER_SHUTDOWN {
			t.Errorf("ended with %v", err)
		}
		if _, err := p.PublishAudio(soon(t), client.Audio{}); err == nil {
			t.Error("published after the end")
		}
		if err := p.SendData(soon(t), nil, "", true); err == nil {
			t.Error("sent after the end")
		}
	})
	t.Run("not taken back", func(t *testing.T) {
		m := newMirror(t)
		p := joined(t, m, nil)
		m.mu.Lock()
		m.leave = &signal.LeaveRequest{Reason: signal.DisconnectReason_STATE_MISMATCH, Action: signal.LeaveRequest_RECONNECT}
		m.mu.Unlock()
		p.DropSignal()
		<-p.Done()
		var ended *client.EndedError
		if err := p.Snapshot().Err; !errors.As(err, &ended) || ended.Action != signal.LeaveRequest_RECONNECT {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("without resuming", func(t *testing.T) {
		m := newMirror(t)
		p := joined(t, m, func(c *client.Config) { c.NoResume = true })
		m.drop()
		<-p.Done()
		if s := p.Snapshot(); s.State != client.Ended || s.Err == nil {
			t.Errorf("%+v", s)
		}
	})
	t.Run("pings", func(t *testing.T) {
		m := newMirror(t)
		p := joined(t, m, nil)
		await(t, p, "a ping", func(*client.Snapshot) bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.pings > 0
		})
	})
}
