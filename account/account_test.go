package account_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"parley/account"
	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/vault"
)

// good is a password that the rules accept.
const good = "quiet-otter-lamp-98"

// clock is a time that tests move. The database and the service read the same one.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a service on real databases.
type world struct {
	*account.Service
	db      *db.DB
	vault   *vault.Vault
	clock   *clock
	dir     string
	logs    *lockedBuffer
	dropped chan account.Revocation
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Drop implements account.Dropper.
func (w *world) Drop(_ actor.Kind, id, session string) {
	w.dropped <- account.Revocation{Member: id, Session: session}
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func open(t *testing.T, cfg db.Config) *db.DB {
	t.Helper()
	cfg.Dial = dial
	d, err := db.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{clock: &clock{now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)}, dir: t.TempDir(), logs: &lockedBuffer{}, dropped: make(chan account.Revocation, 64)}
	w.db = open(t, db.Config{URL: url, Schema: "parley", Now: w.clock.Now})
	if err := w.db.Migrate(ctx, api.Migrations, account.Migrations); err != nil {
		t.Fatal(err)
	}
	keys := db.Config{URL: url, Schema: "parley_keys", SecureDelete: true}
	if strings.HasPrefix(url, "sqlite:") {
		keys.URL = "sqlite://" + filepath.Join(t.TempDir(), "keys.db")
	}
	cat, err := catalog.New(account.Data, api.Data, db.Data, vault.Data)
	if err != nil {
		t.Fatal(err)
	}
	w.vault, err = vault.Open(ctx, vault.Options{Store: open(t, keys), Dir: filepath.Join(w.dir, "vault"), Catalog: cat, Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.vault.Close() })
	w.Service = w.service(t, nil)
	return w
}

// service makes another service on the same databases, as another node would.
func (w *world) service(t *testing.T, announcer account.Announcer) *account.Service {
	t.Helper()
	s, err := account.New(account.Options{DB: w.db, Vault: w.vault, Dir: w.dir, Now: w.clock.Now, Logger: slog.New(slog.NewTextHandler(w.logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Link(account.Links{Announcer: announcer, Dropper: w})
	t.Cleanup(func() { s.Close() })
	return s
}

// each runs fn in a fresh world on each engine.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	testdb.Each(t, func(t *testing.T, url string) { fn(t, newWorld(t, url)) })
}

func operator() context.Context {
	return actor.AsSystem(context.Background(), "test", "", catalog.Service)
}

func as(a actor.Actor) context.Context {
	return actor.For(actor.With(context.Background(), a), catalog.Service)
}

func (w *world) org(t *testing.T, name string) account.Org {
	t.Helper()
	o, err := w.CreateOrg(operator(), name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// member makes a member with a password.
func (w *world) member(t *testing.T, org, email string, role actor.Role) actor.Actor {
	t.Helper()
	_, token, err := w.CreateMember(operator(), org, email, role)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := w.AcceptInvitation(context.Background(), token, "Ada "+string(role), good)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code {
		t.Helper()
		t.Errorf("want %s, got %v", code, err)
	}
}

func TestSchemaIsDeclared(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		live, err := w.db.LiveSchema(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		cat, err := catalog.New(account.Data, api.Data, db.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range cat.CompareSchema(live) {
			t.Error(line)
		}
	})
}

func TestMembersOfOrganisations(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one, two := w.org(t, "Harbour Books"), w.org(t, "Night Clinic")
		owner := w.member(t, one.ID, "Ada@Example.com ", actor.Owner)
		if owner.Org != one.ID || owner.Role != actor.Owner {
			t.Fatalf("%+v", owner)
		}
		_, _, err := w.CreateMember(as(owner), one.ID, "ada@example.com", actor.Agent)
		wantCode(t, err, "member_exists")
		_, _, err = w.CreateMember(as(owner), two.ID, "x@example.com", actor.Agent)
		wantCode(t, err, "organisation_unknown")
		_, _, err = w.CreateMember(as(owner), one.ID, "not an address", actor.Agent)
		wantCode(t, err, "email_invalid")
		_, _, err = w.CreateMember(as(owner), one.ID, "x@example.com", "king")
		wantCode(t, err, "role_unknown")

		again, token, err := w.CreateMember(operator(), two.ID, "ADA@example.com", actor.Agent)
		if err != nil || again.ID != owner.ID || token != "" {
			t.Errorf("somebody with a password needs no link: %+v %q %v", again, token, err)
		}
		invited, _, err := w.CreateMember(as(owner), one.ID, "bo@example.com", actor.Agent)
		if err != nil {
			t.Fatal(err)
		}
		list, err := w.Members(as(owner), one.ID)
		if err != nil || len(list) != 2 || list[0].ID != invited.ID || list[0].Name != "" || list[1].Name != "Ada owner" {
			t.Errorf("%+v %v", list, err)
		}
		_, err = w.Members(as(owner), two.ID)
		wantCode(t, err, "organisation_unknown")
		names, err := w.DisplayNames(as(owner), one.ID, []string{owner.ID, owner.ID, "nobody", ""})
		if err != nil || len(names) != 1 || names[owner.ID] != "Ada owner" {
			t.Errorf("%v %v", names, err)
		}
		_, err = w.DisplayNames(context.Background(), one.ID, []string{owner.ID})
		wantCode(t, err, "purpose")

		agent := owner
		agent.Role = actor.Agent
		_, _, err = w.CreateMember(as(agent), one.ID, "x@example.com", actor.Agent)
		wantCode(t, err, "role_needed")
		admin := owner
		admin.Role = actor.Admin
		_, _, err = w.CreateMember(as(admin), one.ID, "x@example.com", actor.Owner)
		wantCode(t, err, "role_needed")
		_, err = w.CreateOrg(as(owner), "Third")
		wantCode(t, err, "forbidden")
	})
}

func TestEmailsAreNotReadableInTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.member(t, w.org(t, "Harbour Books").ID, "canary-plum@example.com", actor.Owner)
		err := w.db.Read(context.Background(), "test", func(tx *db.Tx) error {
			var email, index, name []byte
			if err := tx.QueryRow(`SELECT email, email_index, name FROM account_member`).Scan(&email, &index, &name); err != nil {
				return err
			}
			for what, b := range map[string][]byte{"email": email, "index": index, "name": name} {
				if len(b) == 0 || strings.Contains(string(b), "plum") || strings.Contains(string(b), "Ada") {
					t.Errorf("%s: %q", what, b)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(w.logs.String(), "plum") {
			t.Error("the address is in the log")
		}
	})
}

func TestInvitationWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		org := w.org(t, "Harbour Books")
		m, token, err := w.CreateMember(operator(), org.ID, "bo@example.com", actor.Agent)
		if err != nil {
			t.Fatal(err)
		}
		inv, err := w.Invitation(ctx, token)
		if err != nil || inv.Email != "bo@example.com" || inv.Organisation != "Harbour Books" || inv.Name != "" {
			t.Errorf("%+v %v", inv, err)
		}
		_, _, err = w.AcceptInvitation(ctx, token, "Bo", "short")
		wantCode(t, err, "password_short")
		_, _, err = w.AcceptInvitation(ctx, token, "  ", good)
		wantCode(t, err, "name_empty")

		var wg sync.WaitGroup
		results := make([]error, 4)
		for i := range results {
			wg.Go(func() { _, _, results[i] = w.AcceptInvitation(ctx, token, "Bo", good) })
		}
		wg.Wait()
		ok := 0
		for _, err := range results {
			if err == nil {
				ok++
			} else {
				wantCode(t, err, "invitation_unknown")
			}
		}
		if ok != 1 {
			t.Errorf("%d of 4 accepted", ok)
		}
		_, err = w.Invitation(ctx, token)
		wantCode(t, err, "invitation_unknown")
		if again, err := w.Reinvite(operator(), org.ID, m.ID); err != nil || again != "" {
			t.Errorf("reinvited somebody who has a password: %q %v", again, err)
		}

		late, token, err := w.CreateMember(operator(), org.ID, "cy@example.com", actor.Agent)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := w.Reinvite(operator(), org.ID, late.ID)
		if err != nil || fresh == "" {
			t.Fatal(err)
		}
		_, err = w.Invitation(ctx, token)
		wantCode(t, err, "invitation_unknown")
		w.clock.add(account.InviteLife)
		_, err = w.Invitation(ctx, fresh)
		wantCode(t, err, "invitation_unknown")
	})
}

func TestProjects(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org, other := w.org(t, "Harbour Books"), w.org(t, "Night Clinic")
		p, err := w.CreateProject(operator(), org.ID, "Shop")
		if err != nil || p.APIKey < 10_000_000 || len(p.Secret) != 40 {
			t.Fatalf("%+v %v", p.APIKey, err)
		}
		secret, err := w.ProjectSecret(actor.AsSystem(context.Background(), "test", org.ID, catalog.Security), p.APIKey)
		if err != nil || secret != p.Secret {
			t.Errorf("%v", err)
		}
		_, err = w.ProjectSecret(as(actor.Actor{Kind: actor.Project, ID: "p", Org: other.ID}), p.APIKey)
		wantCode(t, err, "project_unknown")
		_, err = w.Project(operator(), 1)
		wantCode(t, err, "project_unknown")
		agent := w.member(t, org.ID, "bo@example.com", actor.Agent)
		_, err = w.CreateProject(as(agent), org.ID, "Mine")
		wantCode(t, err, "role_needed")
	})
}

func TestPromise_I1_Passwords(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	org := w.org(t, "Harbour Books")
	m := w.member(t, org.ID, "ada.lovelace@example.com", actor.Owner)
	for password, code := range map[string]string{
		"short":                     "password_short",
		strings.Repeat("long", 100): "password_long",
		"password1234":              "password_weak",
		"qwertyuiop":                "password_weak",
		"aaaaaaaaaaaaaaaa":          "password_weak",
		"lovelace123":               "password_known",
		"HarbourBooks1":             "password_known",
		"Ada.Lovelace@Example.com":  "password_known",
	} {
		err := w.SetPassword(operator(), m.ID, password)
		wantCode(t, err, code)
		if err != nil && password != "short" && strings.Contains(err.Error(), password) {
			t.Errorf("the error repeats the password %q", password)
		}
	}
	if err := w.SetPassword(operator(), m.ID, "Zwölf Boxkämpfer jagen Viktor"); err != nil {
		t.Error(err)
	}
	if _, _, err := w.SignIn(context.Background(), "ada.lovelace@example.com", "Zwo\u0308lf Boxka\u0308mpfer jagen Viktor"); err != nil {
		t.Errorf("the same characters, composed differently: %v", err)
	}
	other := m
	other.ID = "somebody-else"
	wantCode(t, w.SetPassword(as(other), m.ID, good), "member_unknown")
}

func TestAuditLog(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.org(t, "Harbour Books")
		owner := w.member(t, org.ID, "ada@example.com", actor.Owner)
		for range 5 {
			w.clock.add(time.Second)
			if err := w.Audit(actor.For(as(owner), catalog.Support), "conversation.read", "c1"); err != nil {
				t.Fatal(err)
			}
		}
		page, err := w.AuditLog(as(owner), org.ID, api.Page{Limit: 3})
		if err != nil || len(page.Items) != 3 || page.Next == "" {
			t.Fatalf("%+v %v", page, err)
		}
		e := page.Items[0]
		if e.Actor != owner.ID || e.ActorKind != actor.Member || e.Action != "conversation.read" || e.Object != "c1" || e.Purpose != catalog.Support {
			t.Errorf("%+v", e)
		}
		seen := map[string]bool{}
		for cursor := ""; ; {
			p, err := w.AuditLog(as(owner), org.ID, api.Page{Limit: 3, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Items {
				if seen[e.ID] {
					t.Errorf("%s twice", e.ID)
				}
				seen[e.ID] = true
			}
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if len(seen) != 8 { // created org, invited, accepted, five reads
			t.Errorf("%d entries", len(seen))
		}
		agent := owner
		agent.Role = actor.Agent
		_, err = w.AuditLog(as(agent), org.ID, api.Page{})
		wantCode(t, err, "role_needed")
		w.clock.add(account.AuditLife + time.Second)
		if err := w.Sweep(operator()); err != nil {
			t.Fatal(err)
		}
		if p, err := w.AuditLog(as(owner), org.ID, api.Page{}); err != nil || len(p.Items) > 0 {
			t.Errorf("after its time: %+v %v", p, err)
		}
	})
}

func TestRolesAndRemoval(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one, two := w.org(t, "Harbour Books"), w.org(t, "Night Clinic")
		owner := w.member(t, one.ID, "ada@example.com", actor.Owner)
		agent := w.member(t, one.ID, "bo@example.com", actor.Agent)
		wantCode(t, w.SetRole(as(owner), one.ID, owner.ID, actor.Agent), "last_owner")
		wantCode(t, w.RemoveMember(as(owner), one.ID, owner.ID), "last_owner")
		wantCode(t, w.SetRole(as(agent), one.ID, agent.ID, actor.Owner), "role_needed")
		wantCode(t, w.RemoveMember(as(agent), one.ID, owner.ID), "role_needed")
		wantCode(t, w.RemoveMember(as(owner), one.ID, "nobody"), "member_unknown")
		if err := w.SetRole(as(owner), one.ID, agent.ID, actor.Admin); err != nil {
			t.Fatal(err)
		}
		admin := agent
		admin.Role = actor.Admin
		wantCode(t, w.SetRole(as(admin), one.ID, owner.ID, actor.Agent), "role_needed")

		// In a second organisation: leaving the first erases nobody.
		if _, _, err := w.CreateMember(operator(), two.ID, "bo@example.com", actor.Agent); err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveMember(as(agent), one.ID, agent.ID); err != nil {
			t.Fatal(err)
		}
		in, _, err := w.SignIn(context.Background(), "bo@example.com", good)
		if err != nil || in.Org != two.ID || in.Role != actor.Agent {
			t.Errorf("%+v %v", in, err)
		}
		// Leaving the last one does, and the address may come back as somebody else.
		if err := w.RemoveMember(operator(), two.ID, agent.ID); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.SignIn(context.Background(), "bo@example.com", good)
		wantCode(t, err, "sign_in_failed")
		if !w.vault.Erased(operator(), vault.Key{Org: vault.Install, Kind: "member", ID: agent.ID}) {
			t.Error("the member's key is still there")
		}
		if n := count(t, w, "account_member WHERE id = '"+agent.ID+"'"); n != 0 {
			t.Error("the member's row is still there")
		}
		again := w.member(t, one.ID, "bo@example.com", actor.Agent)
		if again.ID == agent.ID {
			t.Error("the erased member came back")
		}
	})
}

func TestOldPasswordHashesAreReplaced(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t))
	m := w.member(t, w.org(t, "Harbour Books").ID, "ada@example.com", actor.Owner)
	salt := []byte("0123456789abcdef")
	b := base64.RawStdEncoding
	old := "$argon2id$v=19$m=8192,t=1,p=1$" + b.EncodeToString(salt) + "$" + b.EncodeToString(argon2.IDKey([]byte(good), salt, 1, 8192, 1, 32))
	ctx := context.Background()
	err := w.db.Do(ctx, "test", func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE account_member SET password_hash = $2 WHERE id = $1`, m.ID, old)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := w.SignIn(ctx, "ada@example.com", good); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, w, "account_member WHERE password_hash LIKE '$argon2id$v=19$m=47104,t=1,p=1$%'"); n != 1 {
		t.Error("the hash was not renewed")
	}
}

// TestEveryErrorCodeHasTexts reads the codes out of the sources: an error without a text would reach people in English only.
func TestEveryErrorCodeHasTexts(t *testing.T) {
	code := regexp.MustCompile(`fault\.(?:New\(fault\.\w+, (?:op|"[\w.]+"), |Bad\((?:op|"[\w.]+"), (?:field|"[\w-]+"), |Retry\("[\w.]+", )"(\w+)"|Code: "(\w+)"|, "(\w+_unknown)", "`)
	texts := map[string]map[string]string{}
	for _, lang := range []string{"en", "de"} {
		b, err := os.ReadFile("../internal/api/texts/" + lang + ".json")
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		texts[lang] = m
	}
	for k := range texts["en"] {
		if texts["de"][k] == "" {
			t.Errorf("%s is not translated", k)
		}
	}
	seen := 0
	for _, glob := range []string{"*.go", "../internal/api/*.go"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range code.FindAllStringSubmatch(string(src), -1) {
				seen++
				if c := m[1] + m[2] + m[3]; texts["en"]["error_"+c] == "" {
					t.Errorf("%s: %s has no text", f, c)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d codes were found", seen)
	}
}
