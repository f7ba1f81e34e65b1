package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"parley/catalog"
)

// search is one round of looking for canaries in every place that the server writes to.
type search struct {
	*run
	when   string // "while it runs", "after the erasure"
	finder *finder
}

func (r *run) search(when string) *search {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &search{run: r, when: when, finder: newFinder(append(slices.Clone(r.canaries), r.mark))}
}

// searchWorks shows that the search can find: a canary is written to a file in every form, one at a time, and has to turn up.
// A file in which it stands across two pieces of the reading counts too.
func (r *run) searchWorks() error {
	c := &canary{token: newToken(), what: "a control", field: "control.value", value: "Control@Value.example", addr: newAddress(),
		at: netip.MustParseAddrPort("192.0.2.7:40007")}
	s := &search{run: r, finder: newFinder([]*canary{c})}
	path := filepath.Join(r.dir, "control")
	forms := c.needles()
	for i, n := range forms {
		padding := 100 + i
		if i%2 == 1 {
			padding = pieceSize - len(n.bytes)/2
		}
		text := n.bytes
		if n.fold && n.form == "as it is" {
			text = []byte(strings.ToUpper(string(text)))
		}
		if err := os.WriteFile(path, append(make([]byte, padding), text...), 0o600); err != nil {
			return err
		}
		found, _, err := s.file(path)
		if err != nil {
			return err
		}
		if !found[hit{c, n.form}] {
			return fmt.Errorf("the search does not work: it missed %s", n.form)
		}
	}
	r.found.holds("I7", "the search itself works: it found a control in a file in each of %d forms, from UTF-16 and base64 to hashes without a key", len(forms))
	return os.Remove(path)
}

func (s *search) file(path string) (map[hit]bool, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // only read
	return s.finder.inAll(f)
}

// leaks reports what was found in a place where it must not be, and says whether the public mark was among it.
func (s *search) leaks(place string, found map[hit]bool) (marked bool) {
	by := map[string][]string{} // promise → canaries
	for h := range found {
		if h.canary.public {
			marked = true
			continue
		}
		id := h.canary.promise(place)
		by[id] = append(by[id], h.canary.name()+", "+h.form)
	}
	for id, lines := range by {
		slices.Sort(lines)
		more := ""
		if len(lines) > 6 {
			more = fmt.Sprintf("; and %d more", len(lines)-6)
			lines = lines[:6]
		}
		s.found.breaks(id, "%s, %s: readable %s%s", place, s.when, strings.Join(lines, "; "), more)
	}
	return marked
}

// name says what a canary is, and the field that it was for.
func (c *canary) name() string {
	if c.field == "" {
		return c.what
	}
	return fmt.Sprintf("%s (%s)", c.what, c.field)
}

// promise returns the promise that is broken when the canary is readable in a place.
func (c *canary) promise(place string) string {
	switch {
	case c.addr.IsValid(), c.at.IsValid():
		return "E2"
	case place == theLog || c.field == "" && c.shown == 0:
		return "E3"
	}
	return "I7"
}

// theLog is how the server's log is called in the report.
const theLog = "the log"

// files looks through everything below dir that is a file. marked are the files in which the public mark stands.
func (s *search) files(dir, what string) (marked []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile: the server runs
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		found, _, err := s.file(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if dir == s.data {
			s.looked[name] = true
		}
		if err == nil && s.leaks("file "+name+" in "+what, found) {
			marked = append(marked, name)
		}
		return err
	})
	if err == nil {
		slices.Sort(marked)
		s.found.again("I7", s.when, "no canary in the files of "+what)
	}
	return marked, err
}

// lookedThrough says which files were there.
func (r *run) lookedThrough() {
	r.found.holds("I7", "files that were looked through, all bytes of them: %s", names(r.looked))
}

// dataFiles looks through the data directory: database, write-ahead log, key store, ledger, spill file and what else is there. On SQLite
// the public mark has to be found in the database, or the search did not look where rows are.
func (s *search) dataFiles(dir string) error {
	marked, err := s.files(dir, "the data directory")
	if err != nil {
		return err
	}
	if s.sqlite() {
		s.sees("I7", slices.ContainsFunc(marked, func(name string) bool { return strings.HasPrefix(name, "parley.db") }),
			"a public word is found in the database's files, as it must be")
	}
	return nil
}

// sees is a control that belongs to a round.
func (s *search) sees(id string, ok bool, what string) {
	if !ok {
		s.found.breaks(id, "%s: not so: %s", s.when, what)
		return
	}
	s.found.again(id, s.when, what)
}

// logged looks through what the server wrote to its log and its standard output, and what libraries wrote with Go's own logger.
func (s *search) logged() error {
	found, size, err := s.file(s.logPath)
	if err != nil {
		return err
	}
	s.leaks(theLog, found)
	if found, _, err = s.file(s.outPath); err != nil {
		return err
	}
	s.leaks("the standard output", found)
	s.sees("E3", size > 0, "no canary in the log, which was written at its most talkative level")
	s.found.again("E2", s.when, "no client's address in the stores, the files or the log, though a trusted proxy named one for every call")
	return nil
}

// maxTemp bounds how much of other programs' temporary files is looked through, in bytes.
const maxTemp = 256 << 20

// temporary looks through what appeared in the directory for temporary files since the proof began, and through files that this
// process holds open after their names were removed.
func (s *search) temporary() error {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return err
	}
	left := int64(maxTemp)
	look := func(path string) {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() > left {
			return
		}
		left -= info.Size()
		if found, _, err := s.file(path); err == nil { // what cannot be read is somebody else's
			s.leaks("temporary file "+filepath.Base(path), found)
		}
	}
	for _, e := range entries {
		path := filepath.Join(os.TempDir(), e.Name())
		if s.tempBefore[e.Name()] || path == s.dir || strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				look(path)
			}
			return nil // other programs' files come and go
		})
		if err != nil {
			return err
		}
	}
	for _, path := range nameless() {
		look(path)
	}
	s.found.again("I7", s.when, "no canary in temporary files that are newer than the proof, nor in open files without a name")
	return nil
}

// nameless returns the files that this process has open though their names are gone, where the system tells.
func nameless() (paths []string) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if to, err := os.Readlink(path); err == nil && strings.HasSuffix(to, " (deleted)") {
			paths = append(paths, path)
		}
	}
	return paths
}

// everywhere looks through all places but the tables, which are read when nobody writes.
func (s *search) everywhere(ctx context.Context) error {
	return errors.Join(s.dataFiles(s.data), s.logged(), s.temporary(), s.redisHolds(ctx))
}

// answered looks through the answers. Whoever may read a value gets it, which shows that the canaries are there; nobody gets a secret
// that was not theirs, and no refusal repeats what was sent.
func (s *search) answered(answers []answer) {
	seen, shown := map[*canary]bool{}, map[*canary][]string{}
	refused := 0
	for _, a := range answers {
		text := make([]byte, 0, len(a.body)+512)
		for name, values := range a.header {
			text = append(text, name+": "+strings.Join(values, ", ")+"\n"...)
		}
		found := s.finder.in(append(text, a.body...))
		if a.status >= 400 {
			refused++
		}
		by := map[*canary]bool{}
		for h := range found {
			by[h.canary] = true
		}
		for c := range by {
			switch {
			case c.public:
			case a.status >= 400:
				s.found.breaks("E3", "the refusal of %s (%d) repeats %s", a.call, a.status, c.name())
			case !a.personal():
				s.found.breaks(c.promise("answers"), "%s shows %s", a.call, c.name())
			case c.secret:
				shown[c] = append(shown[c], a.call)
			default:
				seen[c] = true
			}
		}
	}
	for c, calls := range shown {
		if len(calls) > c.shown {
			s.found.breaks(c.promise("answers"), "%s is shown in answers: %s", c.name(), strings.Join(calls, ", "))
		}
	}
	s.found.holds("I7", "no canary on a page that anybody may read, among them /metrics, /openapi.json and the front ends")
	s.found.check("E3", refused > 20, fmt.Sprintf("%d refusals repeat nothing that was sent", refused))
	s.control(seen)
}

// control checks that everything planted was readable to those who may read it.
func (s *search) control(seen map[*canary]bool) {
	missing := 0
	fields := map[catalog.FieldID]bool{}
	for _, c := range s.canaries {
		if c.field == "" || c.secret {
			continue
		}
		fields[c.field] = true
		if !seen[c] {
			missing++
			s.found.breaks("I7", "%s was planted, and nobody who may read it was shown it: the proof proves nothing for it", c.name())
		}
	}
	if missing == 0 {
		s.found.holds("I7", "all canaries of %d fields came back to those who may read them, so they are there", len(fields))
	}
}

// reads looks through one answer's text.
func (s *search) reads(place string, r io.Reader) error {
	found, _, err := s.finder.inAll(r)
	if err == nil {
		s.leaks(place, found)
	}
	return err
}
