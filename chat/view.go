package chat

import (
	"context"
	"strings"
	"time"

	"parley/internal/actor"
	"parley/internal/fault"
	"parley/person"
	"parley/vault"
)

// MessageView is a message as the API shows it.
type MessageView struct {
	ID           string     `json:"id"`
	Conversation string     `json:"conversation"`
	Seq          int64      `json:"seq" doc:"Place in the conversation, from 1 without holes"`
	ClientID     string     `json:"client_id" doc:"What its sender named it; members are not shown that of a visitor's first message"`
	SentAt       time.Time  `json:"sent_at"`
	Author       AuthorView `json:"author"`
	Body         string     `json:"body"`
}

// AuthorView is who wrote a message.
type AuthorView struct {
	Kind AuthorKind `json:"kind" enum:"visitor,agent"`
	ID   string     `json:"id"`
	Name string     `json:"name,omitempty"`
}

// MemberRef names a member.
type MemberRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ConversationView is a conversation as members see it.
type ConversationView struct {
	ID             string       `json:"id"`
	Site           SiteRef      `json:"site"`
	Visitor        VisitorView  `json:"visitor"`
	State          State        `json:"state" enum:"open,closed"`
	Assignee       *MemberRef   `json:"assignee"`
	LastSeq        int64        `json:"last_seq"`
	LastMessage    *PreviewView `json:"last_message"`
	LastMessageAt  time.Time    `json:"last_message_at"`
	CreatedAt      time.Time    `json:"created_at"`
	ClosedAt       *time.Time   `json:"closed_at,omitempty"`
	Unread         int64        `json:"unread" doc:"Messages of the visitor that no agent has read; counting stops at 100"`
	VisitorReadSeq int64        `json:"visitor_read_seq"`
	AgentReadSeq   int64        `json:"agent_read_seq"`
	Page           *PageView    `json:"page"`
}

// SiteRef names a site.
type SiteRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// VisitorView is a visitor as members see them.
type VisitorView struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Online bool   `json:"online"`
}

// PreviewView is the beginning of the newest message.
type PreviewView struct {
	Seq        int64      `json:"seq"`
	AuthorKind AuthorKind `json:"author_kind" enum:"visitor,agent"`
	Preview    string     `json:"preview"`
}

// PageView is the page on which a conversation began.
type PageView struct {
	URL   string `json:"url"`
	Title string `json:"title"`
}

// WidgetConversationView is a conversation as its visitor sees it.
type WidgetConversationView struct {
	ID             string     `json:"id"`
	State          State      `json:"state" enum:"open,closed"`
	LastSeq        int64      `json:"last_seq"`
	CreatedAt      time.Time  `json:"created_at"`
	VisitorReadSeq int64      `json:"visitor_read_seq"`
	AgentReadSeq   int64      `json:"agent_read_seq"`
	Unread         int64      `json:"unread"`
	Assignee       *MemberRef `json:"assignee"`
}

// text opens a sealed value; what was erased reads as empty.
func (s *Service) text(ctx context.Context, v vault.Sealed) (string, error) {
	if v.Zero() {
		return "", nil
	}
	t, err := s.vault.Open(ctx, v)
	if fault.Is(err, fault.Gone) {
		return "", nil
	}
	return t.Text(), err
}

// MessageViews opens messages for the caller. person is the conversation's visitor.
func (s *Service) MessageViews(ctx context.Context, person string, list []Message) ([]MessageView, error) {
	ctx = forReading(ctx)
	var members []string
	for _, m := range list {
		if m.Author != "" {
			members = append(members, m.Author)
		}
	}
	names, err := s.names(ctx, members)
	if err != nil {
		return nil, err
	}
	out := make([]MessageView, 0, len(list))
	for _, m := range list {
		v := MessageView{ID: m.ID, Conversation: m.Conversation, Seq: m.Seq, ClientID: m.ClientID, SentAt: m.SentAt,
			Author: AuthorView{Kind: m.AuthorKind, ID: m.Author, Name: names[m.Author]}}
		if m.AuthorKind == ByVisitor {
			v.Author.ID = person
			if m.Seq == 1 && actor.From(ctx).Kind != actor.Visitor {
				v.ClientID = "" // it vouches for the visitor while the answer to it may be lost: see started
			}
		}
		if v.Body, err = s.text(ctx, m.Body); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// names looks up members' display names in the actor's organisation.
func (s *Service) names(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return s.account.DisplayNames(ctx, actor.From(ctx).Org, ids)
}

func memberRef(id string, names map[string]string) *MemberRef {
	if id == "" {
		return nil
	}
	return &MemberRef{ID: id, Name: names[id]}
}

// ConversationViews opens conversations for members: who the visitor is, what was said last, whether they are here.
func (s *Service) ConversationViews(ctx context.Context, list []Conversation) ([]ConversationView, error) {
	ctx = forReading(ctx)
	var members, persons, channels []string
	for _, c := range list {
		if c.Assignee != "" {
			members = append(members, c.Assignee)
		}
		persons = append(persons, c.Person)
		channels = append(channels, convChannel(c.ID))
	}
	names, err := s.names(ctx, members)
	if err != nil {
		return nil, err
	}
	people, err := s.openPersons(ctx, persons)
	if err != nil {
		return nil, err
	}
	online := s.fan.presence(ctx, channels)
	out := make([]ConversationView, 0, len(list))
	for _, c := range list {
		v, err := s.conversationView(ctx, c)
		if err != nil {
			return nil, err
		}
		v.Assignee = memberRef(c.Assignee, names)
		v.Visitor = people[c.Person]
		v.Visitor.ID, v.Visitor.Online = c.Person, online[convChannel(c.ID)][visitorChannel(c.Person)]
		out = append(out, v)
	}
	return out, nil
}

func (s *Service) conversationView(ctx context.Context, c Conversation) (v ConversationView, err error) {
	v = ConversationView{ID: c.ID, State: c.State, LastSeq: c.LastSeq, LastMessageAt: c.LastMessageAt, CreatedAt: c.CreatedAt,
		Unread: c.Unread, VisitorReadSeq: c.VisitorReadSeq, AgentReadSeq: c.AgentReadSeq, Site: SiteRef{ID: c.Site}}
	if st, err := s.Site(ctx, c.Site); err == nil {
		v.Site.Name = st.Name
	}
	if !c.ClosedAt.IsZero() {
		v.ClosedAt = &c.ClosedAt
	}
	if c.Last != nil {
		body, err := s.text(ctx, c.Last.Body)
		if err != nil {
			return v, err
		}
		v.LastMessage = &PreviewView{Seq: c.Last.Seq, AuthorKind: c.Last.AuthorKind, Preview: cut(strings.Join(strings.Fields(body), " "), previewRunes)}
	}
	if !c.PageURL.Zero() {
		v.Page = &PageView{}
		if v.Page.URL, err = s.text(ctx, c.PageURL); err != nil {
			return v, err
		}
		v.Page.Title, err = s.text(ctx, c.PageTitle)
	}
	return v, err
}

func (s *Service) openPersons(ctx context.Context, ids []string) (map[string]VisitorView, error) {
	org := actor.From(ctx).Org
	found, err := s.persons.Many(ctx, org, ids)
	if err != nil {
		return nil, err
	}
	var keys []vault.Key
	for id, p := range found {
		if !p.Name.Zero() || !p.Email.Zero() {
			keys = append(keys, person.Key(org, id))
		}
	}
	if err := s.vault.Warm(ctx, keys); err != nil {
		return nil, err
	}
	out := make(map[string]VisitorView, len(found))
	for id, p := range found {
		shown, err := s.persons.Open(ctx, p)
		if err != nil {
			return nil, err
		}
		out[id] = VisitorView{ID: id, Name: shown.Name.Text(), Email: shown.Email.Text()}
	}
	return out, nil
}

// WidgetViews shows conversations to their visitor.
func (s *Service) WidgetViews(ctx context.Context, list []Conversation) ([]WidgetConversationView, error) {
	ctx = forReading(ctx)
	var members []string
	for _, c := range list {
		if c.Assignee != "" {
			members = append(members, c.Assignee)
		}
	}
	names, err := s.names(ctx, members)
	if err != nil {
		return nil, err
	}
	out := make([]WidgetConversationView, 0, len(list))
	for _, c := range list {
		out = append(out, WidgetConversationView{ID: c.ID, State: c.State, LastSeq: c.LastSeq, CreatedAt: c.CreatedAt, Unread: c.Unread,
			VisitorReadSeq: c.VisitorReadSeq, AgentReadSeq: c.AgentReadSeq, Assignee: memberRef(c.Assignee, names)})
	}
	return out, nil
}
