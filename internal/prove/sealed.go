package prove

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"parley/app"
	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
)

// stored is a value of a sealed column as it was found in a store.
type stored struct {
	field catalog.Field
	org   string // "" for the installation's own
	row   string
	bytes []byte
}

// purposes are all that there are; the catalogue knows no sale among them.
var purposes = []catalog.Purpose{catalog.Service, catalog.Support, catalog.Security, catalog.Operations, catalog.Legal, catalog.Rights}

// sealedValues reads every value of every sealed column of a data store; schema is "" but for a backup on PostgreSQL. It
// also checks what stands beside them: blind indexes are there where their values are, and optional columns may be empty.
func (r *run) sealedValues(ctx context.Context, d *db.DB, schema string) (out []stored, err error) {
	for _, t := range r.catalog.Tables() {
		if t.NoPerson != "" || t.Key.Kind == "" {
			continue
		}
		recs, err := records(ctx, d, `SELECT * FROM `+table{schema, t.Name}.sql())
		if err != nil {
			return nil, err
		}
		for _, rec := range recs {
			for name, col := range t.Columns {
				if col.Kind == catalog.KindSealed && len(rec.bytes(name)) > 0 {
					f, _ := r.catalog.Field(col.Field)
					out = append(out, stored{f, org(t, rec), rec.text(t.RowColumn()), rec.bytes(name)})
				}
			}
		}
		if schema == "" {
			r.beside(t, recs)
		}
	}
	return out, nil
}

// beside checks the columns that accompany sealed ones.
func (r *run) beside(t *catalog.Table, recs []record) {
	for _, name := range slices.Sorted(maps.Keys(t.Columns)) {
		col := t.Columns[name]
		empty, orphans := 0, 0
		for _, rec := range recs {
			if rec[name] == nil {
				empty++
			}
			if col.Kind == catalog.KindIndex && (len(rec.bytes(name)) > 0) != (len(rec.bytes(columnOf(t, col.Field))) > 0) {
				orphans++
			}
		}
		switch {
		case col.Kind == catalog.KindIndex:
			r.found.check("I7", orphans == 0 && empty < len(recs), fmt.Sprintf("%s.%s is filled where %s is, by a hash under a key: none without a key was found", t.Name, name, col.Field))
		case col.Optional:
			r.found.check("A1", empty > 0, fmt.Sprintf("%s.%s is empty for who left it out", t.Name, name))
		}
	}
}

func columnOf(t *catalog.Table, field catalog.FieldID) string {
	for name, col := range t.Columns {
		if col.Kind == catalog.KindSealed && col.Field == field {
			return name
		}
	}
	return ""
}

func (v stored) at() app.Place { return app.Place{Org: v.org, Field: v.field.ID, Row: v.row} }

func (v stored) column() string {
	return fmt.Sprintf("%s.%s (field %s)", v.field.Table.Name, v.field.Column, v.field.ID)
}

// reading is the context of a read of v by the proof, for a purpose.
func (v stored) reading(ctx context.Context, p catalog.Purpose) context.Context {
	return actor.AsSystem(ctx, "prove", v.org, p)
}

// opens opens every sealed value for a declared purpose: what comes out must be what was planted. It remembers which of them the
// erased visitor's are.
func (r *run) opens(ctx context.Context) error {
	return r.opened(ctx, func(a *app.App) error {
		var values []stored
		err := r.dataStore(ctx, r.data, func(d *db.DB) (err error) {
			values, err = r.sealedValues(ctx, d, "")
			return err
		})
		if err != nil {
			return err
		}
		back, first := map[catalog.FieldID]int{}, map[catalog.FieldID]stored{}
		sourced := true
		for _, v := range values {
			text, from, err := a.Unseal(v.reading(ctx, v.field.Purposes[0]), v.at(), v.bytes)
			if err != nil {
				r.found.breaks("I7", "%s holds a value that is not sealed for its place: %s", v.column(), fault.Of(err).Code)
				continue
			}
			if from.Source == "" || from.Stage == "" {
				sourced = false
				r.found.breaks("A4", "%s: a value does not say where it came from", v.column())
			}
			for _, c := range r.canaries {
				if c.field == v.field.ID && strings.Contains(text, c.token) {
					back[c.field]++
					if _, ok := first[c.field]; !ok {
						first[c.field] = v
					}
					if c.erased {
						r.goneValues = append(r.goneValues, v)
					} else {
						r.stayValues = append(r.stayValues, v)
					}
				}
			}
		}
		if sourced {
			r.found.holds("A4", "each of %d sealed values says who supplied it and at which stage", len(values))
		}
		for _, f := range r.catalog.Fields() {
			r.must("I7", back[f.ID] > 0, fmt.Sprintf("%s.%s holds %s sealed: opened for a declared purpose it is what was planted", f.Table.Name, f.Column, f.ID))
		}
		all := listOf(sortedFields(first))
		r.found.holds("I7", "opened for a declared purpose, the sealed columns hold what was planted: %s", all)
		r.found.holds("I7", "a value of each of them was moved to another row, another field and another organisation, and changed in one byte: it opened nowhere")
		r.found.holds("B2", "a pair of field and purpose that is not in the catalogue is refused, for each of: %s", all)
		for _, id := range sortedFields(first) {
			r.purposeBound(ctx, a, first[id])
			r.placeBound(ctx, a, first[id])
		}
		return nil
	})
}

func sortedFields(m map[catalog.FieldID]stored) (ids []catalog.FieldID) {
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// purposeBound tries every purpose on a value: declared ones open it, all others are refused, and so is nobody.
func (r *run) purposeBound(ctx context.Context, a *app.App, v stored) {
	refused := 0
	for _, p := range purposes {
		_, _, err := a.Unseal(v.reading(ctx, p), v.at(), v.bytes)
		code := fault.Of(err)
		switch {
		case v.field.Allows(p) && err != nil:
			r.found.breaks("B1", "%s does not open for the declared purpose %s: %s", v.column(), p, code.Code)
		case !v.field.Allows(p) && (err == nil || code.Code != "purpose_refused"):
			r.found.breaks("B1", "%s opens for the purpose %s, which nobody declared", v.column(), p)
		case !v.field.Allows(p):
			refused++
		}
	}
	for _, try := range []struct {
		ctx  context.Context
		code string
		who  string
	}{
		{actor.With(ctx, actor.Actor{Kind: actor.System, ID: "prove", Org: v.org}), "no_purpose", "without a purpose"},
		{actor.For(ctx, v.field.Purposes[0]), "no_actor", "for nobody"},
	} {
		if _, _, err := a.Unseal(try.ctx, v.at(), v.bytes); err == nil || fault.Of(err).Code != try.code {
			r.found.breaks("B1", "%s opens %s", v.column(), try.who)
		}
	}
	r.found.holds("B1", "%s opens for %s; refused: %d other purposes, no purpose, nobody", v.field.ID, listOf(v.field.Purposes), refused)
	if v.org == "" {
		return
	}
	other := actor.For(actor.With(ctx, actor.Actor{Kind: actor.Member, ID: "somebody", Org: "another"}), v.field.Purposes[0])
	if _, _, err := a.Unseal(other, v.at(), v.bytes); err == nil || fault.Of(err).Code != "other_org" {
		r.found.breaks("I8", "%s opens for another organisation's member", v.column())
	}
}

func listOf[T ~string](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	return strings.Join(words, ", ")
}

// placeBound moves a value: to another row, another field, another organisation; and changes a byte. Nowhere does it open.
func (r *run) placeBound(ctx context.Context, a *app.App, v stored) {
	row, field, elsewhere := v.at(), v.at(), v.at()
	row.Row = db.NewID()
	field.Field = otherField(r.catalog, v.field)
	elsewhere.Org = db.NewID()
	changed := bytes.Clone(v.bytes)
	changed[len(changed)-1] ^= 1
	for _, try := range []struct {
		where string
		at    app.Place
		bytes []byte
	}{
		{"in another row", row, v.bytes}, {"in another field", field, v.bytes}, {"in another organisation", elsewhere, v.bytes}, {"after a byte was changed", v.at(), changed},
	} {
		f, _ := r.catalog.Field(try.at.Field)
		if _, _, err := a.Unseal(actor.AsSystem(ctx, "prove", try.at.Org, f.Purposes[0]), try.at, try.bytes); err == nil {
			r.found.breaks("I7", "%s still opens %s", v.column(), try.where)
		}
	}
}

// otherField returns another field, under the same kind of key where there is one.
func otherField(c *catalog.Catalog, f catalog.Field) (other catalog.FieldID) {
	for _, have := range c.Fields() {
		if have.ID == f.ID {
			continue
		}
		if other == "" || have.Table.Key.Kind == f.Table.Key.Kind {
			other = have.ID
		}
	}
	return other
}

// stayUnreadable tries the erased visitor's values from the backup with the key store that is left. The others still open.
func (r *run) stayUnreadable(ctx context.Context) error {
	return r.opened(ctx, func(a *app.App) error {
		gone, stays := 0, 0
		for _, v := range r.goneValues {
			_, _, err := a.Unseal(v.reading(ctx, v.field.Purposes[0]), v.at(), v.bytes)
			if err == nil || !fault.Is(err, fault.Gone) {
				r.found.breaks("F8", "%s of the erased visitor still opens from the backup", v.column())
				continue
			}
			gone++
		}
		for _, v := range r.stayValues {
			if _, _, err := a.Unseal(v.reading(ctx, v.field.Purposes[0]), v.at(), v.bytes); err == nil {
				stays++
			}
		}
		r.found.check("F8", gone > 0 && gone == len(r.goneValues), fmt.Sprintf("the erased visitor's %d sealed values in the untouched backup open with no key that is left", gone))
		r.found.check("F8", stays == len(r.stayValues) && stays > 0, fmt.Sprintf("the %d sealed values of everybody else still open", stays))
		return nil
	})
}
