package video

import (
	"context"
	"net/http"
	"time"

	"parley/catalog"
	"parley/internal/api"
)

const tagCalls = "Calls"

// mediaPath is where the engine's clients connect; they add /rtc to the server's address by themselves too.
const mediaPath = "/rtc"

type none struct{}

type conversationInput struct {
	ID string `path:"id" maxLength:"64"`
}

type startInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		ClientID string `json:"client_id" doc:"1-64 characters of [A-Za-z0-9._-]; the same one again starts nothing new"`
		Media    Medium `json:"media" enum:"video,audio" doc:"What the call begins with; either may be switched on later"`
	}
}

type startOutput struct {
	Status int
	Body   SessionView
}

type callInput struct {
	Session string `path:"session" maxLength:"64"`
}

type participantInput struct {
	Session  string `path:"session" maxLength:"64"`
	Identity string `path:"identity" maxLength:"64"`
}

type sessionOutput struct{ Body SessionView }

type sessionsOutput struct {
	Body struct {
		api.List[SessionView]
	}
}

type runningOutput struct {
	Body struct {
		api.List[SessionView]
		Available bool `json:"available" doc:"Calls can be held on this server"`
	}
}

type joinOutput struct{ Body PassView }

// PassView is what a client enters the room with.
type PassView struct {
	URL       string    `json:"url" doc:"Where the media server is, relative to this server; it gives the ways through the network (ICE) when it is joined"`
	Room      string    `json:"room"`
	Token     string    `json:"token"`
	Identity  string    `json:"identity" doc:"Who the caller is in the room: random, made for this entry"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Routes is this domain's part of the API: what members do here, what visitors do below /widget.
func (s *Service) Routes() []api.Route {
	member := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: path, Access: api.Member, Purpose: catalog.Support, Name: name, Summary: summary, Tag: tagCalls}
	}
	manager := func(method, path, name, summary string) api.Route {
		r := member(method, path, name, summary)
		r.Access = api.Manager
		return r
	}
	remove := manager("POST", "/calls/{session}/participants/{identity}/remove", "remove-participant", "Take somebody out of a call for good")
	remove.Status = http.StatusNoContent
	return append(append(s.routes(member, ""), s.widgetRoutes()...),
		api.Op(member("GET", "/calls", "list-running-calls", "Calls of the organisation that ring or are live"), s.httpRunning),
		api.Op(manager("POST", "/calls/{session}/force-end", "force-end-call", "End a call that one has no part in"), s.httpTurn(s.ForceEnd)),
		api.Op(remove, s.httpRemove))
}

// routes are what both sides may do; of is put into the names of the visitor's.
func (s *Service) routes(route func(method, path, name, summary string) api.Route, of string) []api.Route {
	start := route("POST", "/conversations/{id}/calls", "start-"+of+"call", "Ring the other side")
	start.Status = http.StatusCreated
	return []api.Route{
		api.Op(start, s.httpStart),
		api.Op(route("GET", "/conversations/{id}/calls", "list-"+of+"calls", "The latest calls of a conversation, newest first"), s.httpHistory),
		api.Op(route("GET", "/calls/{session}", "get-"+of+"call", "One call"), s.httpTurn(s.Get)),
		api.Op(route("POST", "/calls/{session}/accept", "accept-"+of+"call", "Answer a call that rings"), s.httpTurn(s.Accept)),
		api.Op(route("POST", "/calls/{session}/decline", "decline-"+of+"call", "Refuse a call that rings"), s.httpTurn(s.Decline)),
		api.Op(route("POST", "/calls/{session}/end", "end-"+of+"call", "Cancel a call that rings, or hang up for everybody"), s.httpTurn(s.End)),
		api.Op(route("POST", "/calls/{session}/leave", "leave-"+of+"call", "Leave it; it goes on while somebody of one's own side stays"), s.httpTurn(s.Leave)),
		api.Op(route("POST", "/calls/{session}/join", "join-"+of+"call", "Get what lets into the room; needs the notice acknowledged"), s.httpJoin),
	}
}

func (s *Service) httpStart(ctx context.Context, in *startInput) (*startOutput, error) {
	c, fresh, err := s.Start(ctx, in.ID, in.Body.ClientID, in.Body.Media)
	if err != nil {
		return nil, err
	}
	out := &startOutput{Status: http.StatusCreated}
	if !fresh {
		out.Status = http.StatusOK
	}
	out.Body, err = s.view(ctx, c)
	return out, err
}

// httpTurn answers with the call as it is after what somebody did to it.
func (s *Service) httpTurn(do func(context.Context, string) (Session, error)) func(context.Context, *callInput) (*sessionOutput, error) {
	return func(ctx context.Context, in *callInput) (*sessionOutput, error) {
		c, err := do(ctx, in.Session)
		if err != nil {
			return nil, err
		}
		v, err := s.view(ctx, c)
		return &sessionOutput{v}, err
	}
}

func (s *Service) httpHistory(ctx context.Context, in *conversationInput) (*sessionsOutput, error) {
	list, err := s.History(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return s.sessions(ctx, list)
}

func (s *Service) httpRunning(ctx context.Context, _ *none) (*runningOutput, error) {
	list, err := s.Running(ctx)
	if err != nil {
		return nil, err
	}
	out := &runningOutput{}
	out.Body.Available = s.Available()
	out.Body.Items, err = s.SessionViews(ctx, list)
	return out, err
}

func (s *Service) sessions(ctx context.Context, list []Session) (out *sessionsOutput, err error) {
	out = &sessionsOutput{}
	out.Body.Items, err = s.SessionViews(ctx, list)
	return out, err
}

func (s *Service) httpJoin(ctx context.Context, in *callInput) (*joinOutput, error) {
	p, err := s.Join(ctx, in.Session)
	if err != nil {
		return nil, err
	}
	return &joinOutput{PassView{URL: mediaPath, Room: p.Room, Token: p.Token, Identity: p.Identity, ExpiresAt: p.ExpiresAt}}, nil
}

func (s *Service) httpRemove(ctx context.Context, in *participantInput) (*none, error) {
	return nil, s.Remove(ctx, in.Session, in.Identity)
}
