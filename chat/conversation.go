package chat

import (
	"context"
	"encoding/json"
	"strconv"

	"parley/internal/actor"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (s *Service) find(ctx context.Context, sc scope, id, op string) (c Conversation, err error) {
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		var ok bool
		if c, ok, err = conversationByID(tx, sc, id); err == nil && !ok {
			err = unknown(op)
		}
		return err
	})
	return c, err
}

// Get returns one conversation with its newest message and what the caller has not read.
func (s *Service) Get(ctx context.Context, id string) (Conversation, error) {
	const op = "chat.Get"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return Conversation{}, err
	}
	if sc.kind == ByVisitor {
		list, err := s.mine(ctx, op, sc, id)
		if err == nil && len(list) == 0 {
			err = unknown(op)
		}
		if err != nil {
			return Conversation{}, err
		}
		return list[0], nil
	}
	list, err := s.List(ctx, Filter{IDs: []string{id}})
	if err == nil && len(list) == 0 {
		err = unknown(op)
	}
	if err != nil {
		return Conversation{}, err
	}
	return list[0], s.auditRead(ctx, sc, id)
}

// List returns conversations of the organisation, latest message first. Only members may ask.
func (s *Service) List(ctx context.Context, f Filter) (list []Conversation, err error) {
	const op = "chat.List"
	sc, err := memberScope(ctx, op)
	if err != nil {
		return nil, err
	}
	if f.Assignee == "me" {
		f.Assignee = sc.member
	}
	if f.Limit <= 0 {
		f.Limit = defaultPage
	}
	f.Limit = min(f.Limit, maxPage+1) // one more tells the caller whether there is a next page
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		list, err = listConversations(tx, sc.org, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, s.warm(ctx, list)
}

// warm loads the keys of a page of conversations with few queries instead of one each.
func (s *Service) warm(ctx context.Context, list []Conversation) error {
	keys := make([]vault.Key, 0, len(list))
	for _, c := range list {
		keys = append(keys, keyOf(c.Org, c.ID))
	}
	return s.vault.Warm(ctx, keys)
}

// Counts returns how many open conversations there are, for the member who asks.
func (s *Service) Counts(ctx context.Context) (n Counts, err error) {
	sc, err := memberScope(ctx, "chat.Counts")
	if err != nil {
		return n, err
	}
	err = s.db.Read(ctx, "chat.Counts", func(tx *db.Tx) error {
		n, err = counts(tx, sc.org, sc.member)
		return err
	})
	return n, err
}

// Mine returns the visitor's own conversations, newest first.
func (s *Service) Mine(ctx context.Context) (list []Conversation, err error) {
	const op = "chat.Mine"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return nil, err
	}
	if sc.kind != ByVisitor {
		return nil, fault.New(fault.Forbidden, op, "visitors_only", "Only a visitor has conversations of their own.")
	}
	return s.mine(ctx, op, sc, "")
}

// mine reads the visitor's conversations, or the one with the id.
func (s *Service) mine(ctx context.Context, op string, sc scope, id string) (list []Conversation, err error) {
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		list, err = conversationsOf(tx, sc, id, maxPage)
		return err
	})
	return list, err
}

func memberScope(ctx context.Context, op string) (scope, error) {
	sc, err := scopeOf(ctx, op)
	if err == nil && sc.kind != ByAgent {
		err = fault.New(fault.Forbidden, op, "members_only", "Only members of the organisation may do this.")
	}
	return sc, err
}

// Assign hands the conversation to a member, or to nobody ("").
func (s *Service) Assign(ctx context.Context, id, member string) error {
	const op = "chat.Assign"
	if _, err := memberScope(ctx, op); err != nil {
		return err
	}
	if member != "" {
		names, err := s.names(ctx, []string{member})
		if err != nil {
			return err
		}
		if _, ok := names[member]; !ok {
			return fault.Bad(op, "member", "member_unknown", "There is no such member in this organisation.")
		}
	}
	return s.change(ctx, op, id, func(tx *db.Tx, org string) (bool, error) {
		return assign(tx, org, id, member)
	})
}

// Close ends the conversation; a further message opens it again. Closing twice is not an error.
func (s *Service) Close(ctx context.Context, id string) error {
	return s.change(ctx, "chat.Close", id, func(tx *db.Tx, org string) (bool, error) { return setState(tx, org, id, Closed) })
}

// Reopen opens a closed conversation.
func (s *Service) Reopen(ctx context.Context, id string) error {
	return s.change(ctx, "chat.Reopen", id, func(tx *db.Tx, org string) (bool, error) { return setState(tx, org, id, Open) })
}

// change applies what a member does to a conversation and tells everyone when something changed.
func (s *Service) change(ctx context.Context, op, id string, apply func(tx *db.Tx, org string) (bool, error)) error {
	sc, err := memberScope(ctx, op)
	if err != nil {
		return err
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		changed, err := apply(tx, sc.org)
		if err != nil {
			return err
		}
		c, ok, err := conversationByID(tx, sc, id)
		if err != nil {
			return err
		}
		if !ok {
			return unknown(op)
		}
		if changed {
			tx.After(func() {
				s.fan.updated(c.Org, c.ID, c.State, c.Assignee)
				s.inbox.touch(c.Org, c.ID)
			})
		}
		return nil
	})
}

// personErased ends what an erased visitor still has open here, on every node.
func (s *Service) personErased(ctx context.Context, ev bus.Event) {
	var data struct {
		Person string `json:"person"`
	}
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		s.log.Error("chat: event not readable", "type", ev.Type)
		return
	}
	s.fan.drop(actor.Visitor, data.Person)
	s.inbox.touch(ev.Org, "")
}
