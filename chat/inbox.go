package chat

import (
	"context"
	"sync"
	"time"

	"parley/internal/db"
)

const (
	inboxTick = 250 * time.Millisecond // at most four inbox events a second for an organisation
	inboxIDs  = 50                     // conversations named in one event
)

// inboxFeed tells the members of an organisation which conversations changed, gathered over a tick: at a thousand messages a
// second an inbox wants four redraws, not a thousand.
type inboxFeed struct {
	svc   *Service
	mu    sync.Mutex
	dirty map[string]map[string]struct{} // organisation → conversations
}

func newInboxFeed(s *Service) *inboxFeed {
	return &inboxFeed{svc: s, dirty: map[string]map[string]struct{}{}}
}

// touch notes that a conversation changed; "" means that the list as a whole did.
func (f *inboxFeed) touch(org, conversation string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.dirty[org]
	if set == nil {
		set = map[string]struct{}{}
		f.dirty[org] = set
	}
	if len(set) <= inboxIDs {
		set[conversation] = struct{}{}
	}
}

func (f *inboxFeed) start(ctx context.Context) {
	go func() {
		tick := time.NewTicker(inboxTick)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f.flush(ctx)
			}
		}
	}()
}

type inboxData struct {
	Conversations []string    `json:"conversations"`
	More          bool        `json:"more"`
	Counts        inboxCounts `json:"counts"`
}

type inboxCounts struct {
	Open       int64 `json:"open"`
	Unassigned int64 `json:"unassigned"`
}

func (f *inboxFeed) flush(ctx context.Context) {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = map[string]map[string]struct{}{}
	f.mu.Unlock()
	for org, set := range dirty {
		data := inboxData{Conversations: []string{}, More: len(set) > inboxIDs}
		for id := range set {
			if id == "" {
				data.More = true
			} else if len(data.Conversations) < inboxIDs {
				data.Conversations = append(data.Conversations, id)
			}
		}
		err := f.svc.db.Read(ctx, "chat.inbox", func(tx *db.Tx) error {
			n, err := counts(tx, org, "")
			data.Counts = inboxCounts{Open: n.Open, Unassigned: n.Unassigned}
			return err
		})
		if err != nil {
			f.svc.log.Warn("chat: inbox not counted", "org", org, "err", err)
		}
		f.svc.fan.push(orgChannel(org), envelope{Type: eventInbox, Org: org, Data: data})
	}
}
