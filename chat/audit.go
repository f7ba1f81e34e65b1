package chat

import (
	"context"
	"sync"
	"time"

	"parley/catalog"
	"parley/internal/actor"
)

// auditEvery is how often the same member's reading of the same conversation is recorded: once a sitting, not once a message.
const auditEvery = 15 * time.Minute

const auditMemory = 8192 // reads remembered; beyond that the memory starts afresh and a read is recorded again

// readAudit remembers which reads were recorded lately.
type readAudit struct {
	mu   sync.Mutex
	last map[auditKey]time.Time
}

// auditKey is a read. The organisation is part of it: a member's inbox has no id, and they may work in several.
type auditKey struct{ org, member, object string }

func newReadAudit() *readAudit { return &readAudit{last: map[auditKey]time.Time{}} }

func (r *readAudit) due(key auditKey, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[key]; ok && now.Sub(at) < auditEvery {
		return false
	}
	if len(r.last) >= auditMemory {
		clear(r.last)
	}
	r.last[key] = now
	return true
}

func (r *readAudit) undo(key auditKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
}

// auditRead records that a member looked into a conversation, before its content is shown (promise B3). A read that
// cannot be recorded does not happen; account keeps a spill file so that a full disk is no such reason.
func (s *Service) auditRead(ctx context.Context, sc scope, conversation string) error {
	if sc.kind != ByAgent {
		return nil
	}
	return s.record(ctx, sc, "chat.conversation.read", conversation)
}

func (s *Service) record(ctx context.Context, sc scope, action, object string) error {
	key := auditKey{sc.org, sc.member, object}
	if !s.read.due(key, time.Now()) {
		return nil
	}
	err := s.account.Audit(actor.For(ctx, catalog.Support), action, object)
	if err != nil {
		s.read.undo(key)
	}
	return err
}

// auditInbox records that a member looked through the inbox, with its names and previews.
func (s *Service) auditInbox(ctx context.Context) error {
	sc, err := memberScope(ctx, "chat.auditInbox")
	if err != nil {
		return err
	}
	return s.record(ctx, sc, "chat.inbox.read", "")
}
