package chat

import (
	"context"
	"net/http"
	"strings"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/fault"
)

const (
	tagInbox = "Conversations"
	tagSites = "Sites"
)

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type pageInput struct {
	ID     string `path:"id" maxLength:"64"`
	Before int64  `query:"before" minimum:"0" doc:"Messages before this seq"`
	After  int64  `query:"after" minimum:"0" doc:"Messages after this seq"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
}

type messagesOutput struct {
	Body struct {
		Items []MessageView `json:"items" nullable:"false"`
		More  bool          `json:"more" doc:"There are further ones in the direction asked for"`
	}
}

type sendInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		ClientID string `json:"client_id" doc:"1-64 characters of [A-Za-z0-9._-]; the same one again stores nothing new"`
		Body     string `json:"body" doc:"Text, at most 8,192 bytes of UTF-8"`
	}
}

type messageOutput struct {
	Status int
	Body   MessageView
}

type readInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Seq int64 `json:"seq"`
	}
}

type conversationOutput struct{ Body ConversationView }

type none struct{}

// Routes is the chat's part of the API: what members do here, what visitors do in widget_http.go.
func (s *Service) Routes() []api.Route {
	return append(s.memberRoutes(), s.widgetRoutes()...)
}

func (s *Service) memberRoutes() []api.Route {
	member := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: path, Access: api.Member, Purpose: catalog.Support, Name: name, Summary: summary, Tag: tagInbox}
	}
	manager := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: path, Access: api.Manager, Name: name, Summary: summary, Tag: tagSites}
	}
	listSites := manager("GET", "/sites", "list-sites", "Sites and their snippets")
	listSites.Access = api.Member
	createSite := manager("POST", "/sites", "create-site", "Add a site")
	createSite.Status, createSite.Once = http.StatusCreated, true
	send := member("POST", "/conversations/{id}/messages", "send-message", "Send a message")
	send.Status = http.StatusCreated
	return []api.Route{
		api.Op(member("GET", "/conversations", "list-conversations", "The inbox, latest message first"), s.httpList),
		api.Op(member("GET", "/conversations/{id}", "get-conversation", "One conversation"), s.httpGet),
		api.Op(member("GET", "/conversations/{id}/messages", "list-messages", "Messages in ascending order"), s.httpMessages),
		api.Op(send, s.httpSend),
		api.Op(member("POST", "/conversations/{id}/read", "mark-read", "Move the agents' read mark forward"), s.httpRead),
		api.Op(member("POST", "/conversations/{id}/assign", "assign-conversation", "Hand it to a member, or to nobody"), s.httpAssign),
		api.Op(member("POST", "/conversations/{id}/close", "close-conversation", "Close it; a further message opens it again"), s.httpChange(s.Close)),
		api.Op(member("POST", "/conversations/{id}/reopen", "reopen-conversation", "Open it again"), s.httpChange(s.Reopen)),
		api.Op(listSites, s.httpSites),
		api.Op(createSite, s.httpCreateSite),
		api.Op(manager("PATCH", "/sites/{id}", "update-site", "Change name, accent and origins"), s.httpUpdateSite),
	}
}

type listInput struct {
	api.Page
	State    State  `query:"state" enum:"open,closed"`
	Assignee string `query:"assignee" doc:"me, none, any, or a member's id" maxLength:"64"`
	IDs      string `query:"ids" doc:"Those of them that exist, separated by commas, at most 100" maxLength:"3700"`
}

type listOutput struct {
	Body struct {
		api.List[ConversationView]
		Counts CountsView `json:"counts"`
	}
}

// CountsView is how many open conversations there are; counting stops at 1,000.
type CountsView struct {
	Open       int64 `json:"open"`
	Mine       int64 `json:"mine"`
	Unassigned int64 `json:"unassigned"`
}

func (s *Service) httpList(ctx context.Context, in *listInput) (*listOutput, error) {
	f := Filter{State: in.State, Assignee: in.Assignee, Limit: in.Size() + 1}
	if f.Assignee == "any" {
		f.Assignee = ""
	}
	if in.IDs != "" {
		if f.IDs = strings.Split(in.IDs, ","); len(f.IDs) > maxPage {
			return nil, fault.Bad("chat.list", "ids", "ids_too_many", "Ask for at most 100 conversations at once.")
		}
	}
	at, err := api.DecodeCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	if at != nil {
		if f.Before, err = time.Parse(time.RFC3339Nano, at[0]); err != nil {
			return nil, fault.Bad("chat.list", "cursor", "cursor_invalid", "The cursor is not one that a list gave out.")
		}
		f.BeforeID = at[1]
	}
	list, err := s.List(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := s.auditInbox(ctx); err != nil {
		return nil, err
	}
	out := &listOutput{}
	if len(list) > in.Size() {
		list = list[:in.Size()]
		last := list[len(list)-1]
		out.Body.Next = api.EncodeCursor(last.LastMessageAt.Format(time.RFC3339Nano), last.ID)
	}
	if out.Body.Items, err = s.ConversationViews(ctx, list); err != nil {
		return nil, err
	}
	n, err := s.Counts(ctx)
	out.Body.Counts = CountsView(n)
	return out, err
}

func (s *Service) httpGet(ctx context.Context, in *idInput) (*conversationOutput, error) {
	c, err := s.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	views, err := s.ConversationViews(ctx, []Conversation{c})
	if err != nil {
		return nil, err
	}
	return &conversationOutput{views[0]}, nil
}

func (s *Service) httpMessages(ctx context.Context, in *pageInput) (*messagesOutput, error) {
	sc, err := scopeOf(ctx, "chat.Messages")
	if err != nil {
		return nil, err
	}
	c, err := s.find(ctx, sc, in.ID, "chat.Messages")
	if err != nil {
		return nil, err
	}
	p, err := s.Messages(ctx, in.ID, in.Before, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &messagesOutput{}
	out.Body.More = p.More
	out.Body.Items, err = s.MessageViews(ctx, c.Person, p.Items)
	return out, err
}

func (s *Service) httpSend(ctx context.Context, in *sendInput) (*messageOutput, error) {
	if err := s.mayWrite(ctx); err != nil {
		return nil, err
	}
	m, stored, err := s.Send(ctx, in.ID, in.Body.ClientID, in.Body.Body)
	if err != nil {
		return nil, err
	}
	person := ""
	if a := actor.From(ctx); a.Kind == actor.Visitor {
		person = a.ID
	}
	views, err := s.MessageViews(ctx, person, []Message{m})
	if err != nil {
		return nil, err
	}
	out := &messageOutput{Status: http.StatusCreated, Body: views[0]}
	if !stored {
		out.Status = http.StatusOK
	}
	return out, nil
}

func (s *Service) httpRead(ctx context.Context, in *readInput) (*none, error) {
	if err := s.mayWrite(ctx); err != nil {
		return nil, err
	}
	return nil, s.MarkRead(ctx, in.ID, in.Body.Seq)
}

type assignInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Member *string `json:"member" doc:"A member's id, or null for nobody" nullable:"true"`
	}
}

func (s *Service) httpAssign(ctx context.Context, in *assignInput) (*conversationOutput, error) {
	member := ""
	if in.Body.Member != nil {
		member = *in.Body.Member
	}
	if err := s.Assign(ctx, in.ID, member); err != nil {
		return nil, err
	}
	return s.httpGet(ctx, &idInput{in.ID})
}

func (s *Service) httpChange(change func(context.Context, string) error) func(context.Context, *idInput) (*conversationOutput, error) {
	return func(ctx context.Context, in *idInput) (*conversationOutput, error) {
		if err := change(ctx, in.ID); err != nil {
			return nil, err
		}
		return s.httpGet(ctx, in)
	}
}

// SiteView is a site as members see it.
type SiteView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Origins   []string  `json:"origins" nullable:"false"`
	Accent    string    `json:"accent,omitempty"`
	Snippet   string    `json:"snippet" doc:"Paste it before </body> on every page"`
	CreatedAt time.Time `json:"created_at"`
}

type siteBody struct {
	Name    string   `json:"name"`
	Origins []string `json:"origins" doc:"Such as https://shop.example; at most 20"`
	Accent  string   `json:"accent,omitempty" doc:"A colour such as #0f5e5c"`
}

type createSiteInput struct{ Body siteBody }

type updateSiteInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Name    *string  `json:"name,omitempty"`
		Origins []string `json:"origins,omitempty"`
		Accent  *string  `json:"accent,omitempty"`
	}
}

type siteOutput struct{ Body SiteView }

type sitesOutput struct {
	Body struct {
		api.List[SiteView]
	}
}

func siteView(ctx context.Context, st Site) SiteView {
	return SiteView{ID: st.ID, Name: st.Name, Origins: st.Origins, Accent: st.Accent, Snippet: st.Snippet(api.PublicURLOf(ctx)), CreatedAt: st.CreatedAt}
}

func (s *Service) httpSites(ctx context.Context, _ *none) (*sitesOutput, error) {
	list, err := s.Sites(ctx)
	out := &sitesOutput{}
	out.Body.Items = make([]SiteView, 0, len(list))
	for _, st := range list {
		out.Body.Items = append(out.Body.Items, siteView(ctx, st))
	}
	return out, err
}

func (s *Service) httpCreateSite(ctx context.Context, in *createSiteInput) (*siteOutput, error) {
	st, err := s.CreateSite(ctx, Site{Name: in.Body.Name, Origins: in.Body.Origins, Accent: in.Body.Accent})
	return &siteOutput{siteView(ctx, st)}, err
}

func (s *Service) httpUpdateSite(ctx context.Context, in *updateSiteInput) (*siteOutput, error) {
	st, err := s.Site(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if st.Org != actor.From(ctx).Org {
		return nil, siteUnknown("chat.UpdateSite")
	}
	if in.Body.Name != nil {
		st.Name = *in.Body.Name
	}
	if in.Body.Origins != nil {
		st.Origins = in.Body.Origins
	}
	if in.Body.Accent != nil {
		st.Accent = *in.Body.Accent
	}
	st, err = s.UpdateSite(ctx, st)
	return &siteOutput{siteView(ctx, st)}, err
}
