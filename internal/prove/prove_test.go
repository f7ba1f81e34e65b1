package prove_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
	"parley/internal/prove"
)

// partly are promises that cannot be called kept before a later part is here, and of which something is shown already.
var partly = []string{"A4", "B2", "B3", "D4", "E1", "F1", "F15", "G2", "G6", "G16", "I1", "I6", "I8"}

// kept are the promises that this product keeps whole.
var kept = []string{"A1", "A2", "B1", "D1", "D2", "D3", "D5", "D11", "E2", "E3", "F7", "F8", "G1", "G14", "H1", "I2", "I3", "I4", "I5", "I7"}

func TestProve(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { proves(t, prove.Options{Version: "test"}) })
	t.Run("postgres with redis", func(t *testing.T) {
		o := prove.Options{Version: "test", Database: testdb.Postgres(t), Redis: testdb.Redis(t)}
		proves(t, o)
		if n := tables(t, o.Database); n != 0 {
			t.Errorf("it left %d tables behind", n)
		}
	})
}

func proves(t *testing.T, o prove.Options) {
	t.Helper()
	report, err := prove.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Fatalf("%v\n%s", err, text.Bytes())
	}
	var ids []string
	for _, row := range report.Rows {
		ids = append(ids, row.ID)
		if got, want := row.Status == prove.Kept, slices.Contains(kept, row.ID); got != want {
			t.Errorf("%s is %s", row.ID, row.Status)
		}
		if (row.Status == prove.NotBuilt) != (row.Part != "") {
			t.Errorf("%s is %s, and the part to bring it is %q", row.ID, row.Status, row.Part)
		}
		if slices.Contains(partly, row.ID) && len(row.Evidence) == 0 {
			t.Errorf("%s has no evidence of what is there already", row.ID)
		}
		if !strings.Contains(text.String(), row.Text) {
			t.Errorf("the text does not show %s", row.ID)
		}
	}
	if !slices.Equal(ids, prove.Ids()) || len(ids) != 121 {
		t.Errorf("%d rows: %v", len(ids), ids)
	}
}

// docs/compliance.md explains every line that the report can show evidence for.
func TestEveryLineIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(page), "## What the lines mean")
	for _, id := range slices.Concat(kept, partly) {
		if !regexp.MustCompile(`(?m)^\| (?:[A-Z0-9, ]*, )?` + id + `(?:,[A-Z0-9, ]*)? \|`).MatchString(rows) {
			t.Errorf("docs/compliance.md does not say what %s means", id)
		}
	}
}

func TestJSONHasOneShape(t *testing.T) {
	var b bytes.Buffer
	r := prove.Report{Rows: []prove.Row{{ID: "A1", Status: prove.Kept, Text: "<Optional>", Evidence: []string{"seen"}}}}
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(b.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	want := `[{"evidence":["seen"],"id":"A1","part":"","status":"kept","text":"<Optional>"}]`
	var compact bytes.Buffer
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rows); err != nil || strings.TrimSpace(compact.String()) != want {
		t.Errorf("JSON is %s (%v), want %s", &compact, err, want)
	}
}

// The proof makes and drops tables and destroys keys: it must not come near data.
func TestRefusesWhatIsUsed(t *testing.T) {
	t.Run("database", func(t *testing.T) {
		url := testdb.Postgres(t)
		if err := psql(t, url, "CREATE TABLE diary (page TEXT)"); err != nil {
			t.Fatal(err)
		}
		_, err := prove.Run(t.Context(), prove.Options{Database: url})
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != "database_used" {
			t.Errorf("it says %v", err)
		}
		if err := psql(t, url, "SELECT page FROM diary"); err != nil {
			t.Errorf("the table is gone: %v", err)
		}
	})
	t.Run("redis", func(t *testing.T) {
		url := testdb.Redis(t)
		opt, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(opt)
		defer c.Close()
		if err := c.Set(t.Context(), "somebody", "else", 0).Err(); err != nil {
			t.Fatal(err)
		}
		_, err = prove.Run(t.Context(), prove.Options{Redis: url})
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != "redis_used" {
			t.Errorf("it says %v", err)
		}
	})
}

// tables counts what is in a database.
func tables(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_%' OR nspname = 'information_schema')").Scan(&n)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n
}

func psql(t *testing.T, url, statement string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(t.Context(), statement)
	return errors.Join(err, conn.Close(t.Context()))
}

// mistake is what a programmer might do: in a file of the repository, something becomes something else.
type mistake struct{ path, was, becomes string }

// program builds the real program with mistakes in it.
func program(t *testing.T, mistakes []mistake) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, m := range mistakes {
		source, err := filepath.Abs(filepath.Join("..", "..", filepath.FromSlash(m.path)))
		if err != nil {
			t.Fatal(err)
		}
		from := source
		if planted, again := replace[source]; again {
			from = planted
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), m.was) != 1 {
			t.Fatalf("%s does not hold %q once: plant it elsewhere", m.path, m.was)
		}
		replace[source] = filepath.Join(dir, strconv.Itoa(i)+".go")
		if err := os.WriteFile(replace[source], []byte(strings.Replace(string(text), m.was, m.becomes, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "parley")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", out, "./cmd/parley")
	build.Dir = filepath.Join("..", "..")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	return out
}

// What a programmer might do by mistake turns the proof to broken, and the report names the place.
func TestPlantedMistakes(t *testing.T) {
	const seal = "m.Body, err = s.vault.Seal(ctx, keyOf(sc.org, conversation), FieldBody, m.ID, body, provenance(sc.kind))"
	for _, plant := range []struct {
		name     string
		mistakes []mistake
		says     map[string][]string // id → what its evidence holds
	}{
		{"a name in a plain column, a message in the log, a query that is kept", []mistake{
			{"person/person.go", "\tif p.Name != nil && *p.Name != \"\" {", "\tif p.Name != nil && *p.Name != \"\" {\n\t\td.Locale += *p.Name"},
			{"chat/message.go", seal, "s.log.Info(\"sending\", \"code\", body)\n\t" + seal},
			{"chat/visitor.go", "cut((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), maxPageURL)", "cut(u.String(), maxPageURL)"},
		}, map[string][]string{
			"I7": {"table person, column locale", "person.name", "file parley.db"},
			"E3": {"the log, ", "chat.message.body", "kept without query and fragment"},
		}},
		{"a sealed column that holds the text itself, a field that the proof does not plant", []mistake{
			{"chat/message.go", seal, "m.Body = vault.FromBytes([]byte(body))"},
			{"person/data.go", "\t\t\"email_index\":", "\t\t\"phone\": catalog.Sealed(catalog.Contact, \"person.phone\").Maybe(),\n\t\t\"email_index\":"},
			{"person/schema/001.sql", "\temail_index BLOB,", "\temail_index BLOB,\n\tphone BLOB,"},
		}, map[string][]string{
			"I7": {"table chat_message, column body", "chat_message.body (field chat.message.body) holds a value that is not sealed",
				"nobody planted a canary in person.phone (field person.phone)"},
		}},
		{"a key that survives, a ledger that is not replayed", []mistake{
			{"vault/destroy.go", "DELETE FROM vault_key WHERE doom = $1", "UPDATE vault_key SET doom = doom WHERE doom = $1"},
			{"privacy/privacy.go", "for _, key := range hits {", "for _, key := range hits[:0] {"},
		}, map[string][]string{
			"F7": {"destroyed keys are gone from the key store's files"},
			"F8": {"after an old backup was restored"},
		}},
		{"a media engine that passes a name on, and lets addresses into the log", []mistake{
			{"internal/rtc/http.go", "\tsid           string // of the participation to be resumed", "\tsid, name     string"},
			{"internal/rtc/http.go", "sid: q.Get(\"sid\"),", "sid: q.Get(\"sid\"), name: q.Get(\"name\"),"},
			{"internal/rtc/http.go", "\te.stats.signalling.Add(1)\n", "\te.stats.signalling.Add(1)\n\te.log.Info(\"joining\", \"code\", e.clientAddr(r).String())\n"},
			{"internal/rtc/participant.go", "Identity: p.Identity, State: p.state,", "Identity: p.Identity, Name: p.name, State: p.state,"},
			{"internal/rtc/transport/nominate.go", "import (\n", "import (\n\t\"log\"\n"},
			{"internal/rtc/transport/nominate.go", "\tn.count(remote)\n", "\tn.count(remote)\n\tlog.Println(\"a check from\", remote)\n"},
		}, map[string][]string{
			"I7": {"has no name, no metadata and no attribute", "ParticipantInfo.name"},
			"E2": {"the log, during a call: readable ", "the address of an agent", "the address and port of the visitor's media"},
			"E3": {"frames of the signalling shows what the visitor told the media engine as name"},
		}},
	} {
		t.Run(plant.name, func(t *testing.T) {
			rows := failing(t, program(t, plant.mistakes))
			for id, says := range plant.says {
				if rows[id].Status != prove.Broken {
					t.Errorf("%s is %s", id, rows[id].Status)
				}
				evidence := strings.Join(rows[id].Evidence, "\n")
				for _, want := range says {
					if !strings.Contains(evidence, want) {
						t.Errorf("%s does not say %q:\n%s", id, want, evidence)
					}
				}
			}
		})
	}
}

// failing runs "parley prove" of a program, which has to fail, and returns its rows.
func failing(t *testing.T, parley string) map[string]prove.Row {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), parley, "prove", "--json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("parley prove ended with %v, want exit code 1\n%s%s", err, &stdout, &stderr)
	}
	var list []prove.Row
	if err := json.Unmarshal(stdout.Bytes(), &list); err != nil {
		t.Fatalf("%v: %s%s", err, &stdout, &stderr)
	}
	rows := map[string]prove.Row{}
	for _, row := range list {
		rows[row.ID] = row
	}
	if !strings.Contains(stderr.String(), "broken: ") {
		t.Errorf("it does not say what is broken: %s", &stderr)
	}
	return rows
}
