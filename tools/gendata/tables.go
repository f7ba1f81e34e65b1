package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/catalog"
)

func (p *page) write() {
	p.say("%s", intro)
	p.tables()
	p.columns()
	p.browser()
	p.recipients()
	p.logKeys()
}

// tables is one row for each table, by dataset.
func (p *page) tables() {
	p.say("\n## Tables\n")
	p.say("| table | what it holds | whose | used for | basis | kept | when the owner is erased |")
	p.say("|---|---|---|---|---|---|---|")
	p.each(func(t *catalog.Table) {
		name := code(t.Name)
		if p.inKeyStore[t.Name] {
			name += " (key store)"
		}
		if t.ThirdParty != "" {
			name += " (of " + code(t.ThirdParty) + ")"
		}
		p.say("| %s | %s | %s | %s | %s | %s | %s |", name, cell(t.Doc), whose(t), list(t.Purposes), or(string(t.Basis), "–"), kept(t.Keep), erased(t))
	})
}

// each calls fn for every table, in the order of the datasets.
func (p *page) each(fn func(*catalog.Table)) {
	for _, s := range p.catalog.Datasets() {
		for i := range s.Tables {
			fn(&s.Tables[i])
		}
	}
}

func whose(t *catalog.Table) string {
	if t.NoPerson != "" {
		return "nobody: " + cell(t.NoPerson)
	}
	var out []string
	for _, col := range slices.Sorted(maps.Keys(t.Subjects)) {
		s := fmt.Sprintf("%s: %s", t.Subjects[col], code(col))
		if to := t.Columns[col].To; to != "" {
			s += " → " + code(to)
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return strings.Join(out, "; ")
}

// rank puts owners first.
func rank(subject string) int {
	for i, role := range []catalog.Role{catalog.Owner, catalog.Author, catalog.Actor} {
		if strings.HasPrefix(subject, string(role)) {
			return i
		}
	}
	return len(subject)
}

func kept(r catalog.Retention) string {
	if r.Forever != "" {
		return cell(r.Forever)
	}
	return span(r.Max) + " after " + code(r.Trigger)
}

func erased(t *catalog.Table) string {
	if t.NoPerson != "" {
		return "–"
	}
	for _, role := range t.Subjects {
		if role == catalog.Owner {
			return map[catalog.Erase]string{catalog.Delete: "deleted", catalog.Blank: "blanked", catalog.Retain: "retained"}[t.Erase]
		}
	}
	if t.Erase == catalog.Retain {
		return "no owner; retained"
	}
	return "no owner"
}

// columns is one row for each column that says more than its kind, and one for all others of a kind.
func (p *page) columns() {
	p.say("\n## Columns\n")
	p.say("| table | column | kind | category | remarks |")
	p.say("|---|---|---|---|---|")
	p.each(func(t *catalog.Table) {
		rest := map[catalog.Kind][]string{}
		for _, kind := range kinds {
			for _, name := range slices.Sorted(maps.Keys(t.Columns)) {
				c := t.Columns[name]
				if c.Kind != kind {
					continue
				}
				if remark := p.remark(t, c); remark != "" || c.Category != "" {
					p.say("| %s | %s | %s | %s | %s |", code(t.Name), code(name), c.Kind, or(string(c.Category), "–"), remark)
					continue
				}
				if c.To != "" {
					name += "` → `" + c.To
				}
				rest[kind] = append(rest[kind], code(name))
			}
		}
		for _, kind := range kinds {
			if len(rest[kind]) > 0 {
				p.say("| %s | %s | %s | – | |", code(t.Name), strings.Join(rest[kind], ", "), kind)
			}
		}
	})
}

// kinds is the order in which a table's columns are shown: what is personal first.
var kinds = []catalog.Kind{catalog.KindSealed, catalog.KindIndex, catalog.KindHash, catalog.KindScope, catalog.KindLink, catalog.KindPlain}

func (p *page) remark(t *catalog.Table, c catalog.Column) string {
	var out []string
	switch c.Kind {
	case catalog.KindSealed:
		out = append(out, fmt.Sprintf("field %s, under the %s's key, class %s", code(string(c.Field)), t.Key.Kind, c.Class))
	case catalog.KindIndex:
		out = append(out, "of "+code(string(c.Field)))
	}
	if c.Optional {
		out = append(out, "may be left out")
	}
	if c.Note != "" {
		out = append(out, cell(c.Note))
	}
	return strings.Join(out, "; ")
}

// span writes a duration in the largest unit that it is whole in.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{catalog.Year, "year"}, {catalog.Day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / u.unit; n > 0 && d%u.unit == 0 {
			if n == 1 {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return d.String()
}

func list[T ~string](items []T) string {
	out := make([]string, 0, len(items))
	for _, s := range items {
		out = append(out, string(s))
	}
	return or(strings.Join(out, ", "), "–")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func code(s string) string { return "`" + s + "`" }

// cell keeps a text from ending its cell.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
