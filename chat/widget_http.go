package chat

import (
	"context"
	"net/http"
	"strings"
	"time"

	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/fault"
	"parley/person"
)

const tagWidget = "Widget"

// bodyLimit is room for the longest message in JSON with every byte escaped, and its company.
const bodyLimit = 64 << 10

func (s *Service) widgetRoutes() []api.Route {
	visitor := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: "/widget" + path, Access: api.Visitor, Name: name, Summary: summary, Tag: tagWidget, MaxBody: bodyLimit}
	}
	begin := visitor("POST", "/sites/{id}/conversations", "begin-conversation", "Send the first message of a conversation")
	begin.Access, begin.Status = api.AnyVisitor, http.StatusCreated
	config := visitor("GET", "/sites/{id}", "get-widget", "What the loader needs to know of a site")
	config.Access = api.Public
	send := visitor("POST", "/conversations/{id}/messages", "send-visitor-message", "Send a message")
	send.Status = http.StatusCreated
	return []api.Route{
		api.Op(config, s.httpWidget),
		api.Op(begin, s.httpBegin),
		api.Op(visitor("GET", "/conversations", "list-own-conversations", "The visitor's own conversations, newest first"), s.httpMine),
		api.Op(visitor("GET", "/conversations/{id}", "get-own-conversation", "One of them"), s.httpOwn),
		api.Op(visitor("GET", "/conversations/{id}/messages", "list-own-messages", "Messages in ascending order"), s.httpMessages),
		api.Op(send, s.httpSend),
		api.Op(visitor("POST", "/conversations/{id}/read", "mark-own-read", "Move the visitor's read mark forward"), s.httpRead),
		api.Op(visitor("PATCH", "/visitor", "update-visitor", "Say who you are, or take it back"), s.httpProfile),
		api.Op(visitor("DELETE", "/session", "forget-visitor", "Revoke this browser's token"), s.httpForget),
	}
}

type widgetInput struct {
	ID     string `path:"id" maxLength:"64"`
	Origin string `header:"Origin" maxLength:"300"`
}

type widgetOutput struct {
	AllowOrigin string `header:"Access-Control-Allow-Origin"`
	Vary        string `header:"Vary"`
	Cache       string `header:"Cache-Control"`
	Body        struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Accent string `json:"accent,omitempty"`
		Online bool   `json:"online" doc:"Somebody is in the inbox now"`
		Calls  bool   `json:"calls" doc:"Calls can be held on this server"`
	}
}

// httpWidget answers the loader. A browser sends the page's origin along; without one (a program) there is nothing to protect.
func (s *Service) httpWidget(ctx context.Context, in *widgetInput) (*widgetOutput, error) {
	st, err := s.Site(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Origin != "" && !st.Allows(in.Origin) && in.Origin != api.PublicURLOf(ctx) {
		return nil, fault.New(fault.Forbidden, "chat.widget", "origin_not_allowed",
			"This page's origin is not among the site's origins. Add it in the console under Sites.")
	}
	out := &widgetOutput{AllowOrigin: in.Origin, Vary: "Origin", Cache: "no-store"}
	out.Body.ID, out.Body.Name, out.Body.Accent = st.ID, st.Name, st.Accent
	out.Body.Calls = s.calls != nil && s.calls()
	for who := range s.fan.presence(ctx, []string{orgChannel(st.Org)})[orgChannel(st.Org)] {
		out.Body.Online = out.Body.Online || strings.HasPrefix(who, "member:")
	}
	return out, nil
}

type beginInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		ClientID string `json:"client_id"`
		Body     string `json:"body"`
		Locale   string `json:"locale,omitempty" maxLength:"35"`
		Page     *struct {
			URL   string `json:"url,omitempty"`
			Title string `json:"title,omitempty"`
		} `json:"page,omitempty" doc:"Where the conversation begins; the address is kept without query and fragment"`
		Visitor *profileBody `json:"visitor,omitempty"`
	}
}

type profileBody struct {
	Name  *string `json:"name,omitempty"`
	Email *string `json:"email,omitempty"`
}

type ownView struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

type beginOutput struct {
	Status int
	Body   struct {
		Token        string                 `json:"token,omitempty" doc:"For a new visitor: the bearer token"`
		ExpiresAt    *time.Time             `json:"expires_at,omitempty"`
		Visitor      ownView                `json:"visitor"`
		Conversation WidgetConversationView `json:"conversation"`
		Message      MessageView            `json:"message"`
	}
}

func (s *Service) httpBegin(ctx context.Context, in *beginInput) (*beginOutput, error) {
	if err := s.mayStart(api.ClientAddrOf(ctx)); err != nil {
		return nil, err
	}
	st := Start{Site: in.ID, ClientID: in.Body.ClientID, Body: in.Body.Body, Locale: in.Body.Locale}
	if in.Body.Page != nil {
		st.PageURL, st.PageTitle = in.Body.Page.URL, in.Body.Page.Title
	}
	if in.Body.Visitor != nil {
		st.Profile = person.Profile(*in.Body.Visitor)
	}
	got, err := s.Begin(ctx, st)
	if err != nil {
		return nil, err
	}
	ctx = actor.With(ctx, actor.Actor{Kind: actor.Visitor, Org: got.Conversation.Org, ID: got.Person})
	out := &beginOutput{Status: http.StatusCreated}
	if got.Repeated {
		out.Status = http.StatusOK
	}
	if got.Token != "" {
		out.Body.Token, out.Body.ExpiresAt = got.Token, &got.ExpiresAt
	}
	if out.Body.Visitor, err = s.own(ctx); err != nil {
		return nil, err
	}
	views, err := s.WidgetViews(ctx, []Conversation{got.Conversation})
	if err != nil {
		return nil, err
	}
	messages, err := s.MessageViews(ctx, got.Person, []Message{got.Message})
	if err != nil {
		return nil, err
	}
	out.Body.Conversation, out.Body.Message = views[0], messages[0]
	return out, nil
}

// own opens what the visitor told about themselves.
func (s *Service) own(ctx context.Context) (ownView, error) {
	a := actor.From(ctx)
	p, err := s.persons.Get(ctx, a.Org, a.ID)
	if err != nil {
		return ownView{}, err
	}
	shown, err := s.persons.Open(forReading(ctx), p)
	return ownView{ID: p.ID, Name: shown.Name.Text(), Email: shown.Email.Text()}, err
}

type mineOutput struct {
	Body struct {
		api.List[WidgetConversationView]
		Visitor ownView `json:"visitor"`
	}
}

func (s *Service) httpMine(ctx context.Context, _ *none) (*mineOutput, error) {
	list, err := s.Mine(ctx)
	if err != nil {
		return nil, err
	}
	out := &mineOutput{}
	if out.Body.Items, err = s.WidgetViews(ctx, list); err != nil {
		return nil, err
	}
	out.Body.Visitor, err = s.own(ctx)
	return out, err
}

type ownOutput struct{ Body WidgetConversationView }

func (s *Service) httpOwn(ctx context.Context, in *idInput) (*ownOutput, error) {
	c, err := s.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	views, err := s.WidgetViews(ctx, []Conversation{c})
	if err != nil {
		return nil, err
	}
	return &ownOutput{views[0]}, nil
}

type profileInput struct{ Body profileBody }

type profileOutput struct{ Body ownView }

func (s *Service) httpProfile(ctx context.Context, in *profileInput) (*profileOutput, error) {
	if err := s.mayWrite(ctx); err != nil {
		return nil, err
	}
	a := actor.From(ctx)
	if _, err := s.persons.Update(ctx, a.Org, a.ID, person.Profile(in.Body)); err != nil {
		return nil, err
	}
	s.inbox.touch(a.Org, "")
	view, err := s.own(ctx)
	return &profileOutput{view}, err
}

func (s *Service) httpForget(ctx context.Context, _ *none) (*none, error) {
	return nil, s.Forget(ctx)
}

// Bearer authenticates a visitor by the Authorization header.
func (s *Service) Bearer(r *http.Request) (actor.Actor, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "chat.Bearer", "token_missing", "Send the visitor's token as Authorization: Bearer.")
	}
	return s.BearerVisitor(r.Context(), strings.TrimSpace(token))
}
