package account

import (
	"context"
	"net/http"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
)

// Routes are the operations of setup, sign-in and members.
func Routes(s *Service) []api.Route {
	h := handlers{s}
	const setup, session, people = "Setup", "Sign-in", "Members"
	return []api.Route{
		api.Op(api.Route{Method: "GET", Path: "/setup", Access: api.Public, Name: "get-setup", Tag: setup,
			Summary: "Is this server set up?"}, h.setupStatus),
		api.Op(api.Route{Method: "POST", Path: "/setup", Access: api.Public, Name: "set-up", Tag: setup, Status: http.StatusCreated,
			Summary: "Set the server up", Doc: "Makes the first organisation and its owner, who is signed in. From elsewhere than the server's own network it takes the code in the server's log."}, h.setUp),
		api.Op(api.Route{Method: "POST", Path: "/session", Access: api.Public, Name: "sign-in", Tag: session,
			Purpose: catalog.Security, Summary: "Sign in", Doc: "Sets the session cookie. It ends with the browser, after 12 idle hours or after 7 days."}, h.signIn),
		api.Op(api.Route{Method: "GET", Path: "/session", Access: api.Member, Name: "get-session", Tag: session,
			Summary: "Who am I?"}, h.current),
		api.Op(api.Route{Method: "PUT", Path: "/session/organisation", Access: api.Member, Name: "switch-organisation", Tag: session,
			Summary: "Work in another organisation", Doc: "Sockets are closed; connect them again."}, h.switchOrganisation),
		api.Op(api.Route{Method: "DELETE", Path: "/session", Access: api.Public, Name: "sign-out", Tag: session,
			Purpose: catalog.Security, Summary: "Sign out", Doc: "Ends the session on the server. Signing out twice is not an error."}, h.signOut),
		api.Op(api.Route{Method: "GET", Path: "/sessions", Access: api.Member, Name: "list-sessions", Tag: session,
			Purpose: catalog.Security, Summary: "Where am I signed in?"}, h.sessions),
		api.Op(api.Route{Method: "DELETE", Path: "/sessions/{id}", Access: api.Member, Name: "end-session", Tag: session,
			Purpose: catalog.Security, Summary: "End one of my sessions"}, h.endSession),
		api.Op(api.Route{Method: "GET", Path: "/invitations/{token}", Access: api.Public, Name: "get-invitation", Tag: people,
			Summary: "Read an invitation"}, h.invitation),
		api.Op(api.Route{Method: "POST", Path: "/invitations/{token}", Access: api.Public, Name: "accept-invitation", Tag: people,
			Summary: "Accept an invitation", Doc: "Works once. Signs the new member in."}, h.accept),
		api.Op(api.Route{Method: "GET", Path: "/organisation", Access: api.Member, Name: "get-organisation", Tag: people,
			Summary: "My organisation"}, h.organisation),
		api.Op(api.Route{Method: "GET", Path: "/members", Access: api.Member, Name: "list-members", Tag: people,
			Summary: "List members"}, h.members),
		api.Op(api.Route{Method: "POST", Path: "/members", Access: api.Manager, Name: "invite-member", Tag: people, Status: http.StatusCreated,
			Summary: "Invite a member", Doc: "The link in the answer is shown this once; nothing is sent. Without a link they have a password already and find the organisation after signing in."}, h.invite),
		api.Op(api.Route{Method: "PATCH", Path: "/members/{id}", Access: api.Manager, Name: "set-role", Tag: people, Status: http.StatusNoContent,
			Summary: "Change a member's role", Doc: "Only owners make or unmake owners; an organisation keeps one."}, h.setRole),
		api.Op(api.Route{Method: "DELETE", Path: "/members/{id}", Access: api.Member, Name: "remove-member", Tag: people,
			Summary: "Remove a member, or leave", Doc: "Owners and admins remove others. Whoever belongs to no organisation any more is erased."}, h.remove),
		api.Op(api.Route{Method: "POST", Path: "/members/{id}/invitation", Access: api.Manager, Name: "renew-invitation", Tag: people,
			Summary: "Make a new invitation link", Doc: "The earlier one ends. Without a link they have a password already."}, h.reinvite),
		api.Op(api.Route{Method: "GET", Path: "/audit", Access: api.Manager, Name: "list-audit", Tag: people,
			Purpose: catalog.Security, Summary: "Read the audit log", Doc: "Newest first. Entries hold ids only."}, h.audit),
	}
}

type handlers struct{ s *Service }

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type sessionBody struct {
	Member        personBody  `json:"member"`
	Organisation  named       `json:"organisation"`
	Role          string      `json:"role" enum:"owner,admin,agent"`
	Organisations []named     `json:"organisations" nullable:"false"`
	Realtime      channelBody `json:"realtime"`
}

type personBody struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

type channelBody struct {
	Org    string `json:"org_channel" doc:"channel of the organisation"`
	Member string `json:"member_channel" doc:"channel of the member"`
}

type sessionOut struct{ Body sessionBody }

type signedInOut struct {
	SetCookie string `header:"Set-Cookie" doc:"the session"`
	Body      sessionBody
}

// These inputs carry no lengths for the schema to check: the service knows the limits, and says which was missed.
type setUpIn struct {
	Body struct {
		Organisation string `json:"organisation" doc:"at most 200 characters"`
		Name         string `json:"name" doc:"at most 200 characters"`
		Email        string `json:"email" doc:"at most 254 characters"`
		Password     string `json:"password" doc:"10 to 256 characters, not easy to guess"`
		Code         string `json:"code,omitempty" maxLength:"100" doc:"from the server's log"`
	}
}

type signInIn struct {
	Body struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
}

type setupStatusOut struct {
	Body struct {
		Needed       bool `json:"needed"`
		CodeRequired bool `json:"code_required"`
	}
}

func (h handlers) setupStatus(ctx context.Context, _ *struct{}) (*setupStatusOut, error) {
	st, err := h.s.SetupStatus(ctx)
	out := &setupStatusOut{}
	out.Body.Needed, out.Body.CodeRequired = st.Needed, st.CodeRequired
	return out, err
}

func (h handlers) setUp(ctx context.Context, in *setUpIn) (*signedInOut, error) {
	if _, err := sessionCookie(ctx, ""); err != nil {
		return nil, err
	}
	a, token, err := h.s.FirstRunSetup(ctx, FirstRun{Organisation: in.Body.Organisation, Name: in.Body.Name,
		Email: in.Body.Email, Password: in.Body.Password, Code: in.Body.Code})
	if err != nil {
		return nil, err
	}
	return h.signedIn(ctx, a, token)
}

func (h handlers) signIn(ctx context.Context, in *signInIn) (*signedInOut, error) {
	if _, err := sessionCookie(ctx, ""); err != nil {
		return nil, err
	}
	a, token, err := h.s.SignIn(ctx, in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return h.signedIn(ctx, a, token)
}

func (h handlers) signedIn(ctx context.Context, a actor.Actor, token string) (*signedInOut, error) {
	c, err := sessionCookie(ctx, token)
	if err != nil {
		return nil, err
	}
	out, err := h.view(actor.For(actor.With(ctx, a), catalog.Service))
	if err != nil {
		return nil, err
	}
	return &signedInOut{SetCookie: c.String(), Body: out.Body}, nil
}

func (h handlers) current(ctx context.Context, _ *struct{}) (*sessionOut, error) { return h.view(ctx) }

func (h handlers) view(ctx context.Context) (*sessionOut, error) {
	v, err := h.s.Current(ctx)
	if err != nil {
		return nil, err
	}
	b := sessionBody{Member: personBody{v.Member.ID, v.Member.Name, v.Member.Email}, Organisation: named{v.Organisation.ID, v.Organisation.Name},
		Role: string(v.Role), Organisations: []named{}, Realtime: channelBody{"org:" + v.Organisation.ID, "member:" + v.Member.ID}}
	for _, o := range v.Organisations {
		b.Organisations = append(b.Organisations, named{o.ID, o.Name})
	}
	return &sessionOut{b}, nil
}

func (h handlers) switchOrganisation(ctx context.Context, in *struct {
	Body struct {
		ID string `json:"id" maxLength:"100"`
	}
}) (*sessionOut, error) {
	a, err := h.s.SwitchOrganisation(ctx, in.Body.ID)
	if err != nil {
		return nil, err
	}
	return h.view(actor.With(ctx, a))
}

type signOutOut struct {
	SetCookie     string `header:"Set-Cookie" doc:"deletes the session's cookie"`
	ClearSiteData string `header:"Clear-Site-Data"`
}

func (h handlers) signOut(ctx context.Context, _ *struct{}) (*signOutOut, error) {
	if err := h.s.SignOut(api.Request(ctx)); err != nil {
		return nil, err
	}
	return &signOutOut{SetCookie: endCookie(ctx), ClearSiteData: `"cookies", "storage"`}, nil
}

type sessionsOut struct{ Body api.List[browserBody] }

type browserBody struct {
	ID        string    `json:"id"`
	Current   bool      `json:"current" doc:"the one that asks"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at" doc:"to the minute"`
	EndsAt    time.Time `json:"ends_at" doc:"at the latest"`
}

func (h handlers) sessions(ctx context.Context, _ *struct{}) (*sessionsOut, error) {
	list, err := h.s.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	out := &sessionsOut{api.List[browserBody]{Items: []browserBody{}}}
	for _, b := range list {
		out.Body.Items = append(out.Body.Items, browserBody(b))
	}
	return out, nil
}

type idIn struct {
	ID string `path:"id" maxLength:"100"`
}

func (h handlers) endSession(ctx context.Context, in *idIn) (*struct{}, error) {
	return nil, h.s.EndSession(ctx, in.ID)
}

type tokenIn struct {
	Token string `path:"token" maxLength:"100"`
}

type invitationOut struct {
	Body struct {
		Email        string `json:"email"`
		Name         string `json:"name,omitempty"`
		Organisation string `json:"organisation"`
	}
}

func (h handlers) invitation(ctx context.Context, in *tokenIn) (*invitationOut, error) {
	inv, err := h.s.Invitation(ctx, in.Token)
	out := &invitationOut{}
	out.Body.Email, out.Body.Name, out.Body.Organisation = inv.Email, inv.Name, inv.Organisation
	return out, err
}

func (h handlers) accept(ctx context.Context, in *struct {
	Token string `path:"token" maxLength:"100"`
	Body  struct {
		Name     string `json:"name" doc:"at most 200 characters"`
		Password string `json:"password" doc:"10 to 256 characters, not easy to guess"`
	}
}) (*signedInOut, error) {
	if _, err := sessionCookie(ctx, ""); err != nil {
		return nil, err
	}
	a, token, err := h.s.AcceptInvitation(ctx, in.Token, in.Body.Name, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return h.signedIn(ctx, a, token)
}

type orgOut struct{ Body named }

func (h handlers) organisation(ctx context.Context, _ *struct{}) (*orgOut, error) {
	o, err := h.s.Organisation(ctx, actor.From(ctx).Org)
	return &orgOut{named{o.ID, o.Name}}, err
}

type memberBody struct {
	ID     string `json:"id"`
	Name   string `json:"name" doc:"empty until the invitation is accepted"`
	Role   string `json:"role" enum:"owner,admin,agent"`
	Online bool   `json:"online"`
}

type membersOut struct{ Body api.List[memberBody] }

func (h handlers) members(ctx context.Context, _ *struct{}) (*membersOut, error) {
	list, err := h.s.Members(ctx, actor.From(ctx).Org)
	if err != nil {
		return nil, err
	}
	out := &membersOut{api.List[memberBody]{Items: []memberBody{}}}
	for _, m := range list {
		out.Body.Items = append(out.Body.Items, memberBody{m.ID, m.Name, string(m.Role), m.Online})
	}
	return out, nil
}

type inviteBody struct {
	ID   string `json:"id" doc:"of the member"`
	Link string `json:"link,omitempty" doc:"one-time link, valid for 7 days"`
}

type inviteOut struct{ Body inviteBody }

func (h handlers) invite(ctx context.Context, in *struct {
	Body struct {
		Email string `json:"email" doc:"at most 254 characters"`
		Role  string `json:"role" maxLength:"100" doc:"owner, admin or agent"`
	}
}) (*inviteOut, error) {
	m, token, err := h.s.CreateMember(ctx, actor.From(ctx).Org, in.Body.Email, actor.Role(in.Body.Role))
	if err != nil {
		return nil, err
	}
	return &inviteOut{inviteBody{m.ID, link(ctx, token)}}, nil
}

func (h handlers) reinvite(ctx context.Context, in *idIn) (*inviteOut, error) {
	token, err := h.s.Reinvite(ctx, actor.From(ctx).Org, in.ID)
	if err != nil {
		return nil, err
	}
	return &inviteOut{inviteBody{in.ID, link(ctx, token)}}, nil
}

func (h handlers) setRole(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Role string `json:"role" maxLength:"100" doc:"owner, admin or agent"`
	}
}) (*struct{}, error) {
	return nil, h.s.SetRole(ctx, actor.From(ctx).Org, in.ID, actor.Role(in.Body.Role))
}

func (h handlers) remove(ctx context.Context, in *idIn) (*struct{}, error) {
	return nil, h.s.RemoveMember(ctx, actor.From(ctx).Org, in.ID)
}

func link(ctx context.Context, token string) string {
	if token == "" {
		return ""
	}
	return InviteURL(api.PublicURLOf(ctx), token)
}

type auditOut struct{ Body api.List[Entry] }

func (h handlers) audit(ctx context.Context, in *struct{ api.Page }) (*auditOut, error) {
	list, err := h.s.AuditLog(ctx, actor.From(ctx).Org, in.Page)
	return &auditOut{list}, err
}
