package parley_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tests in this file plant each breach that the checks are there for, and want it found. Go files are planted by
// an overlay, so that nothing is written into the repository.

// wantFound wants exactly one finding that holds each of the words.
func wantFound(t *testing.T, found []string, words ...string) {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("%d findings, want 1:\n%s", len(found), strings.Join(found, "\n"))
	}
	for _, w := range words {
		if !strings.Contains(found[0], w) {
			t.Errorf("the finding does not say %q: %s", w, found[0])
		}
	}
}

func TestPlantedWallBreach(t *testing.T) {
	cases := []struct{ dir, imports, why string }{
		{"internal/actor", "parley/egress", "lower line"},
		{"internal/db", "parley/internal/actor", "on one line"},
		{"internal/bus/realtime", "parley/internal/api", "on one line"},
		{"internal/rtc", "parley/internal/rtc/client", "below its parent"},
		{"catalog", "github.com/google/uuid", "standard library only"},
		{"person", "github.com/jackc/pgx/v5", "only [internal/db"},
		{"cmd/parley", "parley/internal/parleytest/testdb", "only [internal/parleytest tools]"},
	}
	files, patterns := map[string]string{}, []string(nil)
	for _, c := range cases {
		files[c.dir+"/planted.go"] = plant(t, c.dir, "import _ \""+c.imports+"\"")
		patterns = append(patterns, "./"+c.dir)
	}
	found := checkWalls(load(t, loadImports, "", files, patterns...))
	for _, c := range cases {
		wantFound(t, mention(found, c.dir+" imports "+c.imports+":"), c.why)
	}
}

// mention returns the findings that hold the word.
func mention(found []string, word string) (out []string) {
	for _, f := range found {
		if strings.Contains(f, word) {
			out = append(out, f)
		}
	}
	return out
}

// plant returns a file's text for the package in dir.
func plant(t *testing.T, dir, body string) string {
	t.Helper()
	for name, text := range repository(t) {
		if filepath.Dir(name) != dir || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if strings.HasPrefix(line, "package ") {
				return "// Package planted by a test.\n" + line + "\n" + body + "\n"
			}
		}
	}
	t.Fatalf("no package in %s", dir)
	return ""
}

func TestPlantedRoomWithoutAPlace(t *testing.T) {
	if _, line := place("internal/fresh"); line >= 0 {
		t.Error("a package that no line covers has a place")
	}
	if why := wall("internal/fresh", module+"/catalog"); why == "" {
		t.Error("a package without a place may import")
	}
}

// TestPlantedDialersAndState plants one file for each breach into one package, so that it is loaded once.
func TestPlantedDialersAndState(t *testing.T) {
	planted := []struct{ body, finding string }{
		{"import \"net\"\nfunc pN() { _, _ = net.Dial(\"tcp\", \"example.com:1\") }", "net.Dial is"},
		{"import . \"net\"\nvar pN = DialTimeout", "net.DialTimeout is"},
		{"import \"net\"\nfunc pN() any { return &net.Dialer{} }", "net.Dialer is"},
		{"import \"net\"\nvar pN = net.DefaultResolver", "net.DefaultResolver is"},
		{"import web \"net/http\"\nfunc pN() { _, _ = web.Get(\"http://example.com\") }", "net/http.Get is"},
		{"import \"net/http\"\nfunc pN(r *http.Request) { _, _ = http.DefaultClient.Do(r) }", "net/http.DefaultClient is"},
		{"import \"net/http\"\nfunc pN(r *http.Request) { _, _ = new(http.Client).Do(r) }", "net/http.Client is"},
		{"import \"net/http\"\ntype pN struct{ t http.Transport }", "net/http.Transport is"},
		{"import \"net/http/httputil\"\nvar pN = httputil.NewSingleHostReverseProxy", "NewSingleHostReverseProxy is"},
		{"import \"crypto/tls\"\nfunc pN() { _, _ = tls.Dial(\"tcp\", \"example.com:1\", nil) }", "crypto/tls.Dial is"},
		{"import \"net/smtp\"\nvar pN = smtp.SendMail", "net/smtp.SendMail is"},
		{"import \"os/exec\"\nfunc pN() { _ = exec.Command(\"curl\").Run() }", "os/exec.Command is"},
		{"import \"database/sql\"\nvar pN = sql.OpenDB", "database/sql.OpenDB is"},
		{"import \"github.com/redis/go-redis/v9\"\nvar pN = redis.NewClient", "redis/go-redis/v9.NewClient is"},
		{"import _ \"unsafe\"\n//go:linkname pN net.Dial\nfunc pN()", "go:linkname is not used"},
		{"var pN int\nfunc setN() { pN = 1 }", "pN holds state"},
		{"var pN = map[string]int{}\nfunc setN() { pN[\"a\"]++ }", "pN holds state"},
		{"import \"sync\"\nvar pN sync.Mutex", "pN holds state"},
		{"var pN = make(chan int)", "pN holds state"},
		// What egress made may be named, kept and used.
		{"import \"net/http\"\ntype pN struct{ c *http.Client }\nfunc (p pN) do(r *http.Request) { _, _ = p.c.Do(r) }", ""},
		{"import \"github.com/redis/go-redis/v9\"\nvar pN = redis.Options{Dialer: nil}", ""},
	}
	files := map[string]string{}
	for i, p := range planted {
		files[plantedFile(i)] = plant(t, "internal/actor", numbered(p.body, i))
	}
	pkgs := load(t, loadTypes, "", files, "./internal/actor")
	found := append(checkDialers(pkgs, map[string]bool{}), checkState(pkgs)...)
	for i, p := range planted {
		if here := mention(found, plantedFile(i)); p.finding == "" {
			report(t, here)
		} else {
			wantFound(t, here, numbered(p.finding, i))
		}
	}
	// An exempted use is right only in a package that sets the field.
	if !sets(pkgs[0], "Dialer") || sets(pkgs[0], "DialFunc") {
		t.Error("the fields that a package sets are not seen")
	}
}

func plantedFile(i int) string { return fmt.Sprintf("internal/actor/planted_%02d.go", i) }

// numbered gives the names of a planted file a number, since all are in one package.
func numbered(s string, i int) string {
	return strings.NewReplacer("pN", fmt.Sprintf("p%d", i), "setN", fmt.Sprintf("set%d", i)).Replace(s)
}

func TestPlantedSource(t *testing.T) {
	const doc = "// Package chat is planted.\n"
	for want, files := range map[string]map[string][]byte{
		"has 700 lines":             {"chat/a.go": []byte(doc + "package chat\n" + strings.Repeat("\n", 698))},
		"has 700 lines, of":         {"web/src/a.ts": []byte(strings.Repeat("\n", 700))},
		"long has 92 lines":         {"chat/a.go": []byte(doc + "package chat\nfunc long() {\n" + strings.Repeat("\n", 90) + "}\n")},
		"init functions":            {"chat/a.go": []byte(doc + "package chat\nfunc init() {}\n")},
		"package name \"util\"":     {"chat/util/a.go": []byte("// Package util is planted.\npackage util\n")},
		"no doc comment":            {"chat/a.go": []byte("package chat\n")},
		"tests are package":         {"chat/a_test.go": []byte("package chat\n")},
		"a test that needs":         {"chat/a_test.go": []byte("package chat_test\nfunc TestX(t *testing.T) { t.Skip() }\n")},
		"expected 'package', found": {"chat/a.go": []byte("no Go\n")},
	} {
		wantFound(t, checkSource(files), want)
	}
	report(t, checkSource(map[string][]byte{
		"chat/a.go":            []byte(doc + "package chat\n"),
		"chat/b.go":            []byte("// Code generated by x. DO NOT EDIT.\npackage chat\n" + strings.Repeat("\n", 700)),
		"chat/a_test.go":       []byte("package chat_test\nfunc FuzzX(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { t.Skip() }) }\n"),
		"web/dist/app/a.js":    []byte(strings.Repeat("\n", 700)),
		"web/package-lock.txt": []byte(strings.Repeat("\n", 700)),
	}))
}

func TestPlantedPlaces(t *testing.T) {
	for _, text := range []string{"cd /wo" + "rk/main", "see /ho" + "me/kim/x", "/ro" + "ot/go", "https://registry.npmjs" + ".org/x", "GOPROXY=https://proxy.golang" + ".org"} {
		wantFound(t, checkPlaces(map[string][]byte{"docs/a.md": []byte("fine\n" + text)}), "docs/a.md:2")
	}
	report(t, checkPlaces(map[string][]byte{"docs/a.md": []byte("a framework, /var/lib/parley, ./work"), "a.png": []byte("\x00/ro" + "ot/")}))
}

func TestPlantedURL(t *testing.T) {
	for name, text := range map[string]string{
		"dist/app/a.js":      `fetch("https://cdn.bad-host.io/x.js")`,
		"dist/app/b.js":      `const u="https:\/\/cdn.bad-host.io\/x"`,
		"dist/app/app.html":  `<script src="//cdn.bad-host.io/x.js"></script>`,
		"dist/app/a.css":     `@font-face{src:url(//cdn.bad-host.io/f.woff2)}`,
		"dist/app/b.css":     `@import "https://cdn.bad-host.io/x.css";`,
		"dist/widget.js":     `new WebSocket("wss://cdn.bad-host.io/ws")`,
		"src/ui/a.svelte":    `<a href="https://cdn.bad-host.io">more</a>`,
		"src/ui/b.ts":        `import x from "//cdn.bad-host.io/x.js"`,
		"src/user.ts":        "fetch('https://shop.example:80@cdn.bad-host.io/')",
		"src/below.ts":       "fetch('https://shop.example.cdn.bad-host.io/')",
		"dist/w/images.html": `<img srcset="//cdn.bad-host.io/a.png 2x">`,
	} {
		t.Run(name, func(t *testing.T) {
			wantFound(t, checkURLs(tree(t, map[string]string{name: text})), name, "cdn.bad-host.io")
		})
	}
	report(t, checkURLs(tree(t, map[string]string{
		"dist/app/a.js":             "const ns='http://www.w3.org/2000/svg', u=`wss://${location.host}/ws`, v='https://'+h // a comment",
		"dist/app/a.css":            "a{background:url(/app/assets/a.svg)}",
		"src/a.ts":                  "// see //elsewhere\nconst a = 'https://shop.example/', b = 'http://localhost:8081/', c = 'http://127.0.0.1:8080', d = `http://localhost:${port}/x`, e = 'at https://b.example!'",
		"node_modules/x/index.js":   "fetch('https://cdn.bad-host.io')",
		"vite.app.config.ts":        "code.replaceAll('https://cdn.bad-host.io', '')",
		"src/paraglide/messages.js": "// https://cdn.bad-host.io",
	})))
}

// tree writes files into a directory that goes with the test.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPlantedDependency(t *testing.T) {
	files := map[string]string{
		"go.mod":               "module parley\nrequire github.com/google/uuid v1.6.0\nrequire example.com/new v1.0.0\nrequire example.com/deep v1.0.0 // indirect\n",
		"tools/lint/go.mod":    "module lint\n",
		"tools/pebble/go.mod":  "module pebble\n",
		"web/package.json":     `{"devDependencies": {"vite": "1.0.0"}}`,
		"docs/dependencies.md": "| `github.com/google/uuid` | ids |\n| `vite` | builds |\n| `example.com/new` | new |\n",
	}
	wantFound(t, checkDependencies(tree(t, files)), "example.com/new", "reach")
	files["go.mod"] = strings.ReplaceAll(files["go.mod"], "require example.com/new v1.0.0\n", "")
	wantFound(t, checkDependencies(tree(t, files)), "describes example.com/new")
	files["docs/dependencies.md"] = "| `github.com/google/uuid` | ids |\n"
	wantFound(t, checkDependencies(tree(t, files)), "no line for vite")
}
