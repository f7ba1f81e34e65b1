package privacy

import (
	"sort"
	"strings"

	"parley/catalog"
)

// statement is one step of an erasure. Its parameters are the organisation and the subject's id.
type statement struct {
	table string
	sql   string
}

// erasePlan derives from the catalogue what erasing a row of the subject table takes: every table whose owner column leads
// to it, directly or through what it owns; those furthest away come first, so that nothing is left pointing at nothing.
func erasePlan(c *catalog.Catalog, subject string) []statement {
	depth := map[string]int{subject: 0}
	for changed := true; changed; { // tables are few; the longest way decides
		changed = false
		for _, t := range c.Tables() {
			for col, role := range t.Subjects {
				to := t.Columns[col].To
				if role != catalog.Owner || to == "" || to == t.Name {
					continue
				}
				if d, owned := depth[to]; owned && depth[t.Name] < d+1 && t.Name != subject {
					depth[t.Name], changed = d+1, true
				}
			}
		}
	}
	names := make([]string, 0, len(depth))
	for name := range depth {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if depth[names[i]] != depth[names[j]] {
			return depth[names[i]] > depth[names[j]]
		}
		return names[i] < names[j]
	})
	var plan []statement
	for _, name := range names {
		t, ok := c.Table(name)
		if !ok {
			continue
		}
		where := scoped(t, owned(c, t, subject, depth))
		switch t.Erase {
		case catalog.Delete:
			plan = append(plan, statement{name, `DELETE FROM ` + name + ` WHERE ` + where})
		case catalog.Blank:
			if set := blanks(t); set != "" {
				plan = append(plan, statement{name, `UPDATE ` + name + ` SET ` + set + ` WHERE ` + where})
			}
		}
	}
	return plan
}

// owned is the condition that a row of t belongs to the subject.
func owned(c *catalog.Catalog, t *catalog.Table, subject string, depth map[string]int) string {
	if t.Name == subject {
		return t.RowColumn() + ` = $2`
	}
	var or []string
	for col, role := range t.Subjects {
		to, ok := c.Table(t.Columns[col].To)
		if role != catalog.Owner || !ok {
			continue
		}
		if _, in := depth[to.Name]; !in || to.Name == t.Name {
			continue
		}
		if to.Name == subject {
			or = append(or, col+` = $2`)
			continue
		}
		or = append(or, col+` IN (SELECT `+to.RowColumn()+` FROM `+to.Name+` WHERE `+scoped(to, owned(c, to, subject, depth))+`)`)
	}
	sort.Strings(or)
	return `(` + strings.Join(or, ` OR `) + `)`
}

// scoped keeps to the organisation where the table has one. $1 is named even where it has none: both engines want every parameter used.
func scoped(t *catalog.Table, where string) string {
	for name, col := range t.Columns {
		if col.Kind == catalog.KindScope {
			return name + ` = $1 AND ` + where
		}
	}
	return `$1 <> '' AND ` + where
}

func blanks(t *catalog.Table) string {
	var set []string
	for name, col := range t.Columns {
		if col.Kind == catalog.KindSealed || col.Kind == catalog.KindIndex {
			set = append(set, name+` = NULL`)
		}
	}
	sort.Strings(set)
	return strings.Join(set, `, `)
}
