package api

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// Texts is a folder of message files by language ("en.json", "de.json"): flat objects of key and text. Texts of errors
// have the keys "error_CODE"; they may name {{.Seconds}} and {{.Minutes}}, the time to wait.
type Texts struct{ FS fs.FS }

//go:embed texts/*.json
var ownTexts embed.FS

// catalogue holds the texts of all languages. The zero value has none.
type catalogue struct {
	matcher language.Matcher
	locales []string
	by      map[string]*i18n.Localizer
}

func newCatalogue(more []Texts) (*catalogue, error) {
	own, err := fs.Sub(ownTexts, "texts")
	if err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	bundle := i18n.NewBundle(language.English)
	for _, t := range append([]Texts{{FS: own}}, more...) {
		files, err := fs.Glob(t.FS, "*.json")
		if err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		for _, name := range files {
			if _, err := bundle.LoadMessageFileFS(t.FS, name); err != nil {
				return nil, fmt.Errorf("texts %s: %w", path.Base(name), err)
			}
		}
	}
	c := &catalogue{by: map[string]*i18n.Localizer{}}
	tags := bundle.LanguageTags()
	for _, tag := range tags {
		c.locales = append(c.locales, tag.String())
		c.by[tag.String()] = i18n.NewLocalizer(bundle, tag.String())
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

// match returns the locale to answer in. A header longer than any real one counts as none.
func (c *catalogue) match(header string) string {
	if c.matcher == nil || header == "" || len(header) > 512 {
		return "en"
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return "en"
	}
	_, i, confidence := c.matcher.Match(tags...)
	if confidence == language.No {
		return "en"
	}
	return c.locales[i]
}

// detail returns the text of an error. In English the text that the error brings is the most exact; in another language the catalogue's.
func (c *catalogue) detail(locale, code, text string, retryAfter int) string {
	if text != "" && (locale == "en" || locale == "") {
		return text
	}
	if s, ok := c.text(locale, "error_"+code, retryAfter); ok {
		return s
	}
	if text == "" {
		s, _ := c.text("en", "error_"+code, retryAfter)
		return s
	}
	return text
}

func (c *catalogue) text(locale, key string, retryAfter int) (string, bool) {
	l := c.by[locale]
	if l == nil {
		return "", false
	}
	s, tag, err := l.LocalizeWithTag(&i18n.LocalizeConfig{MessageID: key, TemplateData: map[string]any{
		"Seconds": retryAfter, "Minutes": int(math.Ceil(float64(retryAfter) / 60)),
	}})
	if err != nil || !strings.HasPrefix(tag.String(), locale) {
		return "", false
	}
	return s, true
}
