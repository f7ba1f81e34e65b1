// Command parley is the communications server, its administration and its proof, in one binary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/peterbourgon/ff/v3/ffcli"

	"parley/app"
	"parley/internal/fault"
)

// version is set by the linker.
var version = "dev"

// The exit codes: 0 done, 1 it failed, 2 it was called wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main for tests.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := commands(stdout, stderr)
	err := root.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "parley: %v\n", err)
		return exitUsage
	}
	err = root.Run(ctx)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitUsage
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "parley: %v\n", err)
		return exitUsage
	case err != nil:
		app.Explain(stderr, err)
		if f := fault.Of(err); f.Kind == fault.Invalid && strings.HasPrefix(f.Field, "--") {
			return exitUsage
		}
		return exitFailed
	}
	return 0
}

// usageError is a command line that lacks something.
type usageError string

func (e usageError) Error() string { return string(e) }

func commands(stdout, stderr io.Writer) *ffcli.Command {
	root := &ffcli.Command{
		Name: "parley", ShortUsage: "parley COMMAND [flags]",
		LongHelp: "Every flag is also an environment variable (PARLEY_LISTEN for --listen) and a line of the file named by --config.",
		FlagSet:  flagSet("parley", stderr),
		Exec:     unknownCommand("parley"),
		Subcommands: []*ffcli.Command{
			serveCommand(stdout, stderr),
			group("org", "Organisations", stderr, orgCreate(stdout, stderr)),
			group("project", "Projects and their API keys", stderr, projectCreate(stdout, stderr)),
			group("member", "People who work in an organisation", stderr, memberCreate(stdout, stderr)),
			group("site", "Websites with the widget", stderr, siteCreate(stdout, stderr)),
			proveCommand(stdout, stderr),
			benchCommand(stdout, stderr),
			{
				Name: "version", ShortUsage: "parley version", ShortHelp: "Print the version", FlagSet: flagSet("version", stderr),
				Exec: func(context.Context, []string) error { fmt.Fprintln(stdout, "parley", version); return nil },
			},
		},
	}
	return root
}

func flagSet(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	return fs
}

func group(name, help string, stderr io.Writer, sub ...*ffcli.Command) *ffcli.Command {
	return &ffcli.Command{Name: name, ShortUsage: "parley " + name + " COMMAND [flags]", ShortHelp: help, Subcommands: sub,
		FlagSet: flagSet(name, stderr), Exec: unknownCommand("parley " + name)}
}

// unknownCommand is what a command that only has others under it does: it shows them, or says which word is none of them.
func unknownCommand(name string) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		if len(args) == 0 {
			return flag.ErrHelp
		}
		return usageError(fmt.Sprintf("unknown command %q; %s --help lists them", name+" "+args[0], name))
	}
}

// keepOnHangup lets SIGHUP end no server that runs as a service: `systemctl reload` sends it whether or not there is a certificate
// to look at. A server in somebody's terminal still ends with the terminal.
func keepOnHangup() {
	if tty, err := os.Open("/dev/tty"); err == nil {
		_ = tty.Close() // it was only looked for
		return
	}
	signal.Ignore(syscall.SIGHUP)
}

func serveCommand(stdout, stderr io.Writer) *ffcli.Command {
	cfg := &app.Config{}
	fs := flagSet("serve", stderr)
	cfg.Flags(fs)
	fs.String("config", "", "`file` with one \"flag value\" a line")
	return &ffcli.Command{
		Name: "serve", ShortUsage: "parley serve [flags]", ShortHelp: "Run the server", FlagSet: fs, Options: app.Options(),
		Exec: func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Sprintf("serve takes flags only, not %q", args[0]))
			}
			cfg.Version = version
			keepOnHangup()
			return app.Serve(ctx, *cfg, stdout, stderr)
		},
	}
}
