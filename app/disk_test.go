package app_test

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
)

// disk is a small file system of its own that a test fills and empties.
type disk struct {
	dir string
	t   *testing.T
}

// ownMounts marks the run of a test in namespaces of its own.
const ownMounts = "PARLEY_TEST_OWN_MOUNTS"

// withDisk runs fn with a small disk: a tmpfs that this process mounts, or, where it may not, one that the same test mounts in
// user and mount namespaces of its own. Where neither is allowed the small /dev/shm of a container does.
func withDisk(t *testing.T, fn func(t *testing.T, d *disk)) {
	t.Helper()
	d := &disk{dir: t.TempDir(), t: t}
	err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size=24m,mode=700")
	if err == nil {
		t.Cleanup(func() {
			// Detached: whoever else looks around in temporary directories may be in it just now.
			if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		fn(t, d)
		return
	}
	if os.Getenv(ownMounts) != "" {
		t.Fatalf("mount: %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), ownMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		t.Log("ran in namespaces of its own")
	case errors.As(err, &failed):
		t.Fatalf("in namespaces of its own: %v\n%s", err, out)
	default: // the namespaces were refused
		d.dir = containerShm(t)
		fn(t, d)
	}
}

// containerShm returns a directory on /dev/shm, if that is as small as containers have it.
func containerShm(t *testing.T) string {
	t.Helper()
	const path, tmpfs, small = "/dev/shm", 0x01021994, 256 << 20
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil || st.Type != tmpfs || int64(st.Blocks)*st.Bsize > small {
		t.Fatal("this test needs a small file system: run it where it may mount a tmpfs (as root, or with user namespaces), or in a container with a small /dev/shm")
	}
	dir, err := os.MkdirTemp(path, "parley-disk-") //nolint:usetesting // on this file system, which t.TempDir need not be on
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fill takes all space that is left.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			d.t.Fatal(err)
		}
	}
}

// free gives the space back; it is cut off first, in case somebody has the file open.
func (d *disk) free() {
	d.t.Helper()
	path := filepath.Join(d.dir, "fill")
	if err := errors.Join(os.Truncate(path, 0), os.Remove(path)); err != nil {
		d.t.Fatal(err)
	}
}

// rows counts the rows of the tables that writes go to, in the database's file.
func rows(t *testing.T, file string, tables ...string) string {
	t.Helper()
	d, err := sql.Open("sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var out strings.Builder
	for _, table := range tables {
		var n int
		if err := d.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		fmt.Fprintf(&out, "%s=%d ", table, n)
	}
	return out.String()
}

var dataTables = []string{"account_org", "account_member", "account_session", "account_audit", "account_setup", "person", "chat_site",
	"chat_conversation", "chat_message", "chat_visitor_token", "chat_start", "api_idempotency"}

// crew are the people of a full-disk test: an owner, readers who have not looked yet, and visitors.
type crew struct {
	s                        *parleytest.Server
	tenant                   parleytest.Tenant
	early, late              *parleytest.Client // agents
	visitor, other           *parleytest.Client
	talk, quiet              parleytest.Begun
	visitorSocket, ownSocket *parleytest.Socket
	sent                     []string // bodies that were acknowledged in talk, in order
}

func newCrew(t *testing.T, opt parleytest.Options) *crew {
	t.Helper()
	c := &crew{s: parleytest.Start(t, opt)}
	c.tenant = c.s.Tenant(t, "acme")
	_, c.early = c.s.Member(t, c.tenant.Org, "early@acme.example", "agent", "Early")
	_, c.late = c.s.Member(t, c.tenant.Org, "late@acme.example", "agent", "Late")
	c.visitor, c.talk = c.s.Visitor(t, c.tenant.Site, "first")
	c.other, c.quiet = c.s.Visitor(t, c.tenant.Site, "quiet")
	c.sent = []string{"first"}
	c.visitorSocket, c.ownSocket = c.visitor.Socket(t), c.tenant.Client.Socket(t)
	if err := c.ownSocket.Subscribe("conv:" + c.talk.Conversation.ID); err != nil {
		t.Fatal(err)
	}
	return c
}

// liveCall has the visitor of talk call, an agent answer, and the visitor enter.
func (c *crew) liveCall(t *testing.T) string {
	t.Helper()
	var call struct {
		ID string `json:"id"`
	}
	c.visitor.Do(t, "POST", "/api/v1/widget/conversations/"+c.talk.Conversation.ID+"/calls", map[string]string{"client_id": "call", "media": "audio"}, &call).Want(t, 201)
	c.early.Do(t, "POST", "/api/v1/calls/"+call.ID+"/accept", nil, nil).Want(t, 200)
	var notice struct {
		Version string `json:"version"`
	}
	c.visitor.Do(t, "GET", "/api/v1/widget/notices/media", nil, &notice).Want(t, 200)
	c.visitor.Do(t, "POST", "/api/v1/widget/notices/media/acknowledge", map[string]string{"version": notice.Version, "surface": "widget"}, nil).Want(t, 204)
	c.visitor.Do(t, "POST", "/api/v1/widget/calls/"+call.ID+"/join", nil, nil).Want(t, 200)
	return call.ID
}

func (c *crew) send(t *testing.T, body string) parleytest.Response {
	t.Helper()
	res := c.visitor.Do(t, "POST", "/api/v1/widget/conversations/"+c.talk.Conversation.ID+"/messages", map[string]string{"client_id": body, "body": body}, nil)
	if res.Status == 201 {
		c.sent = append(c.sent, body)
	}
	return res
}

// sendUntilFull sends until the log's last free pages are used up.
func (c *crew) sendUntilFull(t *testing.T) {
	t.Helper()
	for i := range 5000 {
		if res := c.send(t, fmt.Sprintf("accepted-%d", i)); res.Status != 201 {
			res.WantCode(t, 507, "full")
			if res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type %q", res.Header.Get("Content-Type"))
			}
			return
		}
	}
	t.Fatal("5,000 messages went into a full disk")
}

// change is something that people do that needs space.
type change struct {
	name string
	do   func(t *testing.T) parleytest.Response
}

func (c *crew) changes() []change {
	own, conv := c.tenant.Client, c.talk.Conversation.ID
	post := func(client *parleytest.Client, path string, body any) func(*testing.T) parleytest.Response {
		return func(t *testing.T) parleytest.Response { return client.Do(t, "POST", "/api/v1"+path, body, nil) }
	}
	begin := func(client *parleytest.Client, id string) func(*testing.T) parleytest.Response {
		return post(client, "/widget/sites/"+c.tenant.Site+"/conversations", map[string]string{"client_id": id, "body": "refused"})
	}
	stranger := &parleytest.Client{HTTP: c.visitor.HTTP, URL: c.s.URL}
	signIn := func(password string) func(*testing.T) parleytest.Response {
		return post(stranger, "/session", map[string]string{"email": c.tenant.Email, "password": password})
	}
	return []change{
		{"visitor's message", post(c.visitor, "/widget/conversations/"+conv+"/messages", map[string]string{"client_id": "refused-1", "body": "refused"})},
		{"agent's message", post(own, "/conversations/"+conv+"/messages", map[string]string{"client_id": "refused-2", "body": "refused"})},
		{"new visitor", begin(stranger, "refused-begin-1")},
		{"known visitor's new conversation", begin(c.other, "refused-begin-2")},
		{"sign-in", signIn(parleytest.Password)},
		{"wrong password", signIn("wrong-password-77")},
		{"read mark", post(own, "/conversations/"+conv+"/read", map[string]int{"seq": len(c.sent)})},
		{"assign", post(own, "/conversations/"+conv+"/assign", map[string]string{"member": c.tenant.Owner})},
		{"close", post(own, "/conversations/"+conv+"/close", nil)},
		{"site", post(own, "/sites", map[string]any{"name": "More", "origins": []string{"https://more.example"}})},
		{"invitation", post(own, "/members", map[string]string{"email": "refused@acme.example", "role": "agent"})},
		{"profile", func(t *testing.T) parleytest.Response {
			return c.visitor.Do(t, "PATCH", "/api/v1/widget/visitor", map[string]string{"name": "Refused"}, nil)
		}},
	}
}

func (c *crew) erase(t *testing.T) parleytest.Response {
	t.Helper()
	return c.tenant.Client.Do(t, "DELETE", "/api/v1/persons/"+c.quiet.Visitor.ID, nil, nil)
}

// refusedEverywhere tries every write, on HTTP and on sockets.
func (c *crew) refusedEverywhere(t *testing.T) {
	t.Helper()
	for _, w := range c.changes() {
		if res := w.do(t); res.Status != 507 {
			t.Errorf("%s: status %d, want 507: %s", w.name, res.Status, res.Body)
		}
	}
	c.erase(t).WantCode(t, 507, "full")
	for name, socket := range map[string]*parleytest.Socket{"visitor": c.visitorSocket, "agent": c.ownSocket} {
		err := socket.Call("send", map[string]string{"conversation": c.talk.Conversation.ID, "client_id": "refused-" + name, "body": "refused"}, nil)
		var refused *parleytest.CallError
		if !errors.As(err, &refused) || refused.Code != 507 || refused.Message != "full" {
			t.Errorf("the %s's socket: %v, want 507 full", name, err)
		}
		if err := socket.Call("typing", map[string]any{"conversation": c.talk.Conversation.ID, "on": true}, nil); err != nil {
			t.Errorf("the %s's socket: typing needs no space: %v", name, err)
		}
	}
}

type page struct {
	Items []struct {
		Seq    int    `json:"seq"`
		Body   string `json:"body"`
		Object string `json:"object"`
		Action string `json:"action"`
		Actor  string `json:"actor"`
	} `json:"items"`
	More bool   `json:"more"`
	Next string `json:"next"`
}

// history checks that the conversation holds exactly what was acknowledged, in order and without a hole.
func (c *crew) history(t *testing.T, as *parleytest.Client, prefix string) {
	t.Helper()
	seq := 0
	for more := true; more; {
		var p page
		as.Do(t, "GET", fmt.Sprintf("/api/v1%s/conversations/%s/messages?after=%d&limit=100", prefix, c.talk.Conversation.ID, seq), nil, &p).Want(t, 200)
		for _, m := range p.Items {
			if seq++; m.Seq != seq || seq > len(c.sent) || m.Body != c.sent[seq-1] {
				t.Fatalf("message %d is %d %q", seq, m.Seq, m.Body)
			}
		}
		more = p.More && len(p.Items) > 0
	}
	if seq != len(c.sent) {
		t.Errorf("%d messages, %d were acknowledged", seq, len(c.sent))
	}
}

// reads does what needs no space.
func (c *crew) reads(t *testing.T, agent *parleytest.Client) {
	t.Helper()
	agent.Do(t, "GET", "/api/v1/session", nil, nil).Want(t, 200)
	agent.Do(t, "GET", "/api/v1/conversations", nil, nil).Want(t, 200)
	agent.Do(t, "GET", "/api/v1/conversations/"+c.talk.Conversation.ID, nil, nil).Want(t, 200)
	agent.Do(t, "GET", "/api/v1/conversations/"+c.quiet.Conversation.ID+"/messages", nil, nil).Want(t, 200)
	agent.Do(t, "GET", "/api/v1/persons/"+c.quiet.Visitor.ID, nil, nil).Want(t, 200)
	c.history(t, agent, "")
	c.history(t, c.visitor, "/widget")
	c.visitor.Do(t, "GET", "/api/v1/widget/sites/"+c.tenant.Site, nil, nil).Want(t, 200)
	agent.Do(t, "GET", "/readyz", nil, nil).Want(t, 200)
	if err := agent.Socket(t).Subscribe("conv:" + c.quiet.Conversation.ID); err != nil {
		t.Errorf("a new socket: %v", err)
	}
}

// audited returns who read the conversations, as the audit log knows.
func (c *crew) audited(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for cursor := ""; ; {
		var p page
		c.tenant.Client.Do(t, "GET", "/api/v1/audit?limit=100&cursor="+cursor, nil, &p).Want(t, 200)
		for _, e := range p.Items {
			fmt.Fprintln(&out, e.Action, e.Actor, e.Object)
		}
		if cursor = p.Next; cursor == "" {
			return out.String()
		}
	}
}

func (c *crew) id(t *testing.T, agent *parleytest.Client) string {
	t.Helper()
	var me struct {
		Member struct {
			ID string `json:"id"`
		} `json:"member"`
	}
	agent.Do(t, "GET", "/api/v1/session", nil, &me).Want(t, 200)
	return me.Member.ID
}

// spilled reports whether audit entries wait in the file that was made for them.
func spilled(t *testing.T, s *parleytest.Server) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Data, "audit.spill"))
	if err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b) != 0
}

// writesAgain checks that everything that was refused is accepted, without a restart.
func (c *crew) writesAgain(t *testing.T) {
	t.Helper()
	c.send(t, "space-again").Want(t, 201)
	c.send(t, "space-again").Want(t, 200)
	c.sent = append(c.sent, "refused", "refused", "by socket") // the first two writes, under the client ids that were refused
	for i, w := range c.changes() {
		if i == 2 {
			if err := c.visitorSocket.Call("send", map[string]string{"conversation": c.talk.Conversation.ID, "client_id": "refused-visitor", "body": "by socket"}, nil); err != nil {
				t.Errorf("socket: %v", err)
			}
		}
		if res := w.do(t); (res.Status < 300) == (w.name == "wrong password") {
			t.Errorf("%s: status %d: %s", w.name, res.Status, res.Body)
		}
	}
}

// told checks that nobody heard of a message that was not stored.
func (c *crew) told(t *testing.T, s *parleytest.Socket) {
	t.Helper()
	for seq := 2; seq <= len(c.sent); seq++ {
		var e struct {
			Message struct {
				Seq  int    `json:"seq"`
				Body string `json:"body"`
			} `json:"message"`
		}
		s.Wait(t, "chat.message.created.v1", &e)
		if e.Message.Seq != seq || e.Message.Body != c.sent[seq-1] {
			t.Fatalf("the socket was told of %d %q, want %d %q", e.Message.Seq, e.Message.Body, seq, c.sent[seq-1])
		}
	}
}

func TestFullDisk(t *testing.T) {
	withDisk(t, func(t *testing.T, d *disk) {
		c := newCrew(t, parleytest.Options{Data: filepath.Join(d.dir, "data")})
		early := c.id(t, c.early)
		d.fill()
		c.sendUntilFull(t)
		db := filepath.Join(c.s.Data, "parley.db")
		before := rows(t, db, dataTables...)
		for keys := ""; ; { // until the key store's log has no room either
			c.refusedEverywhere(t)
			now := rows(t, filepath.Join(c.s.KeyDir(), "keys.db"), "vault_key", "vault_destroyed")
			if now == keys || t.Failed() {
				break
			}
			keys = now
		}
		if after := rows(t, db, dataTables...); after != before {
			t.Errorf("half-written:\n%s\n%s", before, after)
		}
		c.reads(t, c.early) // an agent who had not looked before: each look is recorded
		if !spilled(t, c.s) {
			t.Error("no audit entry waits in the spill file")
		}
		if log := c.audited(t); strings.Contains(log, "chat.conversation.read "+early) {
			t.Errorf("the full table took an audit entry:\n%s", log)
		}

		d.free()
		c.writesAgain(t)
		c.reads(t, c.late)
		if log := c.audited(t); !strings.Contains(log, "chat.conversation.read "+early+" "+c.talk.Conversation.ID) ||
			!strings.Contains(log, "chat.conversation.read "+early+" "+c.quiet.Conversation.ID) {
			t.Errorf("the audit entries of the full disk are not in the table:\n%s", log)
		}
		if spilled(t, c.s) {
			t.Error("audit entries wait although there is space")
		}
		c.told(t, c.visitorSocket)
		c.told(t, c.ownSocket)
		c.erase(t).Want(t, 200)
		c.s.Restart(t) // what a full disk left in the files must not keep the server from starting
		c.visitor.URL = c.s.URL
		c.history(t, c.visitor, "/widget")
		for line := range strings.SplitSeq(c.s.Log.String(), "\n") {
			if strings.Contains(line, `"level":"ERROR"`) {
				t.Errorf("log: %s", line)
			}
		}
	})
}

// The key store may fill up by itself: who has a key writes on, nobody new gets one, nothing is erased by half.
func TestFullKeyStore(t *testing.T) {
	withDisk(t, func(t *testing.T, d *disk) {
		keys := filepath.Join(d.dir, "keys")
		c := newCrew(t, parleytest.Options{Config: func(cfg *app.Config) { cfg.Keys = keys }})
		db := filepath.Join(c.s.Data, "parley.db")
		begin := func(i int) parleytest.Response {
			return c.other.Do(t, "POST", "/api/v1/widget/sites/"+c.tenant.Site+"/conversations", map[string]string{"client_id": fmt.Sprintf("new-%d", i), "body": "Hello"}, nil)
		}
		d.fill()
		n, before := 0, ""
		for ; n < 5000; n++ {
			before = rows(t, db, dataTables...)
			if begin(n).Status != 201 {
				break
			}
		}
		begin(n).WantCode(t, 507, "full")
		stranger := &parleytest.Client{HTTP: c.other.HTTP, URL: c.s.URL}
		stranger.Do(t, "POST", "/api/v1/widget/sites/"+c.tenant.Site+"/conversations", map[string]string{"client_id": "stranger", "body": "Hello"}, nil).WantCode(t, 507, "full")
		c.tenant.Client.Do(t, "POST", "/api/v1/members", map[string]string{"email": "new@acme.example", "role": "agent"}, nil).WantCode(t, 507, "full")
		if after := rows(t, db, dataTables...); after != before {
			t.Errorf("half-written:\n%s\n%s", before, after)
		}
		c.erase(t).WantCode(t, 507, "full") // it is noted, and done once the ledger has room; until then all can be read
		c.send(t, "goes-on").Want(t, 201)
		stranger.Do(t, "POST", "/api/v1/session", map[string]string{"email": c.tenant.Email, "password": parleytest.Password}, nil).Want(t, 200)
		c.reads(t, c.early)
		d.free()
		begin(n).Want(t, 201)
		if res := c.erase(t); res.Status != 200 {
			res.WantCode(t, 404, "person_unknown") // the noted job was quicker
		}
		c.other.Do(t, "GET", "/api/v1/widget/conversations", nil, nil).Want(t, 401)
		c.s.Restart(t)
		c.visitor.URL = c.s.URL
		c.history(t, c.visitor, "/widget")
	})
}

// A server that is started on a full disk reads, and keeps record of who reads.
func TestStartOnFullDisk(t *testing.T) {
	withDisk(t, func(t *testing.T, d *disk) {
		c := newCrew(t, parleytest.Options{Data: filepath.Join(d.dir, "data")})
		call := c.liveCall(t) // which the restart has to end
		d.fill()
		c.sendUntilFull(t)
		c.s.Restart(t)
		for _, client := range []*parleytest.Client{c.early, c.visitor, c.tenant.Client} {
			client.URL = c.s.URL
		}
		c.sendUntilFull(t)
		c.reads(t, c.early)
		early := c.id(t, c.early)
		d.free()
		c.s.Restart(t)
		for _, client := range []*parleytest.Client{c.early, c.visitor, c.tenant.Client} {
			client.URL = c.s.URL
		}
		c.send(t, "space-again").Want(t, 201)
		c.history(t, c.visitor, "/widget")
		var now struct {
			State string `json:"state"`
		}
		if c.early.Do(t, "GET", "/api/v1/calls/"+call, nil, &now).Want(t, 200); now.State != "ended" {
			t.Errorf("the call is %s", now.State)
		}
		if log := c.audited(t); !strings.Contains(log, "chat.conversation.read "+early+" "+c.talk.Conversation.ID) {
			t.Errorf("the audit entries of the full disk are not in the table:\n%s", log)
		}
	})
}
