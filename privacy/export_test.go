package privacy

import "slices"

// Notices returns every edition of a notice in every language, the oldest first.
func Notices(id string) (out []Notice) {
	for _, e := range editionsOf(id) {
		var langs []string
		for lang := range e.texts {
			langs = append(langs, lang)
		}
		slices.Sort(langs)
		for _, lang := range langs {
			w := e.texts[lang]
			out = append(out, Notice{ID: id, Version: e.version, Lang: lang, Title: w.title, Paragraphs: w.paragraphs})
		}
	}
	return out
}
