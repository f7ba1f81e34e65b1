package main

import (
	"context"
	"io"

	"github.com/peterbourgon/ff/v3/ffcli"

	"parley/internal/prove"
)

// proveCommand shows that a server of this binary keeps its promises: on a scratch installation, never on live data.
func proveCommand(stdout, stderr io.Writer) *ffcli.Command {
	opt := prove.Options{Version: version}
	fs := flagSet("prove", stderr)
	fs.StringVar(&opt.Database, "database", "", "`URL` of an empty PostgreSQL database to prove on; SQLite if empty")
	fs.StringVar(&opt.Redis, "redis", "", "`URL` of Redis to prove with")
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name: "prove", ShortUsage: "parley prove [flags]", ShortHelp: "Show that the promises hold, on a scratch installation", FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noWords(args); err != nil {
				return err
			}
			report, err := prove.Run(ctx, opt)
			if err != nil {
				return err
			}
			if *asJSON {
				err = report.JSON(stdout)
			} else {
				err = report.Text(stdout)
			}
			if err == nil {
				err = report.Err()
			}
			return err
		},
	}
}
