package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/account"
	"parley/catalog"
	"parley/chat"
	"parley/egress"
	"parley/internal/actor"
	"parley/internal/fault"
)

const controlSocket = "control.sock"

// Admin is what an operator does from the command line. A running server answers through a Unix socket in the data
// directory, which only its owner may open; without a server the command opens the data itself.
type Admin interface {
	CreateOrg(ctx context.Context, in OrgInput) (OrgOutput, error)
	CreateProject(ctx context.Context, in ProjectInput) (ProjectOutput, error)
	CreateMember(ctx context.Context, in MemberInput) (MemberOutput, error)
	CreateSite(ctx context.Context, in SiteInput) (SiteOutput, error)
}

// The inputs and outputs of the commands, in the JSON that --json prints.
type (
	// OrgInput describes an organisation to make.
	OrgInput struct {
		Name string `json:"name"`
	}
	// OrgOutput is the organisation that was made.
	OrgOutput struct {
		ID string `json:"id"`
	}
	// ProjectInput describes a project to make.
	ProjectInput struct {
		Org  string `json:"org"`
		Name string `json:"name"`
	}
	// ProjectOutput is what programs identify themselves with; the secret is shown this once.
	ProjectOutput struct {
		APIKey    int64  `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	// MemberInput describes a member to invite.
	MemberInput struct {
		Org   string `json:"org"`
		Email string `json:"email"`
		Role  string `json:"role"`
	}
	// MemberOutput is the invited member and the address under which they choose a password.
	MemberOutput struct {
		ID       string `json:"id"`
		SetupURL string `json:"setup_url"`
	}
	// SiteInput describes a site to make.
	SiteInput struct {
		Project int64  `json:"project"` // API key
		Origin  string `json:"origin"`  // one or more, separated by commas
		Name    string `json:"name"`
	}
	// SiteOutput is the site and what goes into its pages.
	SiteOutput struct {
		ID      string `json:"id"`
		Snippet string `json:"snippet"`
	}
)

// operator acts for whoever may open the data directory.
func operator(ctx context.Context, org string) context.Context {
	return actor.AsSystem(ctx, "operator", org, catalog.Operations)
}

// CreateOrg makes an organisation.
func (a *App) CreateOrg(ctx context.Context, in OrgInput) (OrgOutput, error) {
	org, err := a.account.CreateOrg(operator(ctx, ""), in.Name)
	return OrgOutput{ID: org.ID}, err
}

// CreateProject makes a project with its API key and secret. The secret is shown this once.
func (a *App) CreateProject(ctx context.Context, in ProjectInput) (ProjectOutput, error) {
	if err := a.orgExists(ctx, in.Org); err != nil {
		return ProjectOutput{}, err
	}
	p, err := a.account.CreateProject(operator(ctx, in.Org), in.Org, in.Name)
	return ProjectOutput{APIKey: p.APIKey, APISecret: p.Secret}, err
}

// CreateMember makes a member and the link by which they choose a password.
func (a *App) CreateMember(ctx context.Context, in MemberInput) (MemberOutput, error) {
	if err := a.orgExists(ctx, in.Org); err != nil {
		return MemberOutput{}, err
	}
	m, token, err := a.account.CreateMember(operator(ctx, in.Org), in.Org, in.Email, actor.Role(in.Role))
	if err != nil {
		return MemberOutput{}, err
	}
	return MemberOutput{ID: m.ID, SetupURL: account.InviteURL(a.cfg.publicURL(), token)}, nil
}

// CreateSite adds a site to a project.
func (a *App) CreateSite(ctx context.Context, in SiteInput) (SiteOutput, error) {
	p, err := a.account.Project(operator(ctx, ""), in.Project)
	if fault.Is(err, fault.NotFound) {
		err = fault.Bad("app.CreateSite", "project", "project_unknown", "There is no such API key.")
	}
	if err != nil {
		return SiteOutput{}, err
	}
	origins := strings.Split(in.Origin, ",")
	name := in.Name
	if name == "" {
		_, name, _ = strings.Cut(strings.TrimSpace(origins[0]), "://")
	}
	st, err := a.chat.CreateSite(operator(ctx, p.Org), chat.Site{Project: p.ID, Name: name, Origins: origins})
	return SiteOutput{ID: st.ID, Snippet: st.Snippet(a.cfg.publicURL())}, err
}

// orgExists says so in the operator's terms; the services below would miss the organisation's key first.
func (a *App) orgExists(ctx context.Context, org string) error {
	_, err := a.account.Organisation(operator(ctx, org), org)
	if fault.Is(err, fault.NotFound) {
		return fault.Bad("app.orgExists", "org", "organisation_unknown", "There is no such organisation.")
	}
	return err
}

// maxSocketPath is how long a Unix socket's path may be on Linux, in bytes.
const maxSocketPath = 107

// controlPath returns the path of the socket in the data directory. A path that is too long for a socket goes through the
// directory's descriptor, which must stay open while the path is in use: the Closer is it.
func controlPath(data string) (string, io.Closer, error) {
	path := filepath.Join(data, controlSocket)
	if len(path) <= maxSocketPath {
		return path, io.NopCloser(nil), nil
	}
	dir, err := os.Open(data)
	if err != nil {
		return "", nil, fault.New(fault.Unavailable, "app.control", "data_dir", fmt.Sprintf("The data directory cannot be read: %v", err))
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlSocket), dir, nil
}

// listenControl opens the socket, for this process's owner only.
func (a *App) listenControl() (net.Listener, error) {
	path, dir, err := controlPath(a.cfg.Data)
	if err != nil {
		return nil, err
	}
	a.closing(dir.Close)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a kill -9; the lock says that nobody else has it
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "app.control", err)
	}
	return l, os.Chmod(path, 0o600)
}

// serveControl answers commands on the socket until ctx ends.
func (a *App) serveControl(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("POST /org", answer(a.CreateOrg))
	mux.Handle("POST /project", answer(a.CreateProject))
	mux.Handle("POST /member", answer(a.CreateMember))
	mux.Handle("POST /site", answer(a.CreateSite))
	srv := &http.Server{Handler: mux, ErrorLog: libraryLog(a.log, "control"), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close() // the socket goes with the process
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// controlError is a fault on its way through the socket.
type controlError struct {
	Kind  fault.Kind `json:"kind"`
	Code  string     `json:"code"`
	Field string     `json:"field,omitempty"`
	Text  string     `json:"text"`
}

func answer[I, O any](do func(context.Context, I) (O, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in I
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			f := fault.Of(err)
			text := f.Text
			if text == "" {
				text = err.Error()
			}
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(controlError{f.Kind, f.Code, f.Field, text})
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

// remote is a running server, seen from a command.
type remote struct {
	path string
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// controlTimeout bounds one command to a running server.
const controlTimeout = 30 * time.Second

// Control returns the way to administer the data of cfg: through its running server, or by opening it.
func Control(ctx context.Context, cfg Config) (Admin, func() error, error) {
	if err := cfg.resolve(); err != nil {
		return nil, nil, err
	}
	if r, closeRemote, err := running(ctx, cfg.Data); r != nil || err != nil {
		return r, closeRemote, err
	}
	a, err := Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return a, a.Close, nil
}

func ask[O any](ctx context.Context, r *remote, path string, in any) (out O, err error) {
	const op = "app.control"
	gone := fault.New(fault.Unavailable, op, "server_gone", "The running server does not answer its control socket.")
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	conn, err := r.dial(ctx, "unix", r.path)
	if err != nil {
		return out, gone
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	if err := req.Write(conn); err != nil {
		return out, gone
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return out, gone
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var e controlError
		if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
			return out, fault.Wrap(fault.Internal, op, err)
		}
		return out, &fault.Error{Kind: e.Kind, Op: op, Code: e.Code, Field: e.Field, Text: e.Text}
	}
	return out, json.NewDecoder(res.Body).Decode(&out)
}

func (r *remote) CreateOrg(ctx context.Context, in OrgInput) (OrgOutput, error) {
	return ask[OrgOutput](ctx, r, "/org", in)
}

func (r *remote) CreateProject(ctx context.Context, in ProjectInput) (ProjectOutput, error) {
	return ask[ProjectOutput](ctx, r, "/project", in)
}

func (r *remote) CreateMember(ctx context.Context, in MemberInput) (MemberOutput, error) {
	return ask[MemberOutput](ctx, r, "/member", in)
}

func (r *remote) CreateSite(ctx context.Context, in SiteInput) (SiteOutput, error) {
	return ask[SiteOutput](ctx, r, "/site", in)
}

// running returns the server that has the data directory; a nil Admin when there is none.
func running(ctx context.Context, data string) (Admin, func() error, error) {
	path, dir, err := controlPath(data)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // opening the data will say what is wrong with the directory, or make it
	}
	gate := egress.New(egress.Options{Recipients: egress.Data.Recipients})
	r := &remote{path: path, dial: gate.Dialer("self")}
	if err := gate.Allow("self", "unix:"+path); err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	c, err := r.dial(ctx, "unix", path)
	if err != nil {
		return nil, nil, dir.Close()
	}
	return r, dir.Close, c.Close()
}
