package prove

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"parley/internal/db"
	"parley/internal/rtc/signal"
)

// signalling is how frames of the media engine's socket are called among the answers. They show nobody to anybody.
const signalling = "frames of the signalling"

// call is what the proof reads of a call.
type call struct {
	ID, State    string
	Participants []struct{ ID, Name, Kind string }
}

// calls lets the visitor who is erased and the agent call each other, and tells the media engine names and addresses, as a client
// may that means well or ill. Nothing of it may stay anywhere.
func (r *run) calls(ctx context.Context) error {
	p := &r.people
	r.erasing = true
	defer func() { r.erasing = false }()
	start := map[string]string{"client_id": clientID(), "media": "video"}
	path := "/conversations/" + p.gone.conversations[0] + "/calls"
	off := r.opt.Redis != "" // a call's room is in one process, and behind Redis there may be several
	if off {
		a, err := p.gone.call(ctx, "POST", "/api/v1/widget"+path, start, nil)
		if err != nil {
			return err
		}
		if !a.is(503, "calls_off") {
			return fmt.Errorf("a call where calls are off was answered with %s", a)
		}
		r.found.holds("I7", "behind Redis there are no calls: none was held in this proof, and one that was asked for is refused")
	}
	var c call
	if !off {
		if err := p.gone.must(ctx, "POST", "/api/v1/widget"+path, start, &c); err != nil {
			return err
		}
		if err := p.agent.must(ctx, "POST", "/api/v1/calls/"+c.ID+"/accept", nil, &c); err != nil {
			return err
		}
		p.call = c.ID
	}
	both := []struct {
		*client
		prefix, surface string
	}{{p.gone.client, "/api/v1/widget", "widget"}, {p.agent, "/api/v1", "console"}}
	for _, who := range both {
		if err := r.told16(ctx, who.client, who.prefix, who.surface, c.ID); err != nil {
			return err
		}
	}
	if !off {
		err := r.meet(ctx, c.ID)
		for _, do := range r.later {
			do()
		}
		if err != nil {
			return err
		}
		for _, who := range both {
			if err := r.enters(ctx, who.client, who.prefix, c.ID); err != nil {
				return err
			}
		}
	}
	if err := r.acknowledged(ctx); err != nil || off {
		return err
	}
	if err := p.agent.must(ctx, "GET", "/api/v1"+path, nil, nil); err != nil {
		return err
	}
	if err := p.gone.must(ctx, "POST", "/api/v1/widget/calls/"+c.ID+"/end", nil, &c); err != nil {
		return err
	}
	return r.roomGone(ctx)
}

// told16 shows somebody the notice about camera and microphone, and has them acknowledge it: before that nobody is let into a call (G16).
func (r *run) told16(ctx context.Context, who *client, prefix, surface, id string) error {
	if id != "" {
		a, err := who.call(ctx, "POST", prefix+"/calls/"+id+"/join", nil, nil)
		if err != nil {
			return err
		}
		r.found.check("G16", a.is(409, "notice_unacknowledged"), "nobody is let into a call, visitor or member, before they have acknowledged the notice about camera and microphone", a)
	}
	var n struct {
		Version, Title string
		Paragraphs     []string
		Acknowledged   bool
	}
	if err := who.must(ctx, "GET", prefix+"/notices/media", nil, &n); err != nil {
		return err
	}
	r.found.check("G16", !n.Acknowledged && n.Version != "" && n.Title != "" && len(n.Paragraphs) > 0, "the notice has a version and a text, in the reader's language")
	say := map[string]string{"version": n.Version + "0", "surface": surface}
	a, err := who.call(ctx, "POST", prefix+"/notices/media/acknowledge", say, nil)
	if err != nil {
		return err
	}
	r.found.check("G16", a.is(409, "notice_outdated"), "a version that does not hold now cannot be acknowledged", a)
	say["version"] = n.Version
	if err := who.must(ctx, "POST", prefix+"/notices/media/acknowledge", say, nil); err != nil {
		return err
	}
	if err := who.must(ctx, "GET", prefix+"/notices/media", nil, &n); err != nil {
		return err
	}
	r.found.check("G16", n.Acknowledged, "an acknowledgement holds for this version")
	return nil
}

// acknowledged looks at what is kept of the acknowledgements.
func (r *run) acknowledged(ctx context.Context) error {
	return r.dataStore(ctx, r.data, func(d *db.DB) error {
		recs, err := records(ctx, d, `SELECT person, member, version, text_hash, surface, lang FROM privacy_acknowledgement WHERE notice = 'media'`)
		whole := 0
		for _, rec := range recs {
			if (rec.text("person") == "") != (rec.text("member") == "") && rec.text("version") != "" && len(rec.text("text_hash")) == 64 && rec.text("surface") != "" && rec.text("lang") != "" {
				whole++
			}
		}
		r.found.check("G16", whole == 2 && len(recs) == 2, "each acknowledgement is stored: whose, of which version and text, in which language and where", whole, len(recs))
		return err
	})
}

// pass is what lets somebody into a call.
type pass struct{ Token, Identity string }

// admitted asks for an entry into a call.
func (r *run) admitted(ctx context.Context, who *client, prefix, id string) (p pass, err error) {
	if err := who.must(ctx, "POST", prefix+"/calls/"+id+"/join", nil, &p); err != nil {
		return p, err
	}
	r.made(p.Token, "an entry into a call", 1)
	r.namesNobody(p.Token, p.Identity)
	r.found.check("I7", !slices.Contains(r.people.identities, p.Identity), "who enters a call again is somebody else to the media engine: each entry has an identity of its own")
	r.people.identities, r.people.passes = append(r.people.identities, p.Identity), append(r.people.passes, p.Token)
	return p, nil
}

// enters joins a call, tells the engine a name, an address and a session description, and is removed again.
func (r *run) enters(ctx context.Context, who *client, prefix, id string) error {
	pass, err := r.admitted(ctx, who, prefix, id)
	if err != nil {
		return err
	}
	q := url.Values{"access_token": {pass.Token}, "auto_subscribe": {"1"}, "protocol": {"15"},
		"name": {r.drop("a name given to the media engine, in the address").token}, "sdk": {r.drop("the client's name for itself, given to the media engine").token}}
	header := who.head()
	header.Del("Authorization")
	ws, _, err := websocket.Dial(ctx, strings.Replace(r.server.url, "http", "ws", 1)+"/rtc?"+q.Encode(), &websocket.DialOptions{HTTPClient: r.http, HTTPHeader: header})
	if err != nil {
		return fmt.Errorf("the media engine refused somebody with an entry: %w", err)
	}
	defer func() { _ = ws.CloseNow() }() // the server closes it
	ws.SetReadLimit(1 << 20)
	_, first, err := ws.Read(ctx)
	if err != nil {
		return fmt.Errorf("the media engine did not answer: %w", err)
	}
	r.note(answer{call: signalling, status: http.StatusOK, body: first})
	for _, frame := range r.frames() {
		if ws.Write(ctx, websocket.MessageBinary, frame) != nil {
			break // it may have had enough
		}
	}
	if err := r.people.owner.must(ctx, "POST", "/api/v1/calls/"+id+"/participants/"+pass.Identity+"/remove", nil, nil); err != nil {
		return err
	}
	for {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			return ctx.Err() // closed, as it must be
		}
		r.note(answer{call: signalling, status: http.StatusOK, body: frame})
		m := &signal.SignalResponse{}
		if proto.Unmarshal(frame, m) == nil && m.GetLeave() != nil {
			return nil // told to leave, as it must be
		}
	}
}

// namesNobody checks that what is given to the media engine leads to nobody: its identities are random.
func (r *run) namesNobody(token, identity string) {
	parts := strings.Split(token, ".")
	var claims []byte
	if len(parts) == 3 {
		claims, _ = base64.RawURLEncoding.DecodeString(parts[1]) // then there are none
	}
	found := len(claims) == 0 || !strings.Contains(string(claims), identity)
	for _, id := range append([]string{r.people.org, r.people.site, r.people.agentID, r.people.gone.id}, r.people.gone.conversations...) {
		found = found || strings.Contains(strings.ReplaceAll(id, "-", ""), identity)
		found = found || strings.Contains(string(claims), id) || strings.Contains(identity, id)
	}
	r.found.check("I7", !found && len(identity) >= 32, "what is given to the media engine names no organisation, person, member or conversation: identities are random")
}

// frames are messages of LiveKit's signalling protocol, version 0, as bytes: a session description, a candidate, and a name with metadata and an
// attribute. The numbers are those of the published protocol.
func (r *run) frames() [][]byte {
	field := func(number int, body string) string { // of wire type 2, shorter than 128 bytes or with a length of two bytes
		n := len(body)
		if n < 128 {
			return string([]byte{byte(number<<3 | 2), byte(n)}) + body
		}
		return string([]byte{byte(number<<3 | 2), byte(n&127 | 128), byte(n >> 7)}) + body
	}
	place := &canary{what: "an address in a candidate", secret: true, addr: newAddress()}
	place.token = place.addr.String()
	r.keep(place)
	candidate := fmt.Sprintf(`{"candidate":"candidate:1 1 udp 2130706431 %s 9 typ host","sdpMid":"0","sdpMLineIndex":0}`, place.token)
	sdp := fmt.Sprintf("v=0\r\no=%s 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=nonsense\r\nm=", r.drop("a name in a session description").token)
	name := field(1, r.drop("metadata given to the media engine").token) + field(2, r.drop("a name given to the media engine").token) +
		field(3, field(1, "phone")+field(2, r.drop("an attribute given to the media engine").token))
	return [][]byte{[]byte(field(15, name)), []byte(field(3, field(1, candidate))), []byte(field(1, field(1, "offer")+field(2, sdp)))}
}
