package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/app"
	"parley/internal/fault"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

// A column that nobody declared, or a declaration without a column, fails the build.
func TestCatalogueMatchesLiveSchema(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		a, err := app.Open(context.Background(), app.Config{Data: t.TempDir(), Database: url, LogLevel: "error"})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		lines, err := a.SchemaDrift(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			t.Error(line)
		}
	})
}

func serveFails(t *testing.T, cfg app.Config, code, says string) {
	t.Helper()
	err := app.Serve(context.Background(), cfg, io.Discard, io.Discard)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code {
		t.Fatalf("serve: %v, want code %s", err, code)
	}
	var out bytes.Buffer
	app.Explain(&out, err)
	if !strings.Contains(out.String(), says) {
		t.Errorf("it says %q, want it to name %q", out.String(), says)
	}
}

func TestServeRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	t.Run("port in use", func(t *testing.T) {
		serveFails(t, app.Config{Data: dir, Listen: l.Addr().String()}, "port_in_use", l.Addr().String())
	})
	t.Run("TestPromise_I6 plain HTTP on a public address", func(t *testing.T) {
		serveFails(t, app.Config{Data: dir, Listen: "0.0.0.0:0"}, "listen_plain", "--base-url https://")
	})
	t.Run("data in use", func(t *testing.T) {
		s := parleytest.Start(t, parleytest.Options{})
		serveFails(t, app.Config{Data: s.Data, Listen: "127.0.0.1:0"}, "data_in_use", s.Data)
	})
	t.Run("wrong master key", func(t *testing.T) {
		s := parleytest.Start(t, parleytest.Options{})
		s.Tenant(t, "acme")
		s.Stop(t)
		other := parleytest.Start(t, parleytest.Options{})
		other.Stop(t)
		key, err := os.ReadFile(filepath.Join(other.KeyDir(), "master.key"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.KeyDir(), "master.key"), key, 0o600); err != nil {
			t.Fatal(err)
		}
		serveFails(t, app.Config{Data: s.Data, Listen: "127.0.0.1:0", LogLevel: "error"}, "master_key_wrong", "master key")
	})
}

// New keys for old data would leave every stored word unreadable without a word.
func TestMissingKeysRefuse(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	s.Tenant(t, "acme")
	s.Stop(t)
	if err := os.Rename(s.KeyDir(), s.KeyDir()+".away"); err != nil {
		t.Fatal(err)
	}
	serveFails(t, app.Config{Data: s.Data, Listen: "127.0.0.1:0", LogLevel: "error"}, "keys_missing", "--keys")
}

func TestNewerSchemaRefuses(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		dir := t.TempDir()
		a, err := app.Open(context.Background(), app.Config{Data: dir, Database: url, LogLevel: "error"})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.PretendNewerSchema(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		serveFails(t, app.Config{Data: dir, Database: url, Listen: "127.0.0.1:0", LogLevel: "error"}, "schema_newer", "newer")
	})
}

// A store restored from a backup may hold people who were erased since: they are erased again before the server answers.
func TestPromise_F8_LedgerIsReplayedOnRestoredData(t *testing.T) {
	s := parleytest.Start(t, parleytest.Options{})
	tenant := s.Tenant(t, "acme")
	_, begun := s.Visitor(t, tenant.Site, "restore me if you can")
	leaver, _ := s.Member(t, tenant.Org, "leaver@acme.example", "agent", "Leaver")
	s.Stop(t)
	backup, err := os.ReadFile(filepath.Join(s.Data, "parley.db"))
	if err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	tenant.Client.URL = s.URL
	tenant.Client.Do(t, "DELETE", "/api/v1/persons/"+begun.Visitor.ID, nil, nil).Want(t, 200)
	tenant.Client.Do(t, "DELETE", "/api/v1/members/"+leaver, nil, nil).Want(t, 204)
	s.Stop(t)
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(filepath.Join(s.Data, "parley.db"+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Data, "parley.db"), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	tenant.Client.Do(t, "GET", "/api/v1/persons/"+begun.Visitor.ID, nil, nil).WantCode(t, 404, "person_unknown")
	tenant.Client.Do(t, "GET", "/api/v1/conversations/"+begun.Conversation.ID, nil, nil).WantCode(t, 404, "conversation_unknown")
	s.Client(t).Do(t, "POST", "/api/v1/session", map[string]string{"email": "leaver@acme.example", "password": parleytest.Password}, nil).
		WantCode(t, 401, "sign_in_failed")
}
