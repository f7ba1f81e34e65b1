// Command gendata writes docs/data.md from the catalogue: every table, whose data it is, what it is used for, on which basis,
// for how long, what erasing somebody does to it; every column; what is kept in browsers; the keys that log records may carry;
// and who receives anything. "make generate" runs it and "make verify" fails when the page is not what it writes.
//
//	go run ./tools/gendata > docs/data.md
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"parley/app"
	"parley/catalog"
)

func main() {
	out := flag.String("o", "", "`file` to write; standard output if empty")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gendata:", err)
		os.Exit(1)
	}
}

// run writes the whole page or nothing: a catalogue that does not validate leaves the old page as it is.
func run(out string) error {
	c, err := app.Catalog()
	if err != nil {
		return err
	}
	p := &page{catalog: c, inKeyStore: map[string]bool{}}
	for _, s := range app.KeyDatasets() {
		for _, t := range s.Tables {
			p.inKeyStore[t.Name] = true
		}
	}
	p.write()
	if out == "" {
		_, err = os.Stdout.Write(p.Bytes())
		return err
	}
	return os.WriteFile(out, p.Bytes(), 0o644)
}

// page is the Markdown under way.
type page struct {
	bytes.Buffer
	catalog    *catalog.Catalog
	inKeyStore map[string]bool
}

func (p *page) say(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// intro explains the words of the tables below it.
const intro = `<!-- Written by tools/gendata from the catalogue (the data.go of each package, and app/datasets.go). Change it there and run "make generate". -->

# The data that Parley keeps

This page is generated from the catalogue that the program itself works by. A test compares the catalogue with the live schema on both
engines, both ways: a table or a column that is not on this page fails the build.

**Kinds of column.** *sealed*: encrypted under a key of the vault; the field id is what the value is bound to. *blind index*: a keyed hash of a sealed
value, to find it again. *hash*: of a random token, or of a password. *link*: the id of another row. *scope*: the id of the organisation. *plain*: readable, and not personal
by itself; where that could be doubted the remark says why.

**Whose.** The *owner* is who the row is about: erasing them erases it. The *author* made it, the *actor* did what it records: erasing them leaves an id that leads nowhere.

**When the owner is erased** their keys are destroyed first, so whatever was sealed under them can be read by nobody, wherever a copy is. Then a row is *deleted*, *blanked* (its sealed
columns and indexes are emptied) or *retained* as it is.

**Kept** is the longest time that a row may exist. What is deleted when its time has come, and what is not yet, stands in [operator.md](operator.md#how-long-things-are-kept).`
