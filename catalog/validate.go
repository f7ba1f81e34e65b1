package catalog

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Field is a personal field found by its stable id.
type Field struct {
	ID       FieldID
	Category Category
	Class    Class
	Purposes []Purpose
	Table    *Table
	Column   string
}

// Allows reports whether the field may be read for the purpose.
func (f Field) Allows(p Purpose) bool {
	return slices.Contains(f.Purposes, p)
}

// Catalog is a validated set of datasets.
type Catalog struct {
	datasets []Dataset
	tables   map[string]*Table
	fields   map[FieldID]Field
	logKeys  map[string]LogKey
	browser  map[string]Storage
}

// New validates the datasets and indexes them. Its error names every fault at once, one a line.
func New(sets ...Dataset) (*Catalog, error) {
	c := &Catalog{datasets: sets, tables: map[string]*Table{}, fields: map[FieldID]Field{},
		logKeys: map[string]LogKey{}, browser: map[string]Storage{}}
	var errs []error
	for i := range sets {
		errs = append(errs, c.add(&sets[i])...)
	}
	for _, s := range sets {
		for _, t := range s.Tables {
			errs = append(errs, c.checkLinks(t)...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Catalog) add(s *Dataset) (errs []error) {
	for i := range s.Tables {
		t := &s.Tables[i]
		errs = append(errs, t.validate()...)
		if c.tables[t.Name] != nil {
			errs = append(errs, fmt.Errorf("%s: declared twice", t.Name))
		}
		c.tables[t.Name] = t
		for name, col := range t.Columns {
			if col.Kind != KindSealed {
				continue
			}
			if have, twice := c.fields[col.Field]; twice {
				errs = append(errs, fmt.Errorf("%s.%s: field id %q belongs to %s.%s", t.Name, name, col.Field, have.Table.Name, have.Column))
			}
			c.fields[col.Field] = Field{ID: col.Field, Category: col.Category, Class: col.Class, Purposes: t.Purposes, Table: t, Column: name}
		}
	}
	for _, k := range s.LogKeys {
		if k.Name == "" || k.Doc == "" {
			errs = append(errs, fmt.Errorf("%s: log key %q needs a name and a doc", s.Domain, k.Name))
		}
		c.logKeys[k.Name] = k
	}
	for _, b := range s.Browser {
		if b.Name == "" || b.Where == "" || b.Who == "" || b.Doc == "" || b.When == "" || b.Basis == "" || len(b.Purposes) == 0 {
			errs = append(errs, fmt.Errorf("%s: browser storage %q is not fully declared", s.Domain, b.Name))
		}
		c.browser[b.Name] = b
	}
	for _, r := range s.Recipients {
		if r.ID == "" || r.Doc == "" || r.Class == "" || len(r.Purposes) == 0 {
			errs = append(errs, fmt.Errorf("%s: recipient %q is not fully declared", s.Domain, r.ID))
		}
	}
	return errs
}

var sqlName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
var fieldName = regexp.MustCompile(`^[a-z]+(\.[a-z_]+){1,3}$`)

func (t *Table) validate() (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", t.Name, fmt.Sprintf(format, args...)))
	}
	if !sqlName.MatchString(t.Name) {
		bad("a table's name is lower-case SQL")
	}
	if t.Doc == "" {
		bad("Doc is missing")
	}
	if t.Erase == eraseUndecided {
		bad("Erase is undecided")
	}
	if len(t.Columns) == 0 {
		bad("no columns are declared")
	}
	t.validateKeep(bad)
	t.validatePeople(bad)
	for name, col := range t.Columns {
		t.validateColumn(name, col, bad)
	}
	return errs
}

func (t *Table) validateKeep(bad func(string, ...any)) {
	switch {
	case t.Keep.Forever != "" && (t.Keep.Trigger != "" || t.Keep.Max != 0):
		bad("Keep is both limited and unlimited")
	case t.Keep.Forever != "":
	case t.Keep.Trigger == "" || t.Keep.Max <= 0:
		bad("Keep is undecided: say AtMost(column, limit) or WithParent(why)")
	default:
		if _, ok := t.Columns[t.Keep.Trigger]; !ok {
			bad("Keep's trigger %q is not a column", t.Keep.Trigger)
		}
	}
}

func (t *Table) validatePeople(bad func(string, ...any)) {
	personal := false
	for _, col := range t.Columns {
		personal = personal || col.Kind == KindSealed || col.Kind == KindIndex
	}
	if t.NoPerson != "" {
		if personal || len(t.Subjects) > 0 {
			bad("NoPerson contradicts its columns or subjects")
		}
		return
	}
	if len(t.Subjects) == 0 {
		bad("Subjects is empty: name the columns that lead to people, or say why there are none in NoPerson")
	}
	for name := range t.Subjects {
		col, ok := t.Columns[name]
		if !ok {
			bad("subject %q is not a column", name)
		} else if col.To == "" && name != t.rowID() {
			bad("subject %q must say which table it leads to: LinkTo(table)", name)
		}
	}
	if t.Basis == "" {
		bad("Basis is undecided")
	}
	if len(t.Purposes) == 0 {
		bad("Purposes is empty")
	}
	for _, p := range t.Purposes {
		if !purposes[p] {
			bad("purpose %q is unknown", p)
		}
	}
	if personal {
		if _, ok := t.Columns[t.Key.Column]; t.Key.Kind == "" || !ok {
			bad("Key must name the kind of key and the column with its id")
		}
		if _, ok := t.Columns[t.rowID()]; !ok {
			bad("RowID %q is not a column", t.rowID())
		}
	}
}

func (t *Table) validateColumn(name string, col Column, bad func(string, ...any)) {
	if !sqlName.MatchString(name) {
		bad("column %q is not lower-case SQL", name)
	}
	switch col.Kind {
	case undecided:
		bad("column %q is undecided", name)
	case KindSealed, KindIndex:
		if !categories[col.Category] {
			bad("column %q has no known category", name)
		}
		if !fieldName.MatchString(string(col.Field)) {
			bad("column %q: field id %q is not of the form domain.thing.field", name, col.Field)
		}
		if col.Kind == KindSealed && !classes[col.Class] {
			bad("column %q has no known key class", name)
		}
	}
}

func (t *Table) rowID() string {
	if t.RowID == "" {
		return "id"
	}
	return t.RowID
}

// RowColumn returns the column whose value the sealed columns are bound to.
func (t *Table) RowColumn() string { return t.rowID() }

func (c *Catalog) checkLinks(t Table) (errs []error) {
	for name, col := range t.Columns {
		if col.To != "" && c.tables[col.To] == nil {
			errs = append(errs, fmt.Errorf("%s.%s: links to the unknown table %q", t.Name, name, col.To))
		}
		if col.Kind == KindIndex {
			if _, ok := c.fields[col.Field]; !ok {
				errs = append(errs, fmt.Errorf("%s.%s: indexes the unknown field %q", t.Name, name, col.Field))
			}
		}
	}
	return errs
}

// Datasets returns what was declared, in the order given.
func (c *Catalog) Datasets() []Dataset { return c.datasets }

// Tables returns all tables by name.
func (c *Catalog) Tables() []*Table {
	out := make([]*Table, 0, len(c.tables))
	for _, t := range c.tables {
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Table returns a table by its SQL name.
func (c *Catalog) Table(name string) (*Table, bool) { t, ok := c.tables[name]; return t, ok }

// Field returns a personal field by its stable id.
func (c *Catalog) Field(id FieldID) (Field, bool) { f, ok := c.fields[id]; return f, ok }

// Fields returns every sealed field, by id.
func (c *Catalog) Fields() []Field {
	out := make([]Field, 0, len(c.fields))
	for _, f := range c.fields {
		out = append(out, f)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// LogKey reports whether log records may carry the key.
func (c *Catalog) LogKey(name string) bool { _, ok := c.logKeys[name]; return ok }

// Cookie returns the declaration of a cookie.
func (c *Catalog) Cookie(name string) (Storage, bool) {
	s, ok := c.browser[name]
	return s, ok && s.Where == "cookie"
}

// Browser returns everything that may be kept in a browser, by name.
func (c *Catalog) Browser() []Storage {
	out := make([]Storage, 0, len(c.browser))
	for _, s := range c.browser {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Recipients returns every declared recipient in the order of the datasets.
func (c *Catalog) Recipients() []Recipient {
	var out []Recipient
	for _, s := range c.datasets {
		out = append(out, s.Recipients...)
	}
	return out
}

// CompareSchema returns one line for each difference between the declared tables and the live schema (table → columns), both ways.
func (c *Catalog) CompareSchema(live map[string][]string) []string {
	var out []string
	for table, cols := range live {
		t, ok := c.tables[table]
		if !ok {
			out = append(out, fmt.Sprintf("table %s exists and is not declared", table))
			continue
		}
		have := map[string]bool{}
		for _, col := range cols {
			have[col] = true
			if _, ok := t.Columns[col]; !ok {
				out = append(out, fmt.Sprintf("column %s.%s exists and is not declared", table, col))
			}
		}
		for col := range t.Columns {
			if !have[col] {
				out = append(out, fmt.Sprintf("column %s.%s is declared and does not exist", table, col))
			}
		}
	}
	for name := range c.tables {
		if _, ok := live[name]; !ok {
			out = append(out, fmt.Sprintf("table %s is declared and does not exist", name))
		}
	}
	sort.Strings(out)
	return out
}

// String lists the tables, for error messages.
func (c *Catalog) String() string {
	names := make([]string, 0, len(c.tables))
	for _, t := range c.Tables() {
		names = append(names, t.Name)
	}
	return "catalog of " + strings.Join(names, ", ")
}
