// Package prove shows that a server of this binary keeps its promises. It runs the real server on a scratch installation, lives
// on it as an operator, members and visitors do, and puts a unique mark wherever the catalogue says that something personal is
// kept, and wherever servers tend to keep what they should not. Then it looks for the marks in every byte that was written,
// erases a visitor, restores a backup of before, and looks again.
//
// It never touches live data: it works in a temporary directory, and refuses a database or Redis that holds anything. It reads the
// product from outside, through its public interfaces and its stores; what the stores hold is opened by the rules that bind everybody.
package prove

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"parley/app"
	"parley/catalog"
	"parley/egress"
	"parley/internal/db"
	"parley/internal/fault"
)

// Options say what to prove and on which engines.
type Options struct {
	Version  string // of the program, for the report
	Database string // "" = SQLite; else a PostgreSQL URL whose database is empty: it is used, and emptied again
	Redis    string // "" = one process; else a Redis that nobody else uses
}

// scratchPrefix begins the name of the temporary directory.
const scratchPrefix = "parley-prove-"

// callWithin bounds one call to the scratch server.
const callWithin = 30 * time.Second

// run is one proof.
type run struct {
	opt                           Options
	dir, data, backup, keysBefore string
	logPath, outPath              string
	log, out                      *os.File        // what the server writes to its log, and to its standard output
	tempBefore                    map[string]bool // names in the system's temporary directory
	catalog                       *catalog.Catalog
	gate                          *egress.Gate
	http                          *http.Client
	found                         *findings
	monitor                       *monitor
	server                        *server
	mark                          *canary // stands where everybody may read it

	mu       sync.Mutex
	canaries []*canary
	answers  []answer
	cookies  []setCookie

	people     people
	looked     map[string]bool // files that were looked through
	erasing    bool            // what is planted now belongs to the visitor who is erased
	aged       []agedSession
	goneValues []stored // sealed values of the visitor who is erased, and of the others
	stayValues []stored
	later      []func()    // to be done when the participants of a call have gone
	held       []io.Closer // ports that they spoke from
}

// Run proves. Its error says why nothing could be proven; what was found wrong is in the report, see Report.Err. It takes some ten
// seconds on SQLite and leaves nothing behind.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	began := time.Now()
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	if err := r.stores(ctx); err != nil {
		return nil, err
	}
	defer func() { // after the server has stopped; the tables go even when ctx has ended
		err = errors.Join(err, r.stop(), r.dropAll(context.WithoutCancel(ctx)))
	}()
	if err := r.prove(ctx); err != nil {
		return nil, err
	}
	report = &Report{Version: o.Version, Engine: "SQLite", Redis: o.Redis != "", Took: time.Since(began), Rows: r.found.rows()}
	if !r.sqlite() {
		report.Engine = "PostgreSQL"
	}
	return report, nil
}

func newRun(o Options) (*run, error) {
	if scheme, _, _ := strings.Cut(o.Database, ":"); scheme != "" && scheme != "postgres" && scheme != "postgresql" {
		return nil, fault.Bad("prove", "--database", "database_url", "name an empty PostgreSQL database, postgres://…; on SQLite the proof makes a file of its own.")
	}
	r := &run{opt: o, found: newFindings(), tempBefore: map[string]bool{}, looked: map[string]bool{}, mark: &canary{token: newToken(), what: "a public word", public: true}}
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		r.tempBefore[e.Name()] = true
	}
	if r.catalog, err = app.Catalog(); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", scratchPrefix); err != nil {
		return nil, err
	}
	r.data, r.backup, r.keysBefore = filepath.Join(r.dir, "data"), filepath.Join(r.dir, "backup"), filepath.Join(r.dir, "keys-before")
	r.logPath, r.outPath = filepath.Join(r.dir, "log"), filepath.Join(r.dir, "out")
	for path, f := range map[string]**os.File{r.logPath: &r.log, r.outPath: &r.out} {
		if *f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, errors.Join(err, os.RemoveAll(r.dir))
		}
	}
	r.gate = egress.New(egress.Options{Recipients: r.catalog.Recipients(), MaxResponse: 64 << 20})
	r.http = r.gate.Client("self", callWithin)
	r.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return r, nil
}

// remove leaves nothing behind.
func (r *run) remove() error {
	if r.monitor != nil {
		r.monitor.stop()
	}
	r.http.CloseIdleConnections()
	for _, port := range r.held {
		_ = port.Close() // nothing came there
	}
	return errors.Join(r.log.Close(), r.out.Close(), os.RemoveAll(r.dir))
}

// stores binds the stores that were named, and refuses those that somebody uses.
func (r *run) stores(ctx context.Context) error {
	if err := app.AllowStores(r.gate, r.config()); err != nil {
		return err
	}
	return errors.Join(r.refuseUsed(ctx), r.refuseSharedRedis(ctx))
}

// prove lives through the installation's life. When people cannot do what they came for, what was written until then is still looked through.
func (r *run) prove(ctx context.Context) error {
	if err := r.searchWorks(); err != nil {
		return err
	}
	defer captureStandardLog(r.log)()
	if err := r.watchRedis(ctx); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	lived := r.live(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if lived != nil {
		r.found.breaks("I7", "people could not use the scratch installation: %v", lived)
	}
	running, atRest := r.search("while running"), r.search("stopped")
	if err := errors.Join(running.everywhere(ctx), r.stop(), atRest.tableValues(ctx), atRest.everywhere(ctx)); err != nil {
		return err
	}
	r.planted()
	if err := errors.Join(r.opens(ctx), r.declared(ctx), r.keptHashes(ctx)); err != nil {
		return err
	}
	if lived == nil {
		if err := r.eraseAndRestore(ctx); err != nil {
			return err
		}
	}
	r.search("").answered(r.answers)
	r.cookieGate()
	r.lookedThrough()
	return r.logKeys()
}

// captureStandardLog sends what libraries write with Go's own logger to the log that is looked through, until the returned function is called.
func captureStandardLog(w io.Writer) (restore func()) {
	was := log.Writer()
	log.SetOutput(w)
	return func() { log.SetOutput(was) }
}

// live is the first life of the scratch installation.
func (r *run) live(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		r.settle, r.visits, r.calls, r.readBack, r.watched, r.strippedPage, r.loiter, r.publicPages, r.sessions, r.failures, r.defaultDeny,
		r.optional, r.machinePages, r.outward,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		r.connections()
	}
	if err := r.encrypted(ctx); err != nil {
		return err
	}
	r.withoutCookies()
	return nil
}

// machinePages asks for what programs read of the server; it is looked through with the other answers.
func (r *run) machinePages(ctx context.Context) error {
	for _, path := range []string{"/metrics", "/openapi.json", "/api", "/healthz", "/readyz"} {
		if err := r.local().must(ctx, "GET", path, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) keptHashes(ctx context.Context) error {
	return r.dataStore(ctx, r.data, func(d *db.DB) error {
		recs, err := records(ctx, d, `SELECT password_hash FROM account_member`)
		r.hashed(recs)
		return err
	})
}
