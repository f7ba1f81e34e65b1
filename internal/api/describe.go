package api

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed page.html page.css
var pageFiles embed.FS

// serveOpenAPI answers with the OpenAPI 3.1 document of what is mounted.
func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	a.describe.Do(a.render)
	w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	w.Header().Set("Access-Control-Allow-Origin", "*") // it says the same to everybody
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(a.openapi)
}

// servePage answers with the same for people: one page without scripts that loads nothing from anywhere.
func (a *API) servePage(w http.ResponseWriter, r *http.Request) {
	a.describe.Do(a.render)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", a.pageCSP)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(a.page)
}

// render describes the API once, when it is first asked for: all routes are mounted by then.
func (a *API) render() {
	doc := a.huma.OpenAPI()
	var err error
	if a.openapi, err = json.Marshal(doc); err != nil {
		a.log.Error("openapi", "cause", Cause(err))
		return
	}
	css, _ := pageFiles.ReadFile("page.css") // embedded: it is there
	sum := sha256.Sum256(css)
	a.pageCSP = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	t, err := template.ParseFS(pageFiles, "page.html")
	if err == nil {
		var b bytes.Buffer
		if err = t.Execute(&b, a.view(doc, template.CSS(css))); err == nil { //nolint:gosec // the style sheet is embedded
			a.page = b.Bytes()
		}
	}
	if err != nil {
		a.log.Error("api page", "cause", Cause(err))
	}
}

type pageView struct {
	Title, Version, Doc, Prefix string
	CSS                         template.CSS
	Chapters                    []chapterView
}

type chapterView struct {
	Name, Anchor string
	Ops          []opView
}

type opView struct {
	ID, Method, Path, Summary, Doc, Access, Curl string
	Params                                       []fieldView
	Body, Answer                                 []fieldView
	Status                                       string
	StatusText                                   string
}

type fieldView struct {
	Name, Type, Doc, In string
	Required            bool // of an input
	Absent              bool // an answer may lack it
	Depth               int
}

func (a *API) view(doc *huma.OpenAPI, css template.CSS) pageView {
	v := pageView{Title: a.opt.Title, Version: a.opt.Version, Doc: a.opt.Doc, Prefix: Prefix, CSS: css}
	at := map[string]int{}
	for _, r := range a.routes {
		op := operationOf(doc, r)
		if op == nil {
			continue
		}
		i, ok := at[r.Tag]
		if !ok {
			i = len(v.Chapters)
			at[r.Tag] = i
			v.Chapters = append(v.Chapters, chapterView{Name: r.Tag, Anchor: "chapter-" + strings.ToLower(strings.ReplaceAll(r.Tag, " ", "-"))})
		}
		v.Chapters[i].Ops = append(v.Chapters[i].Ops, describeOp(doc, r, op))
	}
	return v
}

func operationOf(doc *huma.OpenAPI, r Route) *huma.Operation {
	item := doc.Paths[r.Path]
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[r.Method]
}

func describeOp(doc *huma.OpenAPI, r Route, op *huma.Operation) opView {
	o := opView{ID: r.Name, Method: r.Method, Path: r.Path, Summary: r.Summary, Doc: op.Description, Access: r.Access.String()}
	reg := doc.Components.Schemas
	for _, p := range op.Parameters {
		o.Params = append(o.Params, fieldView{Name: p.Name, In: p.In, Type: typeName(reg, p.Schema), Doc: p.Description, Required: p.Required})
	}
	if op.RequestBody != nil {
		if m := op.RequestBody.Content["application/json"]; m != nil {
			o.Body = fields(reg, m.Schema, 0, nil)
		}
	}
	o.Status = strconv.Itoa(op.DefaultStatus)
	o.StatusText = http.StatusText(op.DefaultStatus)
	if res := op.Responses[o.Status]; res != nil {
		if m := res.Content["application/json"]; m != nil {
			o.Answer = fields(reg, m.Schema, 0, nil)
			for i := range o.Answer {
				f := &o.Answer[i]
				f.Required, f.Absent = false, !f.Required
			}
		}
	}
	o.Curl = curl(r, len(o.Body) > 0)
	return o
}

func curl(r Route, body bool) string {
	s := "curl"
	if r.Method != http.MethodGet {
		s += " -X " + r.Method
	}
	switch r.Access {
	case Visitor, AnyVisitor:
		s += ` -H "Authorization: Bearer $TOKEN"`
	case Member, Manager:
		s += " -b cookies"
	}
	if body {
		s += " --json @body.json"
	}
	return s + ` "$BASE` + Prefix + r.Path + `"`
}

func resolve(reg huma.Registry, s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return reg.SchemaFromRef(s.Ref)
	}
	return s
}

// fields lists a schema's properties, nested ones below their parent. A type inside itself is named only.
func fields(reg huma.Registry, s *huma.Schema, depth int, seen []string) []fieldView {
	if s != nil && s.Ref != "" {
		if slices.Contains(seen, s.Ref) {
			return nil
		}
		seen = append(seen, s.Ref)
	}
	s = resolve(reg, s)
	if s == nil || depth > 4 {
		return nil
	}
	if s.Type == "array" {
		return fields(reg, s.Items, depth, seen)
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	required := map[string]bool{}
	for _, name := range s.Required {
		required[name] = true
	}
	sort.Slice(names, func(i, j int) bool {
		if required[names[i]] != required[names[j]] {
			return required[names[i]]
		}
		return names[i] < names[j]
	})
	var out []fieldView
	for _, name := range names {
		p := s.Properties[name]
		doc := p.Description
		if doc == "" && p.Ref != "" {
			doc = resolve(reg, p).Description
		}
		out = append(out, fieldView{Name: name, Type: typeName(reg, p), Doc: doc, Required: required[name], Depth: depth})
		out = append(out, fields(reg, p, depth+1, seen)...)
	}
	return out
}

// typeName says what a value looks like, with its bounds, in a few words.
func typeName(reg huma.Registry, s *huma.Schema) string {
	s = resolve(reg, s)
	if s == nil {
		return "any"
	}
	t := s.Type
	switch {
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = fmt.Sprintf("%q", e)
		}
		t = strings.Join(words, " or ")
	case s.Type == "array":
		t = "list of " + typeName(reg, s.Items)
	case s.Format == "date-time":
		t = "time"
	case s.Format != "" && s.Type == "string":
		t = s.Format
	}
	if s.MaxLength != nil {
		t += fmt.Sprintf(", at most %d characters", *s.MaxLength)
	}
	if s.Minimum != nil && s.Maximum != nil {
		t += fmt.Sprintf(", %v to %v", *s.Minimum, *s.Maximum)
	}
	if s.Nullable {
		t += " or null"
	}
	return t
}
