package main

import (
	"context"
	"flag"
	"io"
	"os"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"parley/app"
	"parley/internal/bench"
)

func benchCommand(stdout, stderr io.Writer) *ffcli.Command {
	return &ffcli.Command{
		Name: "bench", ShortUsage: "parley bench chat [flags]", ShortHelp: "Measure Parley on this machine", FlagSet: flagSet("bench", stderr),
		Exec:        func(context.Context, []string) error { return flag.ErrHelp },
		Subcommands: []*ffcli.Command{benchChat(stdout, stderr), benchServe(stdout, stderr)},
	}
}

func benchChat(stdout, stderr io.Writer) *ffcli.Command {
	o := bench.Options{Version: version}
	fs := flagSet("bench chat", stderr)
	asJSON := fs.Bool("json", false, "print JSON")
	fs.IntVar(&o.Visitors, "visitors", 1000, "visitors, each with a conversation and a socket")
	fs.IntVar(&o.Agents, "agents", 50, "agents, who share the conversations")
	fs.IntVar(&o.Seconds, "seconds", 20, "`seconds` measured in each phase")
	fs.IntVar(&o.Rate, "rate", 3000, "messages a second of the steady phase; 0 leaves only the phase with as many as the server takes")
	fs.IntVar(&o.InFlight, "in-flight", 64, "unacknowledged messages in that phase")
	fs.IntVar(&o.Messages, "messages", 0, "messages stored before, for the figures of inbox and conversations (1000000 takes minutes)")
	fs.IntVar(&o.Reads, "reads", 500, "requests that each of those figures rests upon")
	fs.StringVar(&o.NoOp, "noop-binary", "", "`path` of parley built with -tags parley_noop_vault, to compare with")
	fs.IntVar(&o.Rounds, "rounds", 5, "rounds of that comparison")
	fs.DurationVar(&o.Delay, "fsync-delay", 0, "`time` added to each fsync by strace, such as 5ms")
	fs.StringVar(&o.Database, "database", "", "`URL` of an empty PostgreSQL database; a fresh SQLite file if empty")
	fs.StringVar(&o.Redis, "redis", "", "`URL` of Redis")
	fs.StringVar(&o.Dir, "dir", "", "`directory` on the disk to measure; the system's for temporary files if empty")
	fs.StringVar(&o.Keep, "keep", "", "data `directory` that is kept, so that a further run finds its messages stored")
	fs.StringVar(&o.Profile, "profile", "", "`file` for a processor profile of the server in the last phase")
	return &ffcli.Command{
		Name: "chat", ShortUsage: "parley bench chat [flags]", ShortHelp: "Visitors and agents who talk", FlagSet: fs,
		LongHelp: "Runs a server of its own on fresh data and a load generator in this process. It needs no running server and leaves nothing behind.",
		Exec: func(ctx context.Context, args []string) error {
			if err := noWords(args); err != nil {
				return err
			}
			if o.Delay >= time.Microsecond {
				if err := bench.HaveStrace(); err != nil {
					return usageError(err.Error())
				}
			}
			report, err := bench.Chat(ctx, o, stderr)
			if err != nil {
				return err
			}
			if *asJSON {
				return report.JSON(stdout)
			}
			return report.Table(stdout)
		},
	}
}

// benchServe is the server that bench measures. It is not listed: nobody else has a use for it.
func benchServe(stdout, stderr io.Writer) *ffcli.Command {
	cfg := app.Config{Version: version}
	fs := flagSet("bench serve", stderr)
	fs.StringVar(&cfg.Data, "data", "", "`directory`")
	fs.StringVar(&cfg.Keys, "keys", "", "`directory`")
	fs.StringVar(&cfg.Database, "database", "", "`URL`")
	fs.StringVar(&cfg.Redis, "redis", "", "`URL`")
	fs.BoolVar(&cfg.SyncOff, "sync-off", false, "acknowledge before the disk has it: for the test of the test of durability")
	profile := fs.String("profile", "", "`file`")
	return &ffcli.Command{
		Name: "serve", ShortUsage: "parley bench serve --data DIR", FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if cfg.Data == "" {
				return usageError("bench serve needs --data")
			}
			return bench.Serve(ctx, cfg, *profile, os.Stdin, stdout, stderr)
		},
	}
}
