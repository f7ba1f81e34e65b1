// Package bench measures a Parley server on the machine at hand. It runs the server as a child process of the same
// binary, plays visitors and agents against it from this process, so that the two use processor time apart, and reports what it saw.
//
// It asserts nothing: figures depend on the machine, and a test that fails on a slow one teaches people to ignore tests. It
// checks every delivery, though, because a fast server that loses messages is not fast.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options say what to measure. The zero value of a field means its default.
type Options struct {
	Visitors int           // each with a conversation and a socket; 1,000
	Agents   int           // each with a socket, in an equal share of the conversations; 50
	Seconds  int           // length of each phase's measured part; 20
	Rate     int           // messages a second of the steady phase; 0 leaves that phase out
	InFlight int           // unacknowledged messages in the phase without a rate; 64
	Messages int           // stored before the server starts, for the figures of lists; 0: none
	Reads    int           // of each kind that the figures of lists rest upon; 500
	Rounds   int           // of sealed against no-op; 5
	NoOp     string        // path of the same program, built with the tag parley_noop_vault; "" leaves the comparison out
	Delay    time.Duration // added to every fsync by strace; 0: none
	Database string        // PostgreSQL URL of an empty database; "" = SQLite in a fresh directory
	Redis    string        // URL; "" = none
	Dir      string        // where the fresh directories are made; "" = the system's directory for temporary files
	Keep     string        // data directory that is kept for the next run, with the messages stored before; "" = a fresh one
	Profile  string        // file for a processor profile of the server in the last phase; "" = none
	Binary   string        // the program to measure; "" = this one
	Version  string        // of this program, for the report
}

func (o Options) withDefaults() (Options, error) {
	def(&o.Visitors, 1000)
	def(&o.Agents, 50)
	def(&o.Seconds, 20)
	def(&o.InFlight, 64)
	def(&o.Reads, 500)
	def(&o.Rounds, 5)
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Binary = self
	}
	if o.NoOp != "" && o.Database != "" {
		return o, errors.New("sealed against no-op is measured on SQLite: it needs a database for each side")
	}
	o.Agents = min(o.Agents, o.Visitors)
	return o, nil
}

func def(v *int, value int) {
	if *v <= 0 {
		*v = value
	}
}

// Chat measures the chat and returns the report. What it does meanwhile is told to progress.
func Chat(ctx context.Context, o Options, progress io.Writer) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "parley-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := &run{opt: o, dir: dir, progress: progress, report: &Report{}}
	if err := b.all(ctx); err != nil {
		return nil, err
	}
	return b.report, nil
}

// run is one measurement under way.
type run struct {
	opt      Options
	dir      string
	progress io.Writer
	report   *Report
}

func (b *run) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}

func (b *run) all(ctx context.Context) (err error) {
	r := b.report
	r.Machine = machine(b.opt)
	if r.Disk, err = probeDisk(b.dir); err != nil {
		return err
	}
	b.say("disk: one 4 KiB write and fdatasync takes %s (p50), %s (p99)", ms(r.Disk.P50), ms(r.Disk.P99))
	data := filepath.Join(b.dir, "data")
	if b.opt.Keep != "" {
		data = b.opt.Keep
	}
	first := filepath.Join(b.dir, "first")
	if b.opt.Database != "" {
		first = data // one database, one set of keys
	}
	if err := b.measureStart(ctx, first); err != nil {
		return err
	}
	stage, err := b.prepare(ctx, data)
	if err != nil {
		return err
	}
	if err := b.measureServer(ctx, data, stage); err != nil {
		return err
	}
	if b.opt.NoOp == "" {
		return nil
	}
	return b.compareSealing(ctx)
}

// measureStart times a first start on nothing, and reads the memory of a server that nobody talks to.
func (b *run) measureStart(ctx context.Context, data string) error {
	s, err := Start(ctx, b.command(data, false))
	if err != nil {
		return err
	}
	b.report.Start.FirstMS = millis(s.StartedIn)
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	if b.report.Start.IdleRSS, err = s.RSS(); err != nil {
		return errors.Join(err, s.Stop())
	}
	b.say("start: ready after %s, %s resident when idle", ms(b.report.Start.FirstMS), mb(b.report.Start.IdleRSS))
	return s.Stop()
}

// settle is how long a server is left alone before its memory is read.
const settle = 3 * time.Second

func (b *run) command(data string, delayed bool) Command {
	c := Command{Binary: b.opt.Binary, Args: serveArgs(data, b.opt), Stderr: b.progress}
	if delayed && b.opt.Delay > 0 {
		c.Wrap = strace(b.opt.Delay)
	}
	return c
}

// serveArgs is the command line of the server to measure.
func serveArgs(data string, o Options) []string {
	args := []string{"bench", "serve", "--data", data}
	if o.Profile != "" {
		args = append(args, "--profile", o.Profile)
	}
	if o.Database != "" {
		args = append(args, "--database", o.Database)
	}
	if o.Redis != "" {
		args = append(args, "--redis", o.Redis)
	}
	return args
}

// measureServer runs everything that wants one server with all of its people connected.
func (b *run) measureServer(ctx context.Context, data string, stage *stage) (err error) {
	s, err := Start(ctx, b.command(data, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	b.report.Start.AgainMS = millis(s.StartedIn)
	w, err := enter(ctx, s, stage, b.opt, b.say)
	if err != nil {
		return err
	}
	defer w.leave()
	if err := b.connectedMemory(ctx, s); err != nil {
		return err
	}
	if stage.Stored != nil {
		if b.report.Lists, err = measureLists(ctx, w, b.opt, b.say); err != nil {
			return err
		}
	}
	if b.opt.Rate > 0 {
		if err := b.phase(ctx, w, phase{Name: "steady", Rate: b.opt.Rate, Seconds: b.opt.Seconds}); err != nil {
			return err
		}
	}
	return b.phase(ctx, w, phase{Name: "max", InFlight: b.opt.InFlight, Seconds: b.opt.Seconds, Profile: b.opt.Profile})
}

func (b *run) phase(ctx context.Context, w *world, p phase) error {
	f, err := w.load(ctx, p)
	if err != nil {
		return err
	}
	b.report.Phases = append(b.report.Phases, f)
	b.say("%s: %.0f durable messages a second, to the other side p50 %s p99 %s, server %.2f cores, generator %.2f cores",
		f.Name, f.PerSecond, ms(f.ToOther.P50), ms(f.ToOther.P99), f.ServerCores, f.GeneratorCores)
	return nil
}

func (b *run) connectedMemory(ctx context.Context, s *Server) (err error) {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.report.Start.ConnectedRSS, err = s.RSS()
	b.say("%d visitors and %d agents connected: %s resident", b.opt.Visitors, b.opt.Agents, mb(b.report.Start.ConnectedRSS))
	return err
}
