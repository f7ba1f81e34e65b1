package video

import (
	"context"
	"time"

	"parley/internal/actor"
)

// SessionView is a call as both sides see it.
type SessionView struct {
	ID           string            `json:"id"`
	Conversation string            `json:"conversation"`
	State        State             `json:"state" enum:"ringing,live,ended"`
	Media        Medium            `json:"media" enum:"video,audio" doc:"What it begins with"`
	StartedBy    Side              `json:"started_by" enum:"visitor,agent"`
	Agent        *AgentRef         `json:"agent,omitempty" doc:"The member who calls or has answered"`
	CreatedAt    time.Time         `json:"created_at"`
	RingUntil    time.Time         `json:"ring_until" doc:"Unanswered until then, it is missed"`
	AnsweredAt   *time.Time        `json:"answered_at,omitempty"`
	EndedAt      *time.Time        `json:"ended_at,omitempty"`
	EndReason    Reason            `json:"end_reason,omitempty" enum:"hung_up,declined,missed,cancelled,forced,failed,shutdown"`
	Participants []ParticipantView `json:"participants" nullable:"false" doc:"Entries, in their order: who comes again has a further one"`
}

// AgentRef names a member.
type AgentRef struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// ParticipantView is one entry into a call. The visitor's name is the conversation's to tell.
type ParticipantView struct {
	ID       string     `json:"id" doc:"The identity in the room: random, made for this entry"`
	Kind     Side       `json:"kind" enum:"visitor,agent"`
	Member   string     `json:"member,omitempty"`
	Name     string     `json:"name,omitempty"`
	JoinedAt *time.Time `json:"joined_at,omitempty" doc:"Absent: on the way in"`
	LeftAt   *time.Time `json:"left_at,omitempty"`
}

// SessionViews shows calls, with the names of the members in them.
func (s *Service) SessionViews(ctx context.Context, list []Session) ([]SessionView, error) {
	members := map[string]bool{}
	for _, c := range list {
		members[c.Starter], members[c.Answerer] = true, true
		for _, p := range c.Participants {
			members[p.Member] = true
		}
	}
	delete(members, "")
	ids := make([]string, 0, len(members))
	for id := range members {
		ids = append(ids, id)
	}
	var names map[string]string
	if len(ids) > 0 {
		var err error
		if names, err = s.opt.Account.DisplayNames(ctx, actor.From(ctx).Org, ids); err != nil {
			return nil, err
		}
	}
	out := make([]SessionView, 0, len(list))
	for _, c := range list {
		out = append(out, viewOf(c, names))
	}
	return out, nil
}

func viewOf(c Session, names map[string]string) SessionView {
	v := SessionView{ID: c.ID, Conversation: c.Conversation, State: c.State, Media: c.Medium, StartedBy: c.StartedBy, CreatedAt: c.CreatedAt,
		RingUntil: c.RingUntil, AnsweredAt: maybe(c.AnsweredAt), EndedAt: maybe(c.EndedAt), EndReason: c.EndReason,
		Participants: make([]ParticipantView, 0, len(c.Participants))}
	if agent := c.Starter + c.Answerer; agent != "" { // one of them is the visitor, or nobody
		v.Agent = &AgentRef{ID: agent, Name: names[agent]}
	}
	for _, p := range c.Participants {
		v.Participants = append(v.Participants, ParticipantView{ID: p.Identity, Kind: p.Kind, Member: p.Member, Name: names[p.Member],
			JoinedAt: maybe(p.JoinedAt), LeftAt: maybe(p.LeftAt)})
	}
	return v
}

// maybe returns nil for what has not happened.
func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// view shows one call.
func (s *Service) view(ctx context.Context, c Session) (SessionView, error) {
	views, err := s.SessionViews(ctx, []Session{c})
	if err != nil {
		return SessionView{}, err
	}
	return views[0], nil
}
