// Package demo is a small made-up shop, Northlight, that carries Parley's widget the way any shop would: on an origin of
// its own, with one script tag and a strict content policy. It shows the widget and sells nothing; it sets no cookie,
// keeps no state (the cart lives in the page's address), runs no script of its own and asks no other host for anything.
package demo

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

//go:embed shop
var shop embed.FS

// Shipping and the most of one thing that a cart holds.
const (
	shippingCents = 490
	maxQuantity   = 9
)

type server struct {
	pages  map[string]*template.Template
	base   string // Parley's address without a slash at the end; "" shows the shop without the widget
	site   string
	policy string
}

// Handler serves the shop. parleyBase is Parley's address, such as http://127.0.0.1:8080, and siteID the site that
// allows the shop's origin; when one of them is missing or the address is none, the shop has no widget.
func Handler(parleyBase, siteID string) http.Handler {
	s := &server{pages: parsePages()}
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	if u, err := url.Parse(parleyBase); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && siteID != "" {
		s.base, s.site = strings.TrimRight(parleyBase, "/"), siteID
		origin := u.Scheme + "://" + u.Host
		policy += fmt.Sprintf("; script-src %[1]s; frame-src %[1]s; connect-src %[1]s", origin)
	}
	s.policy = policy

	mux := http.NewServeMux()
	for _, lang := range []string{"en", "de"} {
		root := prefix(lang)
		mux.HandleFunc("GET "+root+"/{$}", s.home(lang))
		mux.HandleFunc("GET "+root+"/product/{slug}", s.product(lang))
		mux.HandleFunc("GET "+root+"/cart", s.cart(lang))
		mux.HandleFunc("GET "+root+"/about", s.plain(lang, "about", "about"))
	}
	files, err := fs.Sub(shop, "shop")
	if err != nil {
		panic("demo: " + err.Error()) // the embed directive above says that it is there
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(staticOnly{files})))
	mux.HandleFunc("/", s.missing)
	return s.headers(mux)
}

// staticOnly hides the templates and the folder listings.
type staticOnly struct{ fs.FS }

func (f staticOnly) Open(name string) (fs.File, error) {
	if !strings.HasSuffix(name, ".css") && !strings.HasSuffix(name, ".svg") {
		return nil, fs.ErrNotExist
	}
	return f.FS.Open(name)
}

func parsePages() map[string]*template.Template {
	pages := map[string]*template.Template{}
	for _, name := range []string{"home", "product", "cart", "about", "missing"} {
		pages[name] = template.Must(template.ParseFS(shop, "shop/layout.html", "shop/shelf.html", "shop/"+name+".html"))
	}
	return pages
}

func (s *server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// page is what a template sees.
type page struct {
	Lang, Path string // Path is without the language
	Title      string
	Base, Site string
	Cart       cart
	Products   []product
	Product    product
	Total      int
	Shipping   int
	Quantities []int
}

func prefix(lang string) string {
	if lang == "en" {
		return ""
	}
	return "/" + lang
}

// URL is a path of the shop in the page's language, with the cart in it.
func (p page) URL(parts ...string) string { return p.link(p.Lang, strings.Join(parts, "")) }

// Other is the same page in the other language.
func (p page) Other() string {
	if p.Lang == "de" {
		return p.link("en", p.Path)
	}
	return p.link("de", p.Path)
}

func (p page) link(lang, path string) string {
	if q := p.Cart.String(); q != "" {
		return prefix(lang) + path + "?cart=" + q
	}
	return prefix(lang) + path
}

// T is one of the shop's words in the page's language.
func (p page) T(key string) string { return words[key].in(p.Lang) }

// In is a text in the page's language.
func (p page) In(t text) string { return t.in(p.Lang) }

// Without is the address of the cart without one product.
func (p page) Without(slug string) string {
	p.Cart = p.Cart.set(slug, 0)
	return p.URL("/cart")
}

// Money is an amount in the page's language.
func (p page) Money(cents int) string {
	point := "."
	if p.Lang == "de" {
		point = ","
	}
	return fmt.Sprintf("%d%s%02d €", cents/100, point, cents%100)
}

func (s *server) page(r *http.Request, lang, path string) page {
	return page{
		Lang: lang, Path: path, Base: s.base, Site: s.site, Cart: readCart(r.URL.Query().Get("cart")),
		Products: products, Shipping: shippingCents, Quantities: []int{1, 2, 3, 4},
	}
}

func (s *server) render(w http.ResponseWriter, status int, name string, p page) {
	var out bytes.Buffer
	if err := s.pages[name].Execute(&out, p); err != nil {
		http.Error(w, "the page could not be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", p.Lang)
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the reader went away: nobody is left to tell
}

func (s *server) home(lang string) http.HandlerFunc { return s.plain(lang, "home", "") }

func (s *server) plain(lang, name, path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := s.page(r, lang, "/"+path)
		p.Title = p.T("tagline")
		if name == "about" {
			p.Title = p.T("about")
		}
		s.render(w, http.StatusOK, name, p)
	}
}

func (s *server) product(lang string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found, ok := find(r.PathValue("slug"))
		if !ok {
			s.missing(w, r)
			return
		}
		p := s.page(r, lang, "/product/"+found.Slug)
		p.Product, p.Title = found, found.Name.in(lang)
		p.Products = others(found.Slug, 4)
		s.render(w, http.StatusOK, "product", p)
	}
}

func (s *server) cart(lang string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := s.page(r, lang, "/cart")
		if add := r.URL.Query().Get("add"); add != "" {
			n, err := strconv.Atoi(r.URL.Query().Get("quantity"))
			if err != nil || n < 1 {
				n = 1
			}
			p.Cart = p.Cart.set(add, p.Cart.count(add)+n)
			http.Redirect(w, r, p.URL("/cart"), http.StatusSeeOther) //nolint:gosec // a path of this shop: what the request adds stands behind its "?"
			return
		}
		p.Title = p.T("cart")
		p.Total = p.Cart.cents() + shippingCents
		s.render(w, http.StatusOK, "cart", p)
	}
}

func (s *server) missing(w http.ResponseWriter, r *http.Request) {
	lang := "en"
	if strings.HasPrefix(r.URL.Path, "/de/") {
		lang = "de"
	}
	p := s.page(r, lang, "/")
	p.Title = p.T("missing")
	s.render(w, http.StatusNotFound, "missing", p)
}

// others returns n products that follow a product on the shelf.
func others(slug string, n int) []product {
	for i, p := range products {
		if p.Slug == slug {
			turned := append(append([]product{}, products[i+1:]...), products[:i]...)
			return turned[:min(n, len(turned))]
		}
	}
	return nil
}
