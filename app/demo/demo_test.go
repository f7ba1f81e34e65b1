package demo_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"parley/app/demo"
)

const (
	parley = "http://127.0.0.1:8080"
	site   = "019a0000-0000-7000-8000-000000000001"
)

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	h := demo.Handler(parley, site)
	link := regexp.MustCompile(`(?:href|src|action)="(/[^"]*)"`)
	seen := map[string]bool{}
	queue := []string{"/", "/de/", "/cart?cart=kiri.1-sencha.2", "/de/cart?cart=dune.3"}
	for len(queue) > 0 && len(seen) < 500 {
		path := strings.ReplaceAll(queue[0], "&amp;", "&")
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		w := get(t, h, path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		if len(w.Header().Values("Set-Cookie")) > 0 {
			t.Errorf("%s sets a cookie", path)
		}
		if !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(w.Body.String(), -1) {
			queue = append(queue, m[1])
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d addresses found: the links are not followed", len(seen))
	}
}

func TestTheWidgetIsThere(t *testing.T) {
	w := get(t, demo.Handler(parley+"/", site), "/product/kiri")
	want := `<script src="` + parley + `/widget.js" data-site="` + site + `" async></script>`
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("the page lacks %s", want)
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src " + parley, "frame-src " + parley, "connect-src " + parley} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %q", policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q has a hole", policy)
	}
}

func TestWithoutParleyTheShopHasNoWidget(t *testing.T) {
	for _, base := range []string{"", "nonsense", "javascript:alert(1)", "ftp://x"} {
		w := get(t, demo.Handler(base, site), "/")
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "<script") {
			t.Errorf("base %q: %d, script %v", base, w.Code, strings.Contains(w.Body.String(), "<script"))
		}
	}
}

func TestNoOtherHost(t *testing.T) {
	h := demo.Handler(parley, site)
	address := regexp.MustCompile(`(?:https?:)?//[a-z0-9][a-z0-9.:-]*`)
	for _, path := range []string{"/", "/de/", "/product/ash", "/about", "/static/shop.css", "/static/pictures/hero.svg"} {
		for _, found := range address.FindAllString(get(t, h, path).Body.String(), -1) {
			if found != parley && found != "http://www.w3.org" {
				t.Errorf("%s names %s", path, found)
			}
		}
	}
}

func TestCart(t *testing.T) {
	h := demo.Handler(parley, site)
	w := get(t, h, "/cart?cart=kiri.1&add=sencha&quantity=2")
	if got, want := w.Header().Get("Location"), "/cart?cart=kiri.1-sencha.2"; w.Code != http.StatusSeeOther || got != want {
		t.Fatalf("%d to %q, want %q", w.Code, got, want)
	}
	body := get(t, h, "/cart?cart=kiri.1-sencha.2").Body.String()
	for _, want := range []string{"58.00 €", "28.00 €", "90.90 €", `href="/cart?cart=sencha.2"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the cart lacks %s", want)
		}
	}
	if body := get(t, h, "/de/cart?cart=kiri.1").Body.String(); !strings.Contains(body, "62,90 €") {
		t.Error("the German cart lacks 62,90 €")
	}
}

func TestHiddenFiles(t *testing.T) {
	h := demo.Handler(parley, site)
	for _, path := range []string{"/static/", "/static/pictures/", "/static/layout.html", "/nothing", "/product/nothing", "/de/nothing"} {
		if w := get(t, h, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func FuzzCart(f *testing.F) {
	for _, seed := range []string{"", "kiri.1", "kiri.1-dune.2", "kiri.99999999999999999999", "-.-", "<b>.1", "kiri.1-kiri.1"} {
		f.Add(seed)
	}
	h := demo.Handler(parley, site)
	f.Fuzz(func(t *testing.T, cart string) {
		r := httptest.NewRequest(http.MethodGet, "/cart", nil)
		r.URL.RawQuery = "cart=" + strings.NewReplacer("&", "%26", ";", "%3B", "#", "%23", "%", "%25", "+", "%2B").Replace(cart)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, err := io.ReadAll(w.Result().Body)
		if err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d, %v", w.Code, err)
		}
		if strings.Contains(cart, "<b>") && strings.Contains(string(body), "<b>") {
			t.Fatal("the cart's text came back as markup")
		}
	})
}
