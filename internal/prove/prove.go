// Package prove shows that a server of this binary keeps its promises: it runs one on a scratch installation, plants marked
// values wherever the catalogue says that something personal is kept, and looks for them where nobody may read them. It never
// touches live data.
package prove

import (
	"context"
	"errors"
	"io"
)

// Options say what to prove and on which engines.
type Options struct {
	Version  string // of the program, for the report
	Database string // "" = SQLite; else a PostgreSQL URL whose database holds no table of Parley's yet
	Redis    string // "" = one process
}

// Report is what was found, promise by promise.
type Report struct{}

// Run proves.
func Run(ctx context.Context, o Options) (*Report, error) {
	return &Report{}, errors.New("prove: nothing is proven yet")
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error { return nil }

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error { return nil }

// Err is non-nil when a promise is broken.
func (r *Report) Err() error { return nil }
