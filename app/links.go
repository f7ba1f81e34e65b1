package app

import (
	"context"

	"parley/internal/actor"
)

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
