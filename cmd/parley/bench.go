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
		Name: "bench", ShortUsage: "parley bench chat|video [flags]", ShortHelp: "Measure Parley on this machine", FlagSet: flagSet("bench", stderr),
		Exec:        func(context.Context, []string) error { return flag.ErrHelp },
		Subcommands: []*ffcli.Command{benchChat(stdout, stderr), benchVideo(stdout, stderr), benchServe(stdout, stderr)},
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

func benchVideo(stdout, stderr io.Writer) *ffcli.Command {
	o := bench.VideoOptions{Version: version}
	fs := flagSet("bench video", stderr)
	asJSON := fs.Bool("json", false, "print JSON")
	fs.IntVar(&o.Watchers, "watchers", 100, "people who receive one")
	fs.IntVar(&o.Rooms, "rooms", 10, "calls at the same time, in which everybody publishes")
	fs.IntVar(&o.PerRoom, "per-room", 5, "people in each of them")
	fs.IntVar(&o.Joins, "joins", 100, "people who join one after the other, for the figures of joining")
	fs.IntVar(&o.Seconds, "seconds", 20, "`seconds` measured of each load")
	fs.IntVar(&o.Bitrate, "bitrate", 1_500_000, "of each picture of 1280 × 720, in `bits` a second")
	fs.IntVar(&o.FPS, "fps", 30, "frames a second")
	fs.BoolVar(&o.Simulcast, "simulcast", false, "publish each picture in three sizes, as browsers do")
	fs.BoolVar(&o.TCP, "tcp", false, "media over TCP alone")
	fs.StringVar(&o.Parts, "parts", "", "`parts` of the measurement, separated by commas: joins,watch,rooms; all if empty")
	fs.StringVar(&o.ServerCPUs, "server-cpus", "", "`processors` for the server, such as 0; the first if there are two and both flags are empty")
	fs.StringVar(&o.GeneratorCPUs, "generator-cpus", "", "`processors` for this process, such as 1-3")
	fs.StringVar(&o.Dir, "dir", "", "`directory` for the fresh data; the system's for temporary files if empty")
	fs.StringVar(&o.Profile, "profile", "", "`file` for a processor profile of the server while many watch one")
	fs.StringVar(&o.LiveKit.URL, "livekit-url", "", "`URL` of a LiveKit server that runs, to be measured in place of Parley: http://127.0.0.1:7880")
	fs.StringVar(&o.LiveKit.Key, "livekit-key", "devkey", "its API `key`")
	fs.StringVar(&o.LiveKit.Secret, "livekit-secret", "secret", "and the `secret` of that")
	fs.IntVar(&o.LiveKit.PID, "livekit-pid", 0, "its `process`, if it is on this machine: its processor time and memory are read, and it is bound to --server-cpus")
	return &ffcli.Command{
		Name: "video", ShortUsage: "parley bench video [flags]", ShortHelp: "Visitors and agents who call", FlagSet: fs,
		LongHelp: "Runs a server of its own on fresh data, and everybody who takes part in calls in this process. It needs no running server and leaves nothing behind.",
		Exec: func(ctx context.Context, args []string) error {
			if err := noWords(args); err != nil {
				return err
			}
			report, err := bench.Video(ctx, o, stderr)
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
