package app

import (
	"context"

	"parley/chat"
	"parley/internal/actor"
	"parley/video"
)

// conversations are the chat, as calls want it.
type conversations struct{ chat *chat.Service }

// Party returns who the actor in ctx is in a conversation.
func (c conversations) Party(ctx context.Context, conversation string) (video.Party, error) {
	p, err := c.chat.Party(ctx, conversation)
	return video.Party{Org: p.Org, Conversation: p.Conversation, Person: p.Person, Side: video.Side(p.Kind), Member: p.Member}, err
}

// Publish sends an event of a call where the chat's own go.
func (c conversations) Publish(e video.Event) {
	c.chat.Publish(chat.Announcement{Org: e.Org, Type: e.Type, Conversation: e.Conversation, Person: e.Person, Agents: e.Agents, Data: e.Data})
}

// presence tells account who has a console open: a member's own channel has somebody in it.
type presence struct{ hub hubPresence }

type hubPresence interface {
	Presence(ctx context.Context, channels []string) (map[string][]string, error)
}

// Online returns which of the members have a socket open on any node.
func (p presence) Online(ctx context.Context, members []string) (map[string]bool, error) {
	channels := make([]string, 0, len(members))
	for _, m := range members {
		channels = append(channels, "member:"+m)
	}
	found, err := p.hub.Presence(ctx, channels)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(members))
	for _, m := range members {
		for _, who := range found["member:"+m] {
			out[m] = out[m] || who == string(actor.Member)+":"+m
		}
	}
	return out, nil
}
