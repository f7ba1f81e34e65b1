package parley_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repository returns the text of every file that is, or could be, committed, by its path.
func repository(t *testing.T) map[string][]byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	return files
}

// badNames say nothing about what a package is for.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared", "lib", "types"}

// checkSource looks at each file by itself: its length and its functions', names, docs, init functions, skipped tests.
func checkSource(files map[string][]byte) (found []string) {
	documented := map[string]bool{} // directory of a Go package → it has a doc comment
	for name, text := range files {
		if !sourceFile(name) || generated(text) {
			continue
		}
		if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
			found = append(found, fmt.Sprintf("%s has %d lines, of %d", name, n, maxFileLines))
		}
		if path.Ext(name) == ".go" {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				found = append(found, err.Error())
				continue
			}
			found = append(found, checkFile(fset, name, file)...)
			if !strings.HasSuffix(name, "_test.go") {
				dir := path.Dir(name)
				documented[dir] = documented[dir] || file.Doc != nil
			}
		}
	}
	for dir, ok := range documented {
		if !ok {
			found = append(found, fmt.Sprintf("%s: the package has no doc comment that says what it is for", dir))
		}
	}
	slices.Sort(found)
	return found
}

func sourceFile(name string) bool {
	if strings.HasPrefix(name, "web/dist/") || strings.Contains(name, "/paraglide/") {
		return false
	}
	return slices.Contains([]string{".go", ".ts", ".svelte", ".css", ".mjs", ".js"}, path.Ext(name))
}

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func generated(text []byte) bool { return generatedMark.Match(text) }

func checkFile(fset *token.FileSet, name string, file *ast.File) (found []string) {
	bad := func(pos token.Pos, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(pos), fmt.Sprintf(format, args...)))
	}
	test := strings.HasSuffix(name, "_test.go")
	if slices.Contains(badNames, file.Name.Name) {
		bad(file.Name.Pos(), "the package name %q says nothing", file.Name.Name)
	}
	if test && path.Base(name) != "export_test.go" && !strings.HasSuffix(file.Name.Name, "_test") {
		bad(file.Name.Pos(), "tests are package %s_test", file.Name.Name)
	}
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
			bad(fn.Pos(), "%s has %d lines, of %d", fn.Name.Name, n, maxFuncLines)
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			bad(fn.Pos(), "init functions are not used")
		}
	}
	if test {
		ast.Inspect(file, func(n ast.Node) bool { return skips(n, bad) })
	}
	return found
}

// skips finds tests that skip themselves; a fuzz target may pass over an input.
func skips(n ast.Node, bad func(token.Pos, string, ...any)) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	switch sel.Sel.Name {
	case "Fuzz":
		return false
	case "Skip", "Skipf", "SkipNow":
		if id, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "tb", "f"}, id.Name) {
			bad(call.Pos(), "a test that needs something fails without it")
		}
	}
	return true
}

// places are paths of one machine and hosts that packages come from: the repository names neither. Split, so that this file may stand.
var places = regexp.MustCompile(`/wo` + `rk/(main|shared)|/ro` + `ot/|/ho` + `me/[a-z]|(proxy|sum)\.golang` + `\.org|registry\.npmjs` + `\.org|deb\.debian` + `\.org|goproxy` + `\.`)

// checkPlaces finds machine paths and registry hosts in the files.
func checkPlaces(files map[string][]byte) (found []string) {
	for name, text := range files {
		if bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
			continue // an image or a font
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if m := places.Find(line); m != nil {
				found = append(found, fmt.Sprintf("%s:%d: %q belongs to one machine or registry", name, i+1, m))
			}
		}
	}
	slices.Sort(found)
	return found
}

// absoluteURL finds URLs with a host, escaped slashes included; looseURL those that take the page's scheme, where HTML, CSS
// or an import would load them.
var (
	absoluteURL = regexp.MustCompile(`(?i)\b(?:https?|wss?|ftp):(?:\\?/){2}[^\s"'<>` + "`" + `)\\]*`)
	looseURL    = regexp.MustCompile(`(?i)(?:\b(?:src|href|action|srcset|poster|data)\s*=\s*["']?|url\(\s*["']?|@import\s+["']|\b(?:import|from|fetch|importScripts|Worker|WebSocket)\s*\(?\s*["'` + "`" + `])(//[a-z0-9][^\s"'<>)]*)`)
	ownHost     = regexp.MustCompile(`(?i)^(?:localhost|127\.0\.0\.1|\[::1\]|[a-z0-9.-]*\.?(?:example|test|invalid|localhost)|(?:[a-z0-9-]+\.)*example\.(?:com|net|org))(?::(?:\d+|\$\{[^}]*\}?))?(?:[^a-z0-9.@_:-]|\.?$)`)
)

// checkURLs finds addresses of third parties in a front end's sources and in what was built of them. What only builds
// it or tests it (scripts, *.config.*, *.test.*) is never sent to a browser.
func checkURLs(root string) (found []string) {
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"node_modules", "paraglide", "cache", "test-results", "scripts", "journeys"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".html", ".js", ".mjs", ".ts", ".css", ".svelte", ".svg", ".json", ".webmanifest", ".txt", ".map"}, path.Ext(name)) ||
			d.Name() == "package-lock.json" || strings.Contains(d.Name(), ".config.") || strings.Contains(d.Name(), ".test.") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, u := range thirdParties(text) {
			found = append(found, fmt.Sprintf("%s: %q leads to a third party", name, u))
		}
		return nil
	})
	if err != nil {
		found = append(found, err.Error())
	}
	return found
}

func thirdParties(text []byte) (urls []string) {
	for _, m := range absoluteURL.FindAll(text, -1) {
		u := strings.ReplaceAll(string(m), `\`, "")
		_, rest, _ := strings.Cut(u, "//")
		// "https://${host}" and "'https://' + host" name nobody: the content policy decides at run time.
		if rest == "" || strings.HasPrefix(rest, "$") || strings.HasPrefix(rest, "{") || ownHost.MatchString(rest) || known(u) {
			continue
		}
		urls = append(urls, u)
	}
	for _, m := range looseURL.FindAllSubmatch(text, -1) {
		if rest := strings.TrimPrefix(string(m[1]), "//"); !ownHost.MatchString(rest) {
			urls = append(urls, string(m[1]))
		}
	}
	return urls
}

func known(u string) bool {
	for prefix := range knownURLs {
		if strings.HasPrefix(u, prefix) {
			return true
		}
	}
	return false
}

// checkDependencies wants a line in docs/dependencies.md for whatever is required directly, and none for what is not; and
// a word on every Go module's way to the network.
func checkDependencies(root string) (found []string) {
	bad := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		return []string{err.Error()}
	}
	wanted := map[string]bool{}
	for _, name := range []string{"go.mod", "tools/lint/go.mod", "tools/pebble/go.mod"} {
		mods, err := directModules(filepath.Join(root, name))
		if err != nil {
			return append(found, err.Error())
		}
		for _, m := range mods {
			wanted[m] = true
			if _, ok := reach[m]; !ok && name == "go.mod" {
				bad("%s: reach in arch_test.go does not say how it could reach the network", m)
			}
		}
	}
	if err := npmPackages(filepath.Join(root, "web", "package.json"), wanted); err != nil {
		bad("%v", err)
	}
	described := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllSubmatch(doc, -1) {
		described[string(m[1])] = true
	}
	for name := range wanted {
		if !described[name] {
			bad("docs/dependencies.md has no line for %s", name)
		}
	}
	for name := range described {
		if !wanted[name] {
			bad("docs/dependencies.md describes %s, which nothing requires", name)
		}
	}
	slices.Sort(found)
	return found
}

// directModules returns the modules that a go.mod requires not only for the sake of others, and those of its tools.
func directModules(name string) (mods []string, err error) {
	out, err := exec.Command("go", "mod", "edit", "-json", name).Output()
	if err != nil {
		return nil, fmt.Errorf("go mod edit %s: %w", name, err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return nil, err
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			mods = append(mods, r.Path)
		}
	}
	return mods, nil
}

func npmPackages(name string, into map[string]bool) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var manifest struct{ Dependencies, DevDependencies map[string]string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		return err
	}
	for _, set := range []map[string]string{manifest.Dependencies, manifest.DevDependencies} {
		for pkg := range set {
			into[pkg] = true
		}
	}
	return nil
}
