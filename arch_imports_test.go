package parley_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const (
	module      = "parley"
	loadImports = packages.LoadImports
	loadTypes   = packages.LoadSyntax
)

// load reads packages of this module, tests excluded, under build tags and with files of an overlay (path in the
// repository → text) on top of those on disk.
func load(t *testing.T, mode packages.LoadMode, tags string, overlay map[string]string, patterns ...string) []*packages.Package {
	t.Helper()
	cfg := &packages.Config{Mode: mode, Overlay: map[string][]byte{}, Context: t.Context()}
	if tags != "" {
		cfg.BuildFlags = []string{"-tags=" + tags}
	}
	for name, text := range overlay {
		abs, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Overlay[abs] = []byte(text)
	}
	pkgs, err := packages.Load(cfg, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Errorf("%s: %v", p.PkgPath, e)
		}
	}
	return pkgs
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

// inModule returns a package's path inside this module.
func inModule(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// under reports whether path is dir or below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func underAny(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return under(path, d) })
}

// place returns the listed room that a package is in (the longest that covers it) and its line, or -1.
func place(pkg string) (room string, line int) {
	line = -1
	for i, l := range walls {
		for _, r := range l {
			if under(pkg, r) && len(r) > len(room) {
				room, line = r, i
			}
		}
	}
	return room, line
}

// checkWalls holds walls, onlyFrom, stdlibOnly and owners against the imports of the packages.
func checkWalls(pkgs []*packages.Package) (found []string) {
	for _, p := range pkgs {
		from, _ := inModule(p.PkgPath)
		_, line := place(from)
		if line < 0 && from != "." {
			found = append(found, fmt.Sprintf("%s: no line of the walls covers this package", from))
			continue
		}
		for _, path := range slices.Sorted(maps.Keys(p.Imports)) {
			if why := wall(from, path); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", from, path, why))
			}
		}
	}
	return found
}

// wall says why a package may not import a path, or "".
func wall(from, path string) string {
	to, ours := inModule(path)
	first, _, _ := strings.Cut(path, "/")
	if slices.Contains(stdlibOnly, from) && (ours || strings.Contains(first, ".")) {
		return "this package uses the standard library only"
	}
	for owned, rooms := range owners {
		if under(path, owned) && !underAny(from, rooms) {
			return fmt.Sprintf("only %v may", rooms)
		}
	}
	if !ours {
		return ""
	}
	fromRoom, fromLine := place(from)
	toRoom, toLine := place(to)
	for room, rooms := range onlyFrom {
		if toRoom == room && !underAny(from, rooms) && !under(from, room) {
			return fmt.Sprintf("only %v may", rooms)
		}
	}
	switch {
	case toLine < 0:
		return "it is in no line of the walls"
	case fromRoom == toRoom && under(from, to):
		return "" // a sub-package, its parent
	case fromRoom == toRoom && under(to, from):
		return "a sub-package stands below its parent"
	case toLine < fromLine:
		return ""
	case toLine == fromLine:
		return "they are on one line of the walls"
	}
	return "it is on a lower line of the walls"
}

// exemption admits the use of one dialer in one room.
type exemption struct {
	Room, Object string
	Sets         []string // fields that the package must set, for the use to be right
	Why          string
}

func (e exemption) key() string { return e.Room + " " + e.Object }

// checkDialers finds uses of the dialers in the packages, and notes the exemptions that they used.
func checkDialers(pkgs []*packages.Package, used map[string]bool) (found []string) {
	for _, p := range pkgs {
		from, _ := inModule(p.PkgPath)
		if underAny(from, noDialersIn) {
			continue
		}
		for _, file := range p.Syntax {
			for _, use := range dialersIn(p, file) {
				e, ok := exempt(from, use.object)
				if !ok {
					found = append(found, fmt.Sprintf("%s: %s is a way out of the process: use package egress", p.Fset.Position(use.pos), use.object))
					continue
				}
				used[e.key()] = true
				for _, field := range e.Sets {
					if !sets(p, field) {
						found = append(found, fmt.Sprintf("%s: %s is used by a package that never sets %s", p.Fset.Position(use.pos), use.object, field))
					}
				}
			}
			found = append(found, checkEscapes(p, file)...)
		}
	}
	return found
}

func exempt(from, object string) (exemption, bool) {
	for _, e := range exemptions {
		if under(from, e.Room) && e.Object == object {
			return e, true
		}
	}
	return exemption{}, false
}

type use struct {
	object string
	pos    token.Pos
}

// dialersIn resolves every name in the file, so that an import under another name, a method value or a dot import is found too.
func dialersIn(p *packages.Package, file *ast.File) (uses []use) {
	var stack []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		obj := p.TypesInfo.Uses[id]
		if obj == nil || obj.Pkg() == nil || obj.Parent() != obj.Pkg().Scope() {
			return true // not a package's own name: fields and methods belong to a type that is found itself
		}
		path := obj.Pkg().Path()
		names, ok := dialers[path]
		if !ok || (!slices.Contains(names, obj.Name()) && !slices.Contains(names, "*")) {
			return true
		}
		if _, isType := obj.(*types.TypeName); isType && behindPointer(stack) {
			return true
		}
		uses = append(uses, use{path + "." + obj.Name(), id.Pos()})
		return true
	})
	return uses
}

// behindPointer reports whether the type name that ends the stack is written as *T: a value handed on, not one made here.
func behindPointer(stack []ast.Node) bool {
	i := len(stack) - 2
	if _, ok := stack[i].(*ast.SelectorExpr); ok {
		i--
	}
	_, ok := stack[i].(*ast.StarExpr)
	return ok
}

// sets reports whether the package assigns a field of that name, or gives it in a literal.
func sets(p *packages.Package, field string) (found bool) {
	for _, file := range p.Syntax {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				id, ok := n.Key.(*ast.Ident)
				found = found || ok && id.Name == field
			case *ast.AssignStmt:
				for _, l := range n.Lhs {
					sel, ok := l.(*ast.SelectorExpr)
					found = found || ok && sel.Sel.Name == field
				}
			}
			return !found
		})
	}
	return found
}

// checkEscapes finds what goes round the type checker: cgo, linkname, and database/sql with another driver than SQLite's.
func checkEscapes(p *packages.Package, file *ast.File) (found []string) {
	bad := func(pos token.Pos, what string) {
		found = append(found, fmt.Sprintf("%s: %s", p.Fset.Position(pos), what))
	}
	for _, imp := range file.Imports {
		if imp.Path.Value == `"C"` {
			bad(imp.Pos(), "cgo is not used")
		}
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname") {
				bad(c.Pos(), "go:linkname is not used")
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		obj := p.TypesInfo.Uses[sel.Sel]
		if obj == nil || obj.Pkg() == nil || obj.Pkg().Path() != "database/sql" || obj.Name() != "Open" {
			return true
		}
		if v := p.TypesInfo.Types[call.Args[0]].Value; v == nil || constant.StringVal(v) != "sqlite" {
			bad(call.Pos(), "sql.Open is for the driver \"sqlite\" only")
		}
		return true
	})
	return found
}

// checkState finds package variables that something writes after they were declared, or that are made to be written. In
// internal/rtc/signal they are protobuf's generated descriptors, built at start and read ever after.
func checkState(pkgs []*packages.Package) (found []string) {
	for _, p := range pkgs {
		if from, _ := inModule(p.PkgPath); underAny(from, []string{"internal/parleytest", "tools", "internal/rtc/signal"}) {
			continue
		}
		global := func(e ast.Expr) *types.Var {
			for {
				switch x := e.(type) {
				case *ast.IndexExpr:
					e = x.X
				case *ast.SelectorExpr:
					if v := packageVar(p, x.Sel); v != nil {
						return v
					}
					e = x.X
				case *ast.StarExpr:
					e = x.X
				case *ast.ParenExpr:
					e = x.X
				case *ast.Ident:
					return packageVar(p, x)
				default:
					return nil
				}
			}
		}
		bad := func(pos token.Pos, v *types.Var) {
			found = append(found, fmt.Sprintf("%s: the package variable %s holds state", p.Fset.Position(pos), v.Name()))
		}
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					for _, l := range n.Lhs {
						if v := global(l); v != nil {
							bad(l.Pos(), v)
						}
					}
				case *ast.IncDecStmt:
					if v := global(n.X); v != nil {
						bad(n.Pos(), v)
					}
				}
				return true
			})
		}
		for _, name := range p.Types.Scope().Names() {
			if v, ok := p.Types.Scope().Lookup(name).(*types.Var); ok && stateful(v.Type()) {
				bad(v.Pos(), v)
			}
		}
	}
	return found
}

// packageVar returns the variable of this module's packages that the name means, or nil.
func packageVar(p *packages.Package, id *ast.Ident) *types.Var {
	v, ok := p.TypesInfo.Uses[id].(*types.Var)
	if !ok || v.IsField() || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
		return nil
	}
	return v
}

// stateful reports whether values of the type are there to change: locks, atomics, channels. A pool of buffers remembers nothing.
func stateful(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if _, ok := t.Underlying().(*types.Chan); ok {
		return true
	}
	n, ok := t.(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return false
	}
	path := n.Obj().Pkg().Path()
	return (path == "sync" && n.Obj().Name() != "Pool") || path == "sync/atomic"
}
