package chat

import (
	"context"

	"parley/internal/db"
)

// Party is who the actor is in a conversation, for the domains that work beside the chat: calls, later files and visits.
type Party struct {
	Org, Conversation string
	Person            string     // the conversation's visitor
	Kind              AuthorKind // the side that the actor is on
	Member            string     // the member who acts; empty for the visitor
}

// Party returns who the actor in ctx is in a conversation, or NotFound: it does not exist, or belongs to somebody else. That a
// member asked is recorded like any other look into it (promise B3).
func (s *Service) Party(ctx context.Context, conversation string) (Party, error) {
	const op = "chat.Party"
	sc, err := scopeOf(ctx, op)
	if err != nil {
		return Party{}, err
	}
	c, err := s.find(ctx, sc, conversation, op)
	if err != nil {
		return Party{}, err
	}
	if err := s.auditRead(ctx, sc, conversation); err != nil {
		return Party{}, err
	}
	return Party{Org: c.Org, Conversation: c.ID, Person: c.Person, Kind: sc.kind, Member: sc.member}, nil
}

// Announcement is an event of another domain on its way to the people of a conversation. Data holds ids and words of the program only:
// it travels as it is, through Redis too.
type Announcement struct {
	Org, Type    string
	Conversation string // everybody who is subscribed to it
	Person       string // and this visitor, on every page of theirs; "" for not
	Agents       bool   // and every member of the organisation
	Data         any
}

// Publish hands an announcement to the socket. It does not block, so that it may be called from an after-commit hook, and it may be
// lost: clients read rows when they come back.
func (s *Service) Publish(n Announcement) {
	e := envelope{ID: db.NewID(), Type: n.Type, Org: n.Org, Data: n.Data} // one id: who hears it twice can tell
	s.fan.push(convChannel(n.Conversation), e)
	if n.Person != "" {
		s.fan.push(visitorChannel(n.Person), e)
	}
	if n.Agents {
		s.fan.push(orgChannel(n.Org), e)
	}
}
