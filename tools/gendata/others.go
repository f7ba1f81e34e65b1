package main

import (
	"maps"
	"slices"
	"strings"

	"parley/catalog"
)

// browser is what is kept in people's browsers.
func (p *page) browser() {
	p.say("\n## In browsers\n")
	p.say("A cookie that is not in this table is dropped by the server before it reaches a browser.\n")
	p.say("| name | where | whose browser | what | used for | basis | written when the person | lasts |")
	p.say("|---|---|---|---|---|---|---|---|")
	for _, b := range p.catalog.Browser() {
		p.say("| %s | %s | %s | %s | %s | %s | %s | %s |", code(b.Name), place(b.Where), b.Who, cell(b.Doc), list(b.Purposes), b.Basis, cell(b.When), lasts(b))
	}
}

func place(where string) string {
	if name, ok := map[string]string{"localStorage": "local storage", "sessionStorage": "session storage", "indexedDB": "IndexedDB"}[where]; ok {
		return name
	}
	return where
}

func lasts(b catalog.Storage) string {
	switch {
	case b.Life > 0:
		return "at most " + span(b.Life)
	case b.Where == "cookie":
		return "until the browser ends"
	case b.Where == "sessionStorage":
		return "until the tab is closed"
	}
	return "until it is cleared"
}

// recipients is everybody that outbound connections go to.
func (p *page) recipients() {
	p.say("\n## Recipients\n")
	p.say("Every outbound connection goes to one of these, at an address that the operator configured; names are looked up by the system's resolver. Nobody else is asked for anything.\n")
	p.say("| recipient | class | what goes there | used for | personal fields in the clear | may be on a private network |")
	p.say("|---|---|---|---|---|---|")
	for _, r := range p.catalog.Recipients() {
		fields := make([]string, 0, len(r.Fields))
		for _, f := range r.Fields {
			fields = append(fields, code(string(f)))
		}
		private := "no"
		if r.Private {
			private = "yes"
		}
		p.say("| %s | %s | %s | %s | %s | %s |", code(r.ID), r.Class, cell(r.Doc), list(r.Purposes), or(strings.Join(fields, ", "), "none"), private)
	}
}

// logKeys is what log records may carry. Several packages declare the same key; their words are shown together.
func (p *page) logKeys() {
	p.say("\n## Log records\n")
	p.say("Besides time, level and message a log record carries these keys alone; any other is dropped. None holds a client's address, a query or anything that a person wrote.\n")
	p.say("| key | what it holds |")
	p.say("|---|---|")
	docs := map[string][]string{}
	for _, s := range p.catalog.Datasets() {
		for _, k := range s.LogKeys {
			doc := strings.TrimSuffix(cell(k.Doc), ".")
			if !slices.ContainsFunc(docs[k.Name], func(have string) bool { return strings.EqualFold(have, doc) }) {
				docs[k.Name] = append(docs[k.Name], doc)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		p.say("| %s | %s |", code(name), strings.Join(docs[name], " · "))
	}
}
