package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"parley/internal/rtc"
	"parley/internal/rtc/client"
	"parley/internal/rtc/transport"
)

// house is the real engine behind an HTTP server, with one room.
type house struct {
	t      *testing.T
	url    string
	engine *rtc.Engine
}

const roomID = "room-1"

func newHouse(t *testing.T) *house {
	t.Helper()
	tr, err := transport.Open(transport.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", TURN: "127.0.0.1:0", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := rtc.New(rtc.Config{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := e.OpenRoom(roomID, 10); err != nil {
		t.Fatal(err)
	}
	return &house{t: t, url: server.URL, engine: e}
}

func (h *house) join(identity string, role rtc.Role, path client.Path) *client.Participant {
	h.t.Helper()
	token, err := h.engine.Token(rtc.Grant{Room: roomID, Identity: identity, Role: role})
	if err != nil {
		h.t.Fatal(err)
	}
	stack, err := client.NewStack(client.StackOptions{Loopback: true, Path: path})
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := client.Join(soon(h.t), client.Config{URL: h.url, Token: token, HTTP: http.DefaultClient, Stack: stack})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestEngine holds the client and the engine together, over each path that media can take.
func TestEngine(t *testing.T) {
	for name, path := range map[string]client.Path{"udp": client.UDP, "tcp": client.TCP, "relay": client.Relay, "any": client.AnyPath} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			ann, bob := h.join("ann", rtc.Publisher, path), h.join("bob", rtc.Subscriber, path)
			video, err := ann.PublishVideo(soon(t), client.Video{Simulcast: true})
			if err != nil {
				t.Fatal(err)
			}
			audio, err := ann.PublishAudio(soon(t), client.Audio{})
			if err != nil {
				t.Fatal(err)
			}
			await(t, bob, "a second of both", func(s *client.Snapshot) bool {
				v, ok1 := s.Track(video.SID())
				a, ok2 := s.Track(audio.SID())
				return ok1 && ok2 && v.Frames > 30 && v.KeyFrames > 0 && a.Packets > 50
			})
			s := bob.Snapshot()
			v, _ := s.Track(video.SID())
			a, _ := s.Track(audio.SID())
			if v.Lost+v.Duplicates+v.PictureGaps+v.Backwards+a.Lost+a.Duplicates > 0 || v.Participant != ann.Snapshot().SID {
				t.Errorf("video %+v, audio %+v", v, a)
			}
			if _, err := bob.PublishAudio(soon(t), client.Audio{}); err == nil {
				t.Error("somebody who may only watch has published")
			}
		})
	}
}

// TestEngineResume: media flow while signalling is lost, and what is published is known to who comes back.
func TestEngineResume(t *testing.T) {
	h := newHouse(t)
	ann, bob := h.join("ann", rtc.Publisher, client.UDP), h.join("bob", rtc.Publisher, client.UDP)
	audio, err := ann.PublishAudio(soon(t), client.Audio{})
	if err != nil {
		t.Fatal(err)
	}
	heard := func(more uint64) func(s *client.Snapshot) bool {
		s := bob.Snapshot()
		before, _ := s.Track(audio.SID())
		return func(s *client.Snapshot) bool {
			a, ok := s.Track(audio.SID())
			return ok && a.Packets > before.Packets+more
		}
	}
	await(t, bob, "sound", heard(10))
	ann.DropSignal()
	bob.DropSignal()
	await(t, bob, "sound without signalling", heard(10))
	for _, p := range []*client.Participant{ann, bob} {
		await(t, p, "resumed", func(s *client.Snapshot) bool { return s.Resumes == 1 && s.State == client.Connected })
	}
	await(t, bob, "sound after it", heard(50))
	video, err := ann.PublishVideo(soon(t), client.Video{Width: 320, Height: 180, Bitrate: 200_000})
	if err != nil {
		t.Fatal(err)
	}
	await(t, bob, "a track published after it", func(s *client.Snapshot) bool { v, ok := s.Track(video.SID()); return ok && v.KeyFrames > 0 })
	if err := ann.SendData(soon(t), []byte("hello"), "", true); err != nil {
		t.Fatal(err)
	}
	await(t, bob, "a data message", func(s *client.Snapshot) bool { return s.Data == 1 })
	if s := bob.Snapshot(); len(s.Tracks) != 2 {
		t.Errorf("%d tracks were received", len(s.Tracks))
	}
}
