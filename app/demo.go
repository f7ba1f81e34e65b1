package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"parley/app/demo"
	"parley/chat"
	"parley/internal/actor"
	"parley/internal/fault"
)

// demoFile remembers what the demo made, so that a second run shows the same shop and the same sign-in.
const demoFile = "demo.json"

type demoState struct {
	Org      string `json:"org"`
	Site     string `json:"site"`
	Email    string `json:"email"`
	Password string `json:"password"`
}

// demo serves the shop on its own origin when it was asked for, and prints where to look.
func (s *server) demo(ctx context.Context, g *errgroup.Group, stdout io.Writer) error {
	if !s.cfg.Demo {
		return nil
	}
	if err := demoOnlyHere(s.cfg); err != nil {
		return err
	}
	l, err := listen(s.cfg.DemoListen, "--demo-listen")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.cfg.DemoListen)
	if err != nil {
		return err
	}
	origin := "http://" + net.JoinHostPort(host, port)
	state, err := s.seedDemo(ctx, origin)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	shop := &http.Server{Handler: demo.Handler(s.cfg.publicURL(), state.Site), ReadHeaderTimeout: headerWithin, ErrorLog: libraryLog(s.log, "demo")}
	g.Go(func() error { return served(shop.Serve(l)) })
	g.Go(func() error {
		<-ctx.Done()
		return shop.Close()
	})
	fmt.Fprintf(stdout, `
Parley is ready, with a demo shop.

  Shop      %s        write as a visitor
  Console   %s/app/   answer as an agent
            sign in as %s with the password %s
  API       %s/api

Press Ctrl-C to stop.
`, origin, s.cfg.publicURL(), state.Email, state.Password, s.cfg.publicURL())
	return nil
}

// demoOnlyHere keeps the demo's printed password on this machine.
func demoOnlyHere(cfg Config) error {
	for flag, addr := range map[string]string{"listen": cfg.Listen, "demo-listen": cfg.DemoListen} {
		if host, _, err := net.SplitHostPort(addr); err != nil || !loopback(host) {
			return bad(flag, "demo_public", "the demo prints a password, so it listens on this machine only, such as 127.0.0.1")
		}
	}
	return nil
}

func (s *server) seedDemo(ctx context.Context, origin string) (demoState, error) {
	path := filepath.Join(s.cfg.Data, demoFile)
	var st demoState
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &st); err != nil {
			return st, fault.New(fault.Unavailable, "app.demo", "demo_file", "demo.json in the data directory cannot be read. Remove it to start the demo afresh.")
		}
		return st, s.demoOrigin(ctx, st, origin)
	case !errors.Is(err, os.ErrNotExist):
		return st, err
	}
	return s.makeDemo(ctx, path, origin)
}

// demoOrigin lets the shop's origin of this run in, in case its port is another than last time.
func (s *server) demoOrigin(ctx context.Context, st demoState, origin string) error {
	site, err := s.chat.Site(ctx, st.Site)
	if err != nil {
		return err
	}
	if site.Allows(origin) {
		return nil
	}
	site.Origins = append(site.Origins, origin)
	_, err = s.chat.UpdateSite(operator(ctx, site.Org), site)
	return err
}

func (s *server) makeDemo(ctx context.Context, path, origin string) (demoState, error) {
	st := demoState{Email: "ada@northlight.example", Password: "harbour-" + rand.Text()[:10]}
	op := operator(ctx, "")
	org, err := s.account.CreateOrg(op, "Northlight Tea")
	if err != nil {
		return st, err
	}
	st.Org, op = org.ID, operator(ctx, org.ID)
	project, err := s.account.CreateProject(op, org.ID, "Website")
	if err != nil {
		return st, err
	}
	m, _, err := s.account.CreateMember(op, org.ID, st.Email, actor.Owner)
	if err != nil {
		return st, err
	}
	if err := errors.Join(s.account.SetName(op, m.ID, "Ada Lindqvist"), s.account.SetPassword(op, m.ID, st.Password)); err != nil {
		return st, err
	}
	site, err := s.chat.CreateSite(op, chat.Site{Project: project.ID, Name: "Northlight shop", Origins: []string{origin}, Accent: "#9c4a2f"})
	if err != nil {
		return st, err
	}
	st.Site = site.ID
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return st, err
	}
	return st, os.WriteFile(path, append(data, '\n'), 0o600)
}
