package api

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/fault"
)

// Access says who may call a route. The zero value is undecided and Mount refuses it.
type Access uint8

// Who may call a route.
const (
	accessUndecided Access = iota
	Public                 // anybody
	AnyVisitor             // anybody; a bearer token that comes along must be good, and then the visitor acts
	Visitor                // a visitor with a bearer token
	Member                 // a member of the organisation, whatever the role
	Manager                // a member who is owner or admin
)

func (a Access) String() string {
	return [...]string{"undecided", "anybody", "a visitor, known or new", "a visitor", "a member", "an owner or admin"}[a]
}

// Route is one operation and the rule for calling it.
type Route struct {
	Method  string
	Path    string // below Prefix: "/members/{id}"
	Access  Access
	Purpose catalog.Purpose // of the reads of personal data it makes; default catalog.Service
	Name    string          // operation id: "list-members"
	Summary string          // a few words
	Doc     string          // what a caller needs to know beyond the schema
	Tag     string          // chapter on the page
	Status  int             // of success; default 200, or 204 without a body
	MaxBody int64           // bytes; default DefaultMaxBody
	Once    bool            // takes an Idempotency-Key

	bind func(*API, Route)
}

// Op makes a route of a huma handler: I is read from the request by its tags, O written by its. The handler finds the
// actor and the purpose in ctx; a *fault.Error that it returns becomes a problem document.
func Op[I, O any](r Route, handle func(context.Context, *I) (*O, error)) Route {
	r.bind = func(a *API, r Route) {
		huma.Register(a.huma, a.operation(r), func(ctx context.Context, in *I) (*O, error) {
			out, err := handle(ctx, in)
			if err != nil {
				return nil, a.fromFault(ctx, err)
			}
			return out, nil
		})
		// huma names its own error types even where they are not used.
		for _, name := range []string{"HumaErrorModel", "HumaErrorDetail"} {
			delete(a.huma.OpenAPI().Components.Schemas.Map(), name)
		}
	}
	return r
}

// Raw makes a route of a plain handler, for answers that are not JSON. It is authorised like the others and is not in the OpenAPI document.
func Raw(r Route, h http.Handler) Route {
	r.bind = func(a *API, r Route) {
		a.mux.HandleFunc(r.Method+" "+Prefix+r.Path, func(w http.ResponseWriter, req *http.Request) {
			ctx, err := a.authorise(req, r)
			if err != nil {
				Problem(w, req, err)
				return
			}
			h.ServeHTTP(w, req.WithContext(ctx))
		})
	}
	return r
}

// Mount adds routes. It panics on a route that is not fully declared: the table is part of the program.
func (a *API) Mount(routes ...Route) {
	for _, r := range routes {
		switch {
		case r.bind == nil:
			panic(fmt.Sprintf("api: %s %s has no handler: make routes with Op or Raw", r.Method, r.Path))
		case r.Access == accessUndecided:
			panic(fmt.Sprintf("api: %s %s does not say who may call it", r.Method, r.Path))
		case r.Name == "" || r.Summary == "" || r.Tag == "":
			panic(fmt.Sprintf("api: %s %s needs a name, a summary and a tag", r.Method, r.Path))
		}
		if r.Purpose == "" {
			r.Purpose = catalog.Service
		}
		if r.MaxBody == 0 {
			r.MaxBody = DefaultMaxBody
		}
		r.bind(a, r)
		a.routes = append(a.routes, r)
	}
}

func (a *API) operation(r Route) huma.Operation {
	op := huma.Operation{
		OperationID: r.Name, Method: r.Method, Path: r.Path, Summary: r.Summary, Description: r.Doc,
		Tags: []string{r.Tag}, DefaultStatus: r.Status,
		MaxBodyBytes: r.MaxBody + 1, // huma refuses a body that fills its limit
		Responses:    map[string]*huma.Response{"default": a.problemResponse()},
		Middlewares:  huma.Middlewares{a.authMiddleware(r)},
	}
	switch r.Access {
	case Member, Manager:
		op.Security = []map[string][]string{{"member": {}}}
	case Visitor:
		op.Security = []map[string][]string{{"visitor": {}}}
	case AnyVisitor:
		op.Security = []map[string][]string{{}, {"visitor": {}}}
	}
	if r.Access == Manager {
		op.Description = strings.TrimSpace(op.Description + " Needs the role owner or admin.")
	}
	if r.Once {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "Idempotency-Key", In: "header",
			Description: "1-128 characters. The same key again answers with what the first call made, for 24 hours.",
			Schema:      &huma.Schema{Type: "string"}})
	}
	return op
}

func (a *API) problemResponse() *huma.Response {
	schema := a.problemSchema()
	return &huma.Response{Description: "A problem document (RFC 9457)",
		Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
}

// problemSchema registers the document's schema once; later calls return a reference to it.
func (a *API) problemSchema() *huma.Schema {
	reg := huma.Registry(nil)
	if a.huma != nil {
		reg = a.huma.OpenAPI().Components.Schemas
	}
	return reg.Schema(reflect.TypeFor[Document](), true, "Problem")
}

func (a *API) authMiddleware(r Route) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		req, w := humago.Unwrap(hc)
		ctx, err := a.authorise(req, r)
		if err != nil {
			Problem(w, req, err)
			return
		}
		next(huma.WithContext(hc, ctx))
	}
}

// authorise applies the rule: default deny, by the route's Access alone. What a member may do with one row is the domain's to say.
func (a *API) authorise(req *http.Request, r Route) (context.Context, error) {
	ctx := actor.For(req.Context(), r.Purpose)
	var who Authenticator
	switch r.Access {
	case Public:
		return ctx, nil
	case AnyVisitor:
		if !a.opt.HasBearer(req) {
			return ctx, nil
		}
		who = a.opt.Visitors
	case Visitor:
		who = a.opt.Visitors
	case Member, Manager:
		who = a.opt.Members
	}
	const op = "api.authorise"
	if who == nil {
		return ctx, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
	}
	act, err := who(req)
	if err != nil {
		return ctx, err
	}
	if act.Zero() {
		return ctx, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
	}
	if r.Access == Manager && !act.Role.Manages() {
		return ctx, fault.New(fault.Forbidden, op, "role_needed", "This needs the role owner or admin.")
	}
	return actor.With(ctx, act), nil
}

// schemaName puts the package before a type's name, so that two domains may each have a Member.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := t.Name()
	if t == reflect.TypeFor[Document]() {
		return "Problem"
	}
	if name == "" {
		for part := range strings.SplitSeq(hint, "-") { // hints begin with the operation's name
			name += capital(part)
		}
		return name
	}
	if p := t.PkgPath(); p != "" && path.Base(p) != "api" {
		name = p + "." + name
	}
	var out strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("[]*, ", r) }) {
		pkg, base := "", part
		if i := strings.LastIndex(part, "."); i >= 0 {
			pkg, base = path.Base(part[:i]), part[i+1:]
		}
		if pkg == "api" || strings.EqualFold(pkg, base) {
			pkg = ""
		}
		if strings.HasPrefix(pkg, "v") && len(pkg) == 2 {
			pkg = "huma"
		}
		out.WriteString(capital(pkg) + capital(base))
	}
	return out.String()
}

func capital(s string) string {
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}
