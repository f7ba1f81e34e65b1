package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"parley/app"
	"parley/catalog"
	"parley/internal/db"
)

// wrappedKey is a row of the key store.
type wrappedKey struct {
	kind, subject string
	epoch         string
	bytes         []byte
}

// wrappedKeys reads the key store's rows: from the copy that was made before the erasure, or as they are now.
func (r *run) wrappedKeys(ctx context.Context, dir string) (keys []wrappedKey, err error) {
	err = r.keyStore(ctx, dir, func(d *db.DB) error {
		recs, err := records(ctx, d, `SELECT kind, subject, epoch, wrapped FROM vault_key`)
		for _, rec := range recs {
			keys = append(keys, wrappedKey{rec.text("kind"), rec.text("subject"), rec.text("epoch"), rec.bytes("wrapped")})
		}
		return err
	})
	return keys, err
}

// eraseAndRestore erases a visitor, then brings the data of before back, as somebody who restores a backup would, and looks
// whether anything of the visitor is left.
func (r *run) eraseAndRestore(ctx context.Context) error {
	if err := r.backUp(ctx); err != nil {
		return err
	}
	before, err := r.wrappedKeys(ctx, r.keysBefore)
	if err != nil {
		return err
	}
	if err := r.keysApart(ctx, before); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := errors.Join(r.erase(ctx, before), r.search("erased").everywhere(ctx), r.stop()); err != nil {
		return err
	}
	after := r.search("erased and stopped")
	if err := errors.Join(after.everywhere(ctx), after.tableValues(ctx), r.rowsGone(ctx, "F7"), r.epochEnds(ctx, before)); err != nil {
		return err
	}
	if err := r.restore(ctx); err != nil {
		return err
	}
	if err := r.backInTime(ctx); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	restored := r.search("restored")
	if err := errors.Join(r.nothingReturns(ctx), r.limited(ctx), restored.everywhere(ctx), r.stop()); err != nil {
		return err
	}
	last := r.search("restored and stopped")
	return errors.Join(last.everywhere(ctx), last.tableValues(ctx), r.rowsGone(ctx, "F8"), r.stayUnreadable(ctx))
}

// erase erases the visitor and looks at what the receipt, the API and the key store's files say right afterwards.
func (r *run) erase(ctx context.Context, before []wrappedKey) error {
	p := &r.people
	var receipt struct {
		LedgerSeq int64     `json:"ledger_seq"`
		At        time.Time `json:"at"`
		FinalAt   time.Time `json:"final_at"`
	}
	if a, err := p.agent.call(ctx, "DELETE", "/api/v1/persons/"+p.gone.id, nil, nil); err != nil || a.status != 403 {
		r.found.breaks("I8", "an agent may erase a person: %s %v", a, err)
	}
	if err := p.owner.must(ctx, "DELETE", "/api/v1/persons/"+p.gone.id, nil, &receipt); err != nil {
		r.found.breaks("F7", "%v", err)
		return nil
	}
	r.found.check("F7", receipt.LedgerSeq > 0 && !receipt.At.IsZero() && !receipt.FinalAt.Before(receipt.At),
		"the erasure is answered with a receipt: its place in the ledger, its time, and when it is final")
	if err := r.absent(ctx, "F7", "after the erasure"); err != nil {
		return err
	}
	if r.sqlite() {
		return r.keyBytesGone(before)
	}
	return nil
}

// keysApart looks for keys in the backup of the data: neither a wrapped key nor the master key may be in it.
func (r *run) keysApart(ctx context.Context, keys []wrappedKey) error {
	f, c := newFinder(nil), &canary{what: "a key"}
	for _, k := range keys {
		f.add(needle{canary: c, form: "wrapped", bytes: k.bytes})
	}
	master, err := os.ReadFile(filepath.Join(r.keysDir(), "master.key"))
	if err != nil {
		return err
	}
	words := bytes.Fields(master)
	f.add(needle{canary: c, form: "the master key", bytes: words[len(words)-1]})
	s := &search{run: r, finder: f}
	apart := true
	for name := range r.looked {
		if isKeys(name) {
			continue
		}
		found, _, err := s.file(filepath.Join(r.backup, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // a file of the running server
		}
		if err != nil {
			return err
		}
		for h := range found {
			apart = false
			r.found.breaks("F8", "%s of the data holds %s (%s)", name, h.canary.what, h.form)
		}
	}
	if !r.sqlite() {
		err = r.dataStore(ctx, "", func(d *db.DB) error {
			live, err := d.LiveSchema(ctx)
			_, mixed := live["vault_key"]
			apart = r.found.check("F8", !mixed, "the key store has a schema of its own, apart from the data's") && apart
			for name := range live {
				recs, err := records(ctx, d, `SELECT * FROM `+table{backupSchema, name}.sql())
				if err != nil {
					return err
				}
				for _, rec := range recs {
					for column := range rec {
						if len(f.in(rec.bytes(column))) > 0 {
							apart = false
							r.found.breaks("F8", "table %s of the data holds a key", name)
						}
					}
				}
			}
			return err
		})
	}
	if apart {
		r.found.holds("F8", "none of the %d wrapped keys, nor the master key, is in the data that was backed up", len(keys))
	}
	return err
}

// keyBytesGone looks for the destroyed keys' wrapped bytes in the key store's files, while the server runs: what was acknowledged is
// in neither the database nor its log. The other keys' bytes are there, or the search looked past them.
func (r *run) keyBytesGone(before []wrappedKey) error {
	ids := append([]string{r.people.gone.id}, r.people.gone.conversations...)
	f := newFinder(nil)
	gone, stays := &canary{what: "a destroyed key"}, &canary{what: "another key"}
	destroyed := 0
	for _, k := range before {
		c := stays
		if slices.Contains(ids, k.subject) {
			c = gone
			destroyed++
		}
		f.add(needle{canary: c, form: "wrapped", bytes: k.bytes})
	}
	s := &search{run: r, finder: f}
	var inFiles []string
	others := false
	entries, err := os.ReadDir(r.keysDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		found, _, err := s.file(filepath.Join(r.keysDir(), e.Name()))
		if err != nil {
			return err
		}
		if found[hit{gone, "wrapped"}] {
			inFiles = append(inFiles, e.Name())
		}
		others = others || found[hit{stays, "wrapped"}]
	}
	r.found.check("F7", destroyed == len(ids) && len(inFiles) == 0,
		fmt.Sprintf("the bytes of the %d destroyed keys are gone from the key store's files and its log when the answer arrives", destroyed), strings.Join(inFiles, ", "))
	r.found.check("F7", others, "the bytes of keys that stay are found in those files, as they must be")
	return nil
}

// epochEnds ends the epoch on PostgreSQL, where deleted rows stay in files for a while: the key that wrapped them is destroyed.
func (r *run) epochEnds(ctx context.Context, before []wrappedKey) error {
	if r.sqlite() {
		return nil
	}
	if err := r.opened(ctx, func(a *app.App) error { return a.RotateKeys(ctx) }); err != nil {
		return err
	}
	now, err := r.wrappedKeys(ctx, "")
	if err != nil {
		return err
	}
	left := 0
	for _, k := range before {
		if slices.ContainsFunc(now, func(n wrappedKey) bool { return bytes.Equal(n.bytes, k.bytes) }) {
			left++
		}
	}
	old := filepath.Join(r.keysDir(), "epochs", before[0].epoch+".key")
	_, err = os.Stat(old)
	r.found.check("F7", left == 0 && errors.Is(err, os.ErrNotExist),
		"when the epoch ends its key is destroyed: what PostgreSQL's files still have of deleted keys is wrapped under a key that is gone")
	return nil
}

// absent asks the API for the erased visitor in every way, and for somebody else to see that it answers at all.
func (r *run) absent(ctx context.Context, id, when string) error {
	p := &r.people
	type ask struct {
		as     *client
		method string
		path   string
		status int
		code   string
	}
	asks := []ask{{p.agent, "GET", "/api/v1/persons/" + p.gone.id, 404, "person_unknown"},
		{p.owner, "DELETE", "/api/v1/persons/" + p.gone.id, 404, "person_unknown"},
		{p.gone.client, "GET", "/api/v1/widget/conversations", 401, "token_unknown"}}
	for _, c := range p.gone.conversations {
		asks = append(asks, ask{p.agent, "GET", "/api/v1/conversations/" + c, 404, "conversation_unknown"},
			ask{p.agent, "GET", "/api/v1/conversations/" + c + "/messages", 404, "conversation_unknown"},
			ask{p.agent, "GET", "/api/v1/conversations/" + c + "/calls", 404, "conversation_unknown"})
	}
	if p.call != "" {
		asks = append(asks, ask{p.agent, "GET", "/api/v1/calls/" + p.call, 404, "call_unknown"})
	}
	good := true
	for _, q := range asks {
		a, err := q.as.call(ctx, q.method, q.path, nil, nil)
		if err != nil {
			return err
		}
		if !a.is(q.status, q.code) {
			good = false
			r.found.breaks(id, "%s: %s is answered with %s, not with %d %s", when, a.call, a, q.status, q.code)
		}
	}
	list, err := p.agent.call(ctx, "GET", "/api/v1/conversations", nil, nil)
	if err != nil {
		return err
	}
	for _, c := range append([]string{p.gone.id}, p.gone.conversations...) {
		good = r.found.check(id, !bytes.Contains(list.body, []byte(c)), when+": the inbox does not show the erased visitor") && good
	}
	if s, err := p.gone.open(ctx); err == nil {
		s.close(r)
		good = false
		r.found.breaks(id, "%s: the erased visitor's token still opens the socket", when)
	}
	for _, c := range p.stays.conversations {
		a, err := p.stays.call(ctx, "GET", "/api/v1/widget/conversations/"+c+"/messages", nil, nil)
		if err != nil {
			return err
		}
		good = r.found.check(id, a.status == 200, when+": another visitor's conversation is still there") && good
	}
	if good {
		r.found.holds(id, "%s: person, conversations, messages, calls and token are unknown to the API", when)
	}
	return nil
}

// nothingReturns checks the restored server: the ledger was replayed before it answered.
func (r *run) nothingReturns(ctx context.Context) error {
	r.mu.Lock()
	from := len(r.answers)
	r.mu.Unlock()
	if err := r.absent(ctx, "F8", "after an old backup was restored"); err != nil {
		return err
	}
	s := r.search("")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.answers[from:] {
		for h := range s.finder.in(a.body) {
			if h.canary.erased {
				r.found.breaks("F8", "after an old backup was restored: the answer to %s shows %s", a.call, h.canary.name())
			}
		}
	}
	return nil
}

// rowsGone looks for the erased visitor's ids in every table. What is left names them in tables that the catalogue keeps on purpose.
func (r *run) rowsGone(ctx context.Context, id string) error {
	ids := append([]string{r.people.gone.id}, r.people.gone.conversations...)
	return r.dataStore(ctx, r.data, func(d *db.DB) error {
		kept, walked, linked := map[string]bool{}, 0, false
		for _, t := range r.catalog.Tables() {
			if t.Erase == catalog.Delete || t.Erase == catalog.Blank {
				walked++
			}
		}
		list, err := tables(ctx, d)
		if err != nil {
			return err
		}
		for _, t := range list {
			declared, ok := r.catalog.Table(t.name)
			if t.schema == backupSchema || !ok {
				continue
			}
			recs, err := records(ctx, d, `SELECT * FROM `+t.sql())
			if err != nil {
				return err
			}
			for _, rec := range recs {
				if r.ofCall(rec) && (declared.Erase != catalog.Retain || holdsAny(rec, ids)) {
					linked = true
					r.found.breaks(id, "table %s still holds the call of the erased visitor, or who was in it", t.name)
				}
				for column := range rec {
					switch {
					case !slices.Contains(ids, rec.text(column)):
					case declared.Erase == catalog.Retain:
						kept[t.name+"."+column] = true
					default:
						r.found.breaks(id, "table %s, column %s still names the erased visitor", t.name, column)
					}
				}
			}
		}
		if len(r.people.identities) > 0 && !linked {
			r.found.holds(id, "the %d identities under which the media engine knew the visitor and the member lead to nobody: no row that is left says whose they were", len(r.people.identities))
		}
		r.found.holds(id, "no row of the %d tables that the catalogue erases names the visitor; random ids stay in %s, by declaration", walked, names(kept))
		return nil
	})
}

// ofCall reports whether a row names the erased visitor's call, or an identity in it.
func (r *run) ofCall(rec record) bool {
	return r.people.call != "" && holdsAny(rec, append([]string{r.people.call}, r.people.identities...))
}

// holdsAny reports whether one of the ids stands in a row.
func holdsAny(rec record, ids []string) bool {
	for column := range rec {
		text := rec.text(column)
		if slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(text, id) }) {
			return true
		}
	}
	return false
}

func names(set map[string]bool) string {
	if len(set) == 0 {
		return "none"
	}
	var out []string
	for n := range set {
		out = append(out, n)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
