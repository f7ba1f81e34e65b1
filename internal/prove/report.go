package prove

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// The answers for a promise.
const (
	Kept     = "kept"
	Broken   = "broken"
	NotBuilt = "not built yet"
)

// Row is what the proof says of one promise.
type Row struct {
	ID       string   `json:"id"`
	Status   string   `json:"status"`
	Text     string   `json:"text"`
	Part     string   `json:"part"`     // of the product that brings what is missing, when it is not built yet
	Evidence []string `json:"evidence"` // of a broken promise: what broke it comes first
}

// Report is the outcome, a row for each promise in the order of the list. It names fields, tables and files; of what was
// planted it shows nothing.
type Report struct {
	Version string
	Engine  string // "SQLite", "PostgreSQL"
	Redis   bool
	Took    time.Duration
	Rows    []Row
}

// JSON writes the rows, for programs: [{"id","status","text","part","evidence"}].
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r.Rows)
}

// Text writes the report for people: what is broken first, then what is kept, then what is not built yet.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	where := r.Engine
	if r.Redis {
		where += " and Redis"
	}
	fmt.Fprintf(&b, "Parley %s on %s, %.1f s: %d kept, %d broken, %d not built yet\n%s\n", r.Version, where, r.Took.Seconds(),
		r.count(Kept), r.count(Broken), r.count(NotBuilt), "Not built yet: what the promise is about does not exist in this version; the part that brings it stands behind it.")
	for _, status := range []string{Broken, Kept, NotBuilt} {
		if r.count(status) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(status))
		for _, row := range r.Rows {
			if row.Status != status {
				continue
			}
			fmt.Fprintf(&b, "  %-4s %s", row.ID, row.Text)
			if row.Part != "" {
				fmt.Fprintf(&b, " (%s)", row.Part)
			}
			b.WriteByte('\n')
			for _, line := range row.Evidence {
				fmt.Fprintf(&b, "         - %s\n", line)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) count(status string) (n int) {
	for _, row := range r.Rows {
		if row.Status == status {
			n++
		}
	}
	return n
}

// Err names the promises that are broken; nil when none is.
func (r *Report) Err() error {
	var ids []string
	for _, row := range r.Rows {
		if row.Status == Broken {
			ids = append(ids, row.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return fmt.Errorf("broken: %s", strings.Join(ids, ", "))
}

// findings collects what the checks see, by promise. It is safe for concurrent use.
type findings struct {
	mu     sync.Mutex
	held   map[string][]string
	broken map[string][]string
	rounds map[string][]string // evidence that was seen several times → when
}

// maxBroken bounds the lines of one promise: a leak that is everywhere needs no hundred of them.
const maxBroken = 24

func newFindings() *findings {
	return &findings{held: map[string][]string{}, broken: map[string][]string{}, rounds: map[string][]string{}}
}

// holds notes evidence that a promise is kept.
func (f *findings) holds(id, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[id] = addOnce(f.held[id], fmt.Sprintf(format, args...))
}

// again notes evidence that is looked for in several rounds, once with all of them.
func (f *findings) again(id, when, what string) {
	f.holds(id, "%s", what)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rounds[what] = addOnce(f.rounds[what], when)
}

// breaks notes that a promise is broken, and by what.
func (f *findings) breaks(id, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.broken[id]) < maxBroken {
		f.broken[id] = addOnce(f.broken[id], fmt.Sprintf(format, args...))
	}
}

// check notes that something holds, or else that it does not: the same words, and what was found instead.
func (f *findings) check(id string, ok bool, what string, instead ...any) bool {
	if ok {
		f.holds(id, "%s", what)
		return true
	}
	line := "not so: " + what
	if len(instead) > 0 {
		line += ": " + strings.TrimSuffix(fmt.Sprintln(instead...), "\n")
	}
	f.breaks(id, "%s", line)
	return false
}

func addOnce(lines []string, line string) []string {
	if slices.Contains(lines, line) {
		return lines
	}
	return append(lines, line)
}

// rows gives every promise its status. One that is all here and that nothing showed counts as broken.
func (f *findings) rows() []Row {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Row
	for _, p := range promises() {
		row := Row{ID: p.id, Text: p.text, Status: Kept, Evidence: append([]string{}, f.broken[p.id]...)}
		for _, line := range f.held[p.id] {
			if when := f.rounds[line]; len(when) > 0 {
				line += " (" + strings.Join(when, ", ") + ")"
			}
			row.Evidence = append(row.Evidence, line)
		}
		switch {
		case len(f.broken[p.id]) > 0:
			row.Status = Broken
		case p.part != "":
			row.Status, row.Part = NotBuilt, p.part
		case len(row.Evidence) == 0:
			row.Status, row.Evidence = Broken, []string{"nothing showed it: the proof did not come that far"}
		}
		out = append(out, row)
	}
	return out
}
