package bench_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"parley/internal/bench"
	"parley/internal/rtc"
	"parley/internal/rtc/transport"
)

// TestLiveKit measures a server as if it were a LiveKit one: it knows a key and a secret, and opens rooms for whoever comes. Behind
// its door is our engine.
func TestLiveKit(t *testing.T) {
	tr, err := transport.Open(transport.Config{UDP: "127.0.0.1:0", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := rtc.New(rtc.Config{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		var claims struct {
			jwt.RegisteredClaims

			Video struct {
				Room     string
				RoomJoin bool
			}
		}
		_, err := jwt.ParseWithClaims(q.Get("access_token"), &claims, func(*jwt.Token) (any, error) { return []byte("the secret"), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("the key"), jwt.WithExpirationRequired())
		if err != nil || !claims.Video.RoomJoin {
			http.Error(w, "no such token", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		if !open[claims.Video.Room] {
			open[claims.Video.Room] = true
			err = e.OpenRoom(claims.Video.Room, 100)
		}
		mu.Unlock()
		token, err2 := e.Token(rtc.Grant{Room: claims.Video.Room, Identity: claims.Subject, Role: rtc.Publisher})
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
		q.Set("access_token", token)
		r.URL.RawQuery = q.Encode()
		e.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	o := bench.VideoOptions{Watchers: 2, Rooms: 1, PerRoom: 2, Joins: 2, Seconds: 1, Bitrate: 200_000, Dir: t.TempDir(),
		LiveKit: bench.LiveKit{URL: server.URL, Key: "the key", Secret: "the secret"}}
	r, err := bench.Video(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.Setup.Server != "livekit" || r.Joins.FirstKeyFrame.Count != 2 || len(r.Loads) != 2 {
		t.Fatalf("the report is not complete: %+v", r)
	}
	for _, l := range r.Loads {
		if l.Forwarded == 0 || l.Missing == nil || *l.Missing != 0 || l.Lost != 0 || l.ServerUSPerPacket != 0 {
			t.Errorf("load %s: %+v", l.Name, l)
		}
	}
	o.LiveKit.Secret = "another"
	if _, err := bench.Video(t.Context(), o, io.Discard); err == nil {
		t.Error("a forged token let somebody in")
	}
}
