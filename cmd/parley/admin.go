package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/ffcli"

	"parley/app"
	"parley/internal/fault"
)

// adminCommand makes a command that asks the server, or the data directory, for something. Positional arguments may
// come before the flags ("org create NAME --json"), as people write them.
func adminCommand[I, O any](name, usage, help string, stdout, stderr io.Writer,
	declare func(*flag.FlagSet) func(args []string) (I, error),
	do func(app.Admin, context.Context, I) (O, error), show func(io.Writer, O)) *ffcli.Command {
	cfg := &app.Config{}
	fs := flagSet(name, stderr)
	cfg.StoreFlags(fs)
	fs.String("config", "", "`file` with one \"flag value\" a line")
	asJSON := fs.Bool("json", false, "print JSON")
	input := declare(fs)
	return &ffcli.Command{
		Name: "create", ShortUsage: usage, ShortHelp: help, FlagSet: fs, Options: app.Options(ff.WithIgnoreUndefined(true)),
		Exec: func(ctx context.Context, args []string) error {
			var words []string
			for len(args) > 0 { // flags after a word: the flag package stops at the first word
				words = append(words, args[0])
				if err := ff.Parse(fs, args[1:], app.Options()...); err != nil { // reads a --config among them too
					if errors.Is(err, flag.ErrHelp) {
						return nil // the flag package has shown it
					}
					return usageError(err.Error())
				}
				args = fs.Args()
			}
			in, err := input(words)
			if err != nil {
				return err
			}
			cfg.LogLevel = "warn"
			admin, closeAdmin, err := app.Control(ctx, *cfg)
			if err != nil {
				return err
			}
			out, err := do(admin, ctx, in)
			if cerr := closeAdmin(); err == nil {
				err = cerr
			}
			if err != nil {
				return nameFlag(fs, err)
			}
			if *asJSON {
				enc := json.NewEncoder(stdout)
				enc.SetEscapeHTML(false) // a snippet is copied by eye
				return enc.Encode(out)
			}
			show(stdout, out)
			return nil
		},
	}
}

// nameFlag makes an error about an input name the flag that it came from.
func nameFlag(fs *flag.FlagSet, err error) error {
	f := fault.Of(err)
	if f.Field == "origins" && fs.Lookup("origin") != nil {
		f.Field = "origin"
	}
	if fs.Lookup(f.Field) != nil {
		f.Field = "--" + f.Field
	}
	return err
}

func noWords(args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Sprintf("unexpected %q", args[0]))
	}
	return nil
}

func orgCreate(stdout, stderr io.Writer) *ffcli.Command {
	return adminCommand("org create", "parley org create NAME [flags]", "Make an organisation", stdout, stderr,
		func(*flag.FlagSet) func([]string) (app.OrgInput, error) {
			return func(args []string) (app.OrgInput, error) {
				if len(args) == 0 {
					return app.OrgInput{}, usageError("give the organisation's name: parley org create NAME")
				}
				return app.OrgInput{Name: strings.Join(args, " ")}, nil
			}
		}, app.Admin.CreateOrg, func(w io.Writer, o app.OrgOutput) { fmt.Fprintln(w, "organisation", o.ID) })
}

func projectCreate(stdout, stderr io.Writer) *ffcli.Command {
	return adminCommand("project create", "parley project create --org ID --name N [flags]", "Make a project with an API key", stdout, stderr,
		func(fs *flag.FlagSet) func([]string) (app.ProjectInput, error) {
			in := app.ProjectInput{}
			fs.StringVar(&in.Org, "org", "", "organisation's `id`")
			fs.StringVar(&in.Name, "name", "", "project's `name`")
			return func(args []string) (app.ProjectInput, error) {
				if in.Org == "" || in.Name == "" {
					return in, usageError("project create needs --org and --name")
				}
				return in, noWords(args)
			}
		}, app.Admin.CreateProject, func(w io.Writer, o app.ProjectOutput) {
			fmt.Fprintf(w, "API key    %d\nAPI secret %s\n\nThe secret is not shown again.\n", o.APIKey, o.APISecret)
		})
}

func memberCreate(stdout, stderr io.Writer) *ffcli.Command {
	return adminCommand("member create", "parley member create --org ID --email E --role R [flags]", "Add a member and print the link for their password", stdout, stderr,
		func(fs *flag.FlagSet) func([]string) (app.MemberInput, error) {
			in := app.MemberInput{}
			fs.StringVar(&in.Org, "org", "", "organisation's `id`")
			fs.StringVar(&in.Email, "email", "", "e-mail `address`")
			fs.StringVar(&in.Role, "role", "agent", "owner, admin or agent")
			return func(args []string) (app.MemberInput, error) {
				if in.Org == "" || in.Email == "" {
					return in, usageError("member create needs --org and --email")
				}
				return in, noWords(args)
			}
		}, app.Admin.CreateMember, func(w io.Writer, o app.MemberOutput) {
			fmt.Fprintf(w, "member %s\n\nGive them this link; it works once and for 7 days:\n%s\n", o.ID, o.SetupURL)
		})
}

func siteCreate(stdout, stderr io.Writer) *ffcli.Command {
	return adminCommand("site create", "parley site create --project KEY --origin URL [flags]", "Add a website and print its snippet", stdout, stderr,
		func(fs *flag.FlagSet) func([]string) (app.SiteInput, error) {
			in := app.SiteInput{}
			fs.Int64Var(&in.Project, "project", 0, "project's API `key`")
			fs.StringVar(&in.Origin, "origin", "", "`origin` whose pages show the widget, such as https://shop.example; several separated by commas")
			fs.StringVar(&in.Name, "name", "", "site's `name`; the first origin's host if empty")
			return func(args []string) (app.SiteInput, error) {
				if in.Project == 0 || in.Origin == "" {
					return in, usageError("site create needs --project and --origin")
				}
				return in, noWords(args)
			}
		}, app.Admin.CreateSite, func(w io.Writer, o app.SiteOutput) {
			fmt.Fprintf(w, "site %s\n\nPaste this before </body> on every page:\n%s\n", o.ID, o.Snippet)
		})
}
