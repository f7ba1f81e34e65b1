package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/app"
)

// stage is an organisation with a site and invited agents: what has to be there before anybody comes.
type stage struct {
	Org         string   `json:"org"`
	Site        string   `json:"site"`
	Stored      *Stored  `json:"stored,omitempty"`
	Invitations []string `json:"-"` // one-time tokens, one for each agent
}

// stageFile remembers the stage in a data directory that is kept.
const stageFile = "bench.json"

func (s *stage) read(data string) error {
	text, err := os.ReadFile(filepath.Join(data, stageFile))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, s)
}

func (s *stage) write(data string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, stageFile), text, 0o600)
}

// build makes a stage the way an operator would.
func build(ctx context.Context, admin app.Admin, agents int) (*stage, error) {
	org, err := admin.CreateOrg(ctx, app.OrgInput{Name: "Bench"})
	if err != nil {
		return nil, err
	}
	project, err := admin.CreateProject(ctx, app.ProjectInput{Org: org.ID, Name: "Bench"})
	if err != nil {
		return nil, err
	}
	site, err := admin.CreateSite(ctx, app.SiteInput{Project: project.APIKey, Origin: "https://bench.example", Name: "Bench"})
	if err != nil {
		return nil, err
	}
	st := &stage{Org: org.ID, Site: site.ID}
	return st, st.invite(ctx, admin, agents)
}

// invite adds agents. Their addresses are new each time: a stage that is kept has those of earlier runs.
func (s *stage) invite(ctx context.Context, admin app.Admin, agents int) error {
	run := strings.ToLower(rand.Text()[:8])
	for i := range agents {
		m, err := admin.CreateMember(ctx, app.MemberInput{Org: s.Org, Email: fmt.Sprintf("agent%d.%s@bench.example", i+1, run), Role: "agent"})
		if err != nil {
			return err
		}
		s.Invitations = append(s.Invitations, m.SetupURL[strings.LastIndexByte(m.SetupURL, '/')+1:])
	}
	return nil
}

// conversationLength is how many messages the stored conversations hold.
const conversationLength = 100

// prepare makes the stage in the data directory and stores the messages that lists are measured over, or finds them there.
func (b *run) prepare(ctx context.Context, data string) (st *stage, err error) {
	a, err := app.Open(ctx, app.Config{Data: data, Listen: "127.0.0.1:8080", Database: b.opt.Database, Redis: b.opt.Redis, LogLevel: "warn"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	st = &stage{}
	if err := st.read(data); err == nil {
		b.report.Stored = st.Stored
		return st, st.invite(ctx, a, b.opt.Agents)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if st, err = build(ctx, a, b.opt.Agents); err != nil {
		return nil, err
	}
	if b.opt.Messages > 0 {
		if st.Stored, err = b.store(ctx, a, st.Site, data); err != nil {
			return nil, err
		}
		b.report.Stored = st.Stored
	}
	return st, st.write(data)
}

func (b *run) store(ctx context.Context, a *app.App, site, data string) (*Stored, error) {
	began, said := time.Now(), time.Now()
	s := &Stored{Messages: b.opt.Messages, Conversations: max(1, b.opt.Messages/conversationLength)}
	err := a.Fill(ctx, app.FillInput{Site: site, Conversations: s.Conversations, Messages: s.Messages, Text: text, Progress: func(done int) {
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			b.say("stored %d of %d messages", done, s.Messages)
		}
	}})
	if err != nil {
		return nil, err
	}
	s.Seconds = time.Since(began).Seconds()
	s.PerSecond = float64(s.Messages) / s.Seconds
	if info, err := os.Stat(filepath.Join(data, "parley.db")); err == nil {
		s.DatabaseBytes = info.Size()
	}
	b.say("stored %d messages in %.0f s, %.0f a second", s.Messages, s.Seconds, s.PerSecond)
	return s, nil
}

// text is what the n-th message says: between a word and a paragraph, 120 bytes on average.
func text(n int) string {
	const says = "Good morning, I ordered the blue kettle on Tuesday and the parcel service says that it was delivered, but nobody here has seen it. " +
		"Could you have a look where it went, please? My number is on the invoice. Thank you very much for your help, that is kind of you."
	length := 1 + (n*2654435761>>7)%(len(says)-1)
	if length < 0 {
		length = -length
	}
	return says[:min(length, len(says))]
}
