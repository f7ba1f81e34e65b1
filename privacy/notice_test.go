package privacy_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
	"parley/privacy"
)

type notice struct {
	ID, Version, Lang, Title string
	Paragraphs               []string
	Acknowledged             bool
}

const (
	asMember  = "/api/v1"
	asVisitor = "/api/v1/widget"
)

func show(t *testing.T, c *parleytest.Client, path string) (n notice) {
	t.Helper()
	c.Do(t, "GET", path, nil, &n).Want(t, http.StatusOK)
	return n
}

// Visitors and members are told alike: once each, in their language, and again only when the text has changed.
func TestPromise_G16_NoticeIsAcknowledged(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = url }})
		tenant := s.Tenant(t, "acme")
		_, agent := s.Member(t, tenant.Org, "agent@acme.example", "agent", "Anton")
		visitor, _ := s.Visitor(t, tenant.Site, "Hello")
		other, _ := s.Visitor(t, tenant.Site, "Hello too")
		for _, who := range []struct {
			c, another *parleytest.Client
			prefix     string
		}{{visitor, other, asVisitor}, {tenant.Client, agent, asMember}} {
			path := who.prefix + "/notices/media"
			n := show(t, who.c, path+"?lang=de-AT")
			if n.ID != "media" || n.Lang != "de" || n.Acknowledged || n.Title == "" || len(n.Paragraphs) < 3 {
				t.Errorf("the notice is %+v", n)
			}
			if en := show(t, who.c, path+"?lang=tlh"); en.Lang != "en" || en.Version != n.Version || en.Title == n.Title {
				t.Errorf("in a language that there is none in: %+v", en)
			}
			say := func(version, surface string) parleytest.Response {
				return who.c.Do(t, "POST", path+"/acknowledge", map[string]string{"version": version, "surface": surface, "lang": "de"}, nil)
			}
			say("1999-01-01-1", "widget").WantCode(t, 409, "notice_outdated")
			say(n.Version, "billboard").WantCode(t, 422, "surface_unknown")
			if show(t, who.c, path).Acknowledged {
				t.Error("what was refused counts")
			}
			for range 2 {
				say(n.Version, "widget").Want(t, http.StatusNoContent)
			}
			if !show(t, who.c, path+"?lang=en").Acknowledged {
				t.Error("an acknowledgement in one language does not count in another")
			}
			if show(t, who.another, path).Acknowledged {
				t.Error("somebody else's acknowledgement counts")
			}
			who.c.Do(t, "GET", who.prefix+"/notices/weather", nil, nil).WantCode(t, 404, "notice_unknown")
			who.c.Do(t, "POST", who.prefix+"/notices/weather/acknowledge", map[string]string{"version": "1", "surface": "widget"}, nil).WantCode(t, 404, "notice_unknown")
			s.Client(t).Do(t, "POST", path+"/acknowledge", map[string]string{"version": n.Version, "surface": "widget"}, nil).Want(t, http.StatusUnauthorized)
		}
	})
}

// A version that was released keeps its text for ever: what people acknowledged must be readable later. A new text is a new edition.
func TestReleasedEditionsStay(t *testing.T) {
	released := map[string]string{
		"2026-11-22-1 de": "7d7c0187e162458b7116378139830334bb46dd722f7c9f771f99e63b8a251ca9",
		"2026-11-22-1 en": "13cdb61797d4accdbc265ba624c6279bcb3b55c915574ac3e766f6ec36696f75",
	}
	list := privacy.Notices(privacy.NoticeMedia)
	for _, n := range list {
		if want := released[n.Version+" "+n.Lang]; n.Hash() != want {
			t.Errorf("%s in %s has the hash %s, not %q: was it released, or is it new?", n.Version, n.Lang, n.Hash(), want)
		}
	}
	if len(list) != len(released) {
		t.Errorf("there are %d editions, and %d were released", len(list), len(released))
	}
	var versions []string
	for _, n := range list {
		versions = append(versions, n.Version)
	}
	if !slices.IsSorted(versions) {
		t.Errorf("the versions are not in their order: %v", versions)
	}
	if privacy.Notices("weather") != nil {
		t.Error("there is a notice that nobody wrote")
	}
}

func TestTextsAreInEveryLanguage(t *testing.T) {
	texts := map[string]map[string]string{}
	for _, lang := range []string{"en", "de"} {
		data, err := os.ReadFile(filepath.Join("texts", lang+".json"))
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		texts[lang] = m
	}
	for key, text := range texts["en"] {
		if texts["de"][key] == "" || strings.TrimSpace(text) == "" {
			t.Errorf("%s is missing", key)
		}
	}
	for _, code := range []string{"notice_unknown", "notice_outdated", "surface_unknown"} {
		if texts["en"]["error_"+code] == "" {
			t.Errorf("%s has no text", code)
		}
	}
}
