package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parley/app"
)

// process is a server of the real program, in a process of its own.
type process struct {
	url   string
	cmd   *exec.Cmd
	log   *safeBuffer
	ended chan struct{}
	err   error // of the end, once ended is closed
}

// within bounds every wait of these tests.
const within = time.Minute

var readyLine = regexp.MustCompile(`http://[0-9.:]+`)

// start runs the program with the arguments and waits for the address that it prints.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, nil, nil, args...)
}

// startWith hands on files, and has the program run by another one.
func startWith(t *testing.T, files []*os.File, wrap []string, args ...string) *process {
	t.Helper()
	line := append(append([]string{}, wrap...), append([]string{parley}, args...)...)
	p := &process{cmd: exec.Command(line[0], line[1:]...), log: &safeBuffer{}, ended: make(chan struct{})}
	p.cmd.Stderr, p.cmd.ExtraFiles = p.log, files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as a service: a group of its own, and no terminal
	stdin, err := p.cmd.StdinPipe()                        // "bench serve" ends with it
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer stdin.Close()
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url := readyLine.FindString(lines.Text()); url != "" {
				select {
				case ready <- url:
				default:
				}
			}
		}
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log)
		}
	})
	select {
	case p.url = <-ready:
	case <-p.ended:
		t.Fatalf("the server did not start: %v\n%s", p.err, p.log)
	case <-time.After(within):
		t.Fatal("the server was not ready in time")
	}
	return p
}

// serve runs "parley serve" with limits that a load needs.
func serve(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--log-level", "warn",
		"--limit-starts", "1000000", "--limit-connects", "100000", "--limit-commands", "100000"}, args...)...)
}

// kill ends the process, and what wraps it, without a warning.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already, perhaps
	<-p.ended
}

// stop asks the process to stop and returns how it ended.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Fatal("the server did not stop in time")
	}
	return p.err
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// people are who writes in these tests: they outlive the server that they talk to.
type people struct {
	client *http.Client
	site   string
	cookie string // of an agent
	talks  []*talk
}

// talk is a visitor's conversation.
type talk struct {
	id, token string
}

// settle makes an organisation on the running server, with an agent who is signed in and visitors who have begun a conversation each.
func settle(t *testing.T, url, data string, visitors int) *people {
	t.Helper()
	ctx := t.Context()
	admin, done, err := app.Control(ctx, app.Config{Data: data})
	check(t, err)
	defer func() { check(t, done()) }()
	org, err := admin.CreateOrg(ctx, app.OrgInput{Name: "Harbour"})
	check(t, err)
	project, err := admin.CreateProject(ctx, app.ProjectInput{Org: org.ID, Name: "web"})
	check(t, err)
	site, err := admin.CreateSite(ctx, app.SiteInput{Project: project.APIKey, Origin: "https://harbour.example", Name: "Harbour"})
	check(t, err)
	member, err := admin.CreateMember(ctx, app.MemberInput{Org: org.ID, Email: "ada@harbour.example", Role: "agent"})
	check(t, err)
	p := &people{client: &http.Client{Timeout: within, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, site: site.ID}
	t.Cleanup(p.client.CloseIdleConnections)
	res, err := p.do(ctx, url, "POST", "/invitations/"+member.SetupURL[strings.LastIndex(member.SetupURL, "/")+1:], who{},
		map[string]string{"name": "Ada", "password": "lantern-gravel-otter-47"}, nil)
	check(t, err)
	for _, c := range res.Cookies() {
		p.cookie = c.Name + "=" + c.Value
	}
	for i := range visitors {
		var begun struct {
			Token        string `json:"token"`
			Conversation struct {
				ID string `json:"id"`
			} `json:"conversation"`
		}
		_, err := p.do(ctx, url, "POST", "/widget/sites/"+p.site+"/conversations", who{}, map[string]string{"client_id": fmt.Sprintf("begin-%d", i), "body": "Hello"}, &begun)
		check(t, err)
		p.talks = append(p.talks, &talk{id: begun.Conversation.ID, token: begun.Token})
	}
	return p
}

// who calls: an agent by the cookie, a visitor by the token, nobody.
type who struct{ cookie, token string }

// refusal is an answer that is no success.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.body) }

// do calls the API. It may be called from any goroutine.
func (p *people) do(ctx context.Context, url, method, path string, as who, in, out any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url+"/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if as.cookie != "" {
		req.Header.Set("Cookie", as.cookie)
	}
	if as.token != "" {
		req.Header.Set("Authorization", "Bearer "+as.token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return res, &refusal{res.StatusCode, string(data)}
	}
	if out != nil {
		err = json.Unmarshal(data, out)
	}
	return res, err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
