package testdb_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"parley/internal/parleytest/testdb"
)

func TestPostgresDatabasesAreFreshAndSeparate(t *testing.T) {
	a, b := testdb.Postgres(t), testdb.Postgres(t)
	if a == b {
		t.Fatal("two calls gave one database")
	}
	for _, url := range []string{a, b} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if _, err := conn.Exec(t.Context(), "CREATE TABLE thing (id TEXT PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresIsHonest(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var fsync string
	if err := conn.QueryRow(t.Context(), "SHOW fsync").Scan(&fsync); err != nil {
		t.Fatal(err)
	}
	if want := os.Getenv("PARLEY_TEST_PG_FAST") != "1"; (fsync == "on") != want {
		t.Errorf("fsync is %s", fsync)
	}
	var super, before bool
	if err := conn.QueryRow(t.Context(), "SELECT rolsuper, 'a' < 'B' FROM pg_roles WHERE rolname = current_user").Scan(&super, &before); err != nil {
		t.Fatal(err)
	}
	if super {
		t.Error("tests run as a superuser: a missing grant would not show")
	}
	if os.Getenv(testdb.EnvPostgres) == "" && !before {
		t.Error("the default collation is C: a missing COLLATE would not show")
	}
}

func TestRedisIsPrivate(t *testing.T) {
	first, second := open(t, testdb.Redis(t)), open(t, testdb.Redis(t))
	if err := first.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := second.Exists(t.Context(), "k").Result(); err != nil || n != 0 {
		t.Errorf("the second server has the first one's key: %d, %v", n, err)
	}
}

func open(t *testing.T, url string) *redis.Client {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestEachRunsBothEngines(t *testing.T) {
	var seen []string
	testdb.Each(t, func(t *testing.T, url string) {
		scheme, _, _ := strings.Cut(url, ":")
		seen = append(seen, scheme)
	})
	if got := strings.Join(seen, " "); got != "sqlite postgres" {
		t.Errorf("Each ran %q", got)
	}
	if path := strings.TrimPrefix(testdb.SQLite(t), "sqlite://"); !filepath.IsAbs(path) {
		t.Errorf("SQLite's path %q is not absolute", path)
	}
}

// TestServersEndWithAKilledProcess starts this test binary again, lets it start both servers and kills it.
func TestServersEndWithAKilledProcess(t *testing.T) {
	if os.Getenv("TESTDB_CHILD") == "1" {
		pg, err := testdb.StartPostgres()
		if err != nil {
			t.Fatal(err)
		}
		r, err := testdb.StartRedis()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(os.Getenv("TESTDB_OUT"), []byte(filepath.Dir(pg.Log)+"\n"+filepath.Dir(r.Log)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("ready\n")
		select {}
	}
	out := filepath.Join(t.TempDir(), "dirs")
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersEndWithAKilledProcess$")
	cmd.Env = append(os.Environ(), "TESTDB_CHILD=1", "TESTDB_OUT="+out)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	if n, _ := stdout.Read(buf); !strings.HasPrefix(string(buf[:n]), "ready") {
		_ = cmd.Process.Kill()
		t.Fatalf("the child said %q", buf[:n])
	}
	dirs, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for dir := range strings.SplitSeq(string(dirs), "\n") {
		for { // another process removes it: there is no event to wait for
			if _, err := os.Stat(dir); os.IsNotExist(err) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there: its server outlived the test", dir)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
