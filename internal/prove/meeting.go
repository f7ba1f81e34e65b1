package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	rtcclient "parley/internal/rtc/client"
	"parley/internal/rtc/signal"
)

// meetWithin bounds a call that is held, from the first join to what is looked at while it lasts.
const meetWithin = time.Minute

// attendee is somebody in a call that is held: a participant with sound, as a browser is one.
type attendee struct {
	*rtcclient.Participant

	name  string // in words
	tap   *tap
	token string // that let them in
	heard chan []byte
}

// attend joins a call as the client, which tells the engine as much of itself as the address of the join can hold.
func (r *run) attend(ctx context.Context, who *client, name, prefix, id string, stack *rtcclient.Stack) (*attendee, error) {
	pass, err := r.admitted(ctx, who, prefix, id)
	if err != nil {
		return nil, err
	}
	hc := r.gate.Client("self", callWithin)
	a := &attendee{name: name, token: pass.Token, tap: &tap{next: hc.Transport, head: who.head(), query: url.Values{}}, heard: make(chan []byte, 1)}
	hc.Transport = a.tap
	a.tap.head.Del("Authorization")
	for _, key := range []string{"name", "metadata", "attributes", "sdk", "os", "browser", "device_model", "address", "network"} {
		a.tap.query.Set(key, r.drop("what "+name+" told the media engine as "+key+" of the join").token)
	}
	a.Participant, err = rtcclient.Join(ctx, rtcclient.Config{URL: r.server.url, Token: pass.Token, HTTP: hc, Stack: stack, NoResume: true,
		OnData: func(d rtcclient.Data) {
			select {
			case a.heard <- d.Payload:
			default: // one was expected
			}
		}})
	if err != nil {
		return nil, fmt.Errorf("the media engine did not let %s in: %w", name, err)
	}
	return a, nil
}

// meet has the visitor and the agent hold a call: they see and hear each other, and say things that nobody is to keep. While
// they do, and afterwards, nobody but the two knows anything of it.
func (r *run) meet(ctx context.Context, id string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, meetWithin)
	defer cancel()
	stack, err := rtcclient.NewStack(rtcclient.StackOptions{Loopback: true, Path: rtcclient.UDP})
	if err != nil {
		return err
	}
	visitor, err := r.attend(ctx, r.people.gone.client, "the visitor", "/api/v1/widget", id, stack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, visitor.Close()) }()
	agent, err := r.attend(ctx, r.people.agent, "the agent", "/api/v1", id, stack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	if err := visible(ctx, visitor, agent); err != nil {
		return fmt.Errorf("a call could not be held: %w", err)
	}
	for _, pair := range [][2]*attendee{{visitor, agent}, {agent, visitor}} {
		if err := r.tells(ctx, pair[0], pair[1]); err != nil {
			return err
		}
	}
	return r.during(ctx, visitor, agent)
}

// visible has the two publish, and waits until each receives the other.
func visible(ctx context.Context, visitor, agent *attendee) error {
	for _, a := range []*attendee{visitor, agent} {
		if _, err := a.PublishAudio(ctx, rtcclient.Audio{}); err != nil {
			return err
		}
		if _, err := a.PublishVideo(ctx, rtcclient.Video{Width: 320, Height: 180, FPS: 15, Bitrate: 150_000}); err != nil {
			return err
		}
	}
	for _, a := range []*attendee{visitor, agent} {
		err := a.Await(ctx, func(s *rtcclient.Snapshot) bool {
			sound, picture := false, false
			for _, t := range s.Tracks {
				sound = sound || t.Kind == signal.TrackType_AUDIO && t.Packets > 10
				picture = picture || t.KeyFrames > 0
			}
			return sound && picture
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tells has one participant push what names somebody at the engine, and say something to the other over it.
func (r *run) tells(ctx context.Context, from, to *attendee) error {
	told := func(what string) string { return r.drop(what + ", of " + from.name + " in the call").token }
	from.Send(&signal.SignalRequest{Message: &signal.SignalRequest_UpdateMetadata{UpdateMetadata: &signal.UpdateParticipantMetadata{RequestId: 1,
		Name: told("a name given to the media engine"), Metadata: told("metadata given to the media engine"),
		Attributes: map[string]string{"mail": told("an attribute given to the media engine")}}}})
	from.Send(&signal.SignalRequest{Message: &signal.SignalRequest_AddTrack{AddTrack: &signal.AddTrackRequest{Cid: clientID(), Type: signal.TrackType_AUDIO,
		Source: signal.TrackSource_SCREEN_SHARE_AUDIO, Name: told("a track's name"), Stream: told("a stream's name")}}})
	said := told("a data message")
	if err := from.SendData(ctx, []byte(said), told("a data message's topic"), true); err != nil {
		return fmt.Errorf("a data message could not be sent: %w", err)
	}
	select {
	case got := <-to.heard:
		if string(got) != said {
			return errors.New("a data message arrived as another")
		}
		return nil
	case <-ctx.Done():
		return errors.New("a data message did not arrive")
	}
}

// during looks through files and log while the call lasts, and at what the engine told its participants.
func (r *run) during(ctx context.Context, visitor, agent *attendee) error {
	addresses := 0
	for _, a := range []*attendee{visitor, agent} {
		n, err := r.places(a)
		if err != nil {
			return err
		}
		addresses += n
	}
	a, err := r.local().call(ctx, "GET", "/rtc/validate?access_token="+url.QueryEscape(agent.token), nil, nil)
	if err != nil {
		return err
	}
	r.found.check("I7", a.status == 200, "while a call lasts the media engine knows its room", a)
	if a, err = r.local().call(ctx, "GET", "/metrics", nil, nil); err != nil {
		return err
	}
	r.found.check("I7", figure(a.body, "parley_rtc_rooms") == "1" && figure(a.body, "parley_rtc_participants") == "2",
		"/metrics counts rooms and people in calls, and names none", figure(a.body, "parley_rtc_rooms"), figure(a.body, "parley_rtc_participants"))
	s := r.search("during a call")
	if err := errors.Join(s.dataFiles(s.data), s.logged()); err != nil {
		return err
	}
	r.found.holds("E3", "a visitor and a member saw and heard each other in a call and told the media engine names, metadata, attributes, a device and messages: none is in the log")
	r.found.holds("E2", "no address and port that a participant's media or signalling comes from, %d in all, in the stores, the files, the log or what others are told", addresses)
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		return err
	}
	if err := s.reads("what a crash would print", &stacks); err != nil {
		return err
	}
	r.found.again("I7", s.when, "no canary in what a crash of the program would print of its goroutines")
	r.toldBy(visitor)
	r.toldBy(agent)
	return nil
}

// places notes where a participant comes from, by signalling and by media, as what nobody may keep. No other program on this
// machine gets the ports while the proof lasts, so that what is found is the participant's.
func (r *run) places(a *attendee) (n int, err error) {
	note := func(at netip.AddrPort, what, network, other string) {
		if !r.hold(other, at) {
			return // the server listens there, and may say so
		}
		c := &canary{token: at.String(), what: "the address and port of " + a.name + "'s " + what, secret: true, at: at}
		r.keep(c)
		r.later = append(r.later, func() { r.hold(network, at) })
		n++
	}
	media := a.tap.places()
	if len(media) == 0 || !a.tap.from().IsValid() {
		return 0, errors.New("it is not known where a participant of the call comes from")
	}
	for _, at := range media {
		note(at, "media", "udp", "tcp")
	}
	note(a.tap.from(), "signalling", "tcp", "udp")
	return n, nil
}

// hold takes a port of this machine until the proof ends.
func (r *run) hold(network string, at netip.AddrPort) bool {
	var c io.Closer
	var err error
	if network == "udp" {
		c, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	} else {
		c, err = net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
	}
	if err == nil {
		r.held = append(r.held, c)
	}
	return err == nil
}

// toldBy looks at what the engine has told a participant: of others, and of itself.
func (r *run) toldBy(a *attendee) {
	said, raw := a.tap.answers()
	r.note(answer{call: signalling, status: 200, body: raw})
	people, offers := 0, 0
	var stray []string
	for _, m := range said {
		stray = append(stray, strayText(m.ProtoReflect())...)
		list := append(append(m.GetUpdate().GetParticipants(), m.GetJoin().GetParticipant()), m.GetJoin().GetOtherParticipants()...)
		for _, p := range list {
			if p == nil {
				continue
			}
			people++
			r.found.check("I7", slices.Contains(r.people.identities, p.GetIdentity()), "participants know each other by the random identities of their entries alone")
		}
		if sdp := m.GetOffer().GetSdp() + m.GetAnswer().GetSdp(); sdp != "" {
			offers++
			r.found.check("I6", sealed(sdp), "the media engine offers and accepts encrypted media alone (DTLS, SRTP)")
		}
	}
	r.found.check("I7", people > 2 && offers > 1 && len(stray) == 0,
		"what the media engine tells participants of each other has no name, no metadata and no attribute, though each pushed its own", people, offers, stray)
}

// sealed reports whether a session description has encrypted sections alone, and a key's fingerprint for them.
func sealed(sdp string) bool {
	sections := 0
	for line := range strings.SplitSeq(sdp, "\n") {
		if rest, ok := strings.CutPrefix(line, "m="); ok {
			sections++
			words := strings.Fields(rest)
			if len(words) < 3 || words[2] != "UDP/TLS/RTP/SAVPF" && words[2] != "UDP/DTLS/SCTP" {
				return false
			}
		}
	}
	return sections > 0 && strings.Contains(sdp, "a=fingerprint:sha-256 ")
}

// roomGone waits until the engine has forgotten a call that was ended; its entries no longer lead anywhere.
func (r *run) roomGone(ctx context.Context) error {
	var a answer
	var err error
	for range 500 {
		if a, err = r.local().call(ctx, "GET", "/metrics", nil, nil); err != nil {
			return err
		}
		if figure(a.body, "parley_rtc_rooms") == "0" && figure(a.body, "parley_rtc_participants") == "0" && figure(a.body, "parley_rtc_tracks") == "0" {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	gone := figure(a.body, "parley_rtc_rooms") == "0" && figure(a.body, "parley_rtc_participants") == "0"
	for _, token := range r.people.passes {
		a, err := r.local().call(ctx, "GET", "/rtc/validate?access_token="+url.QueryEscape(token), nil, nil)
		if err != nil {
			return err
		}
		gone = gone && a.status == 404
	}
	r.found.check("I7", gone && len(r.people.passes) > 0, "when a call is over the media engine has no room, no participant and no track of it, and its entries open nothing")
	return nil
}

// figure reads a figure without labels from /metrics; "" when it is not there.
func figure(metrics []byte, name string) string {
	for line := range strings.SplitSeq(string(metrics), "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return rest
		}
	}
	return ""
}
