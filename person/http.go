package person

import (
	"context"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
)

// View is a person as members see them.
type View struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Source    string    `json:"source" doc:"Where the person came from: widget"`
	Locale    string    `json:"locale"`
	Name      string    `json:"name,omitempty"`
	Email     string    `json:"email,omitempty"`
}

type getInput struct {
	ID string `path:"id" maxLength:"64"`
}

type getOutput struct{ Body View }

// Routes is this domain's part of the API.
func (s *Service) Routes() []api.Route {
	return []api.Route{
		api.Op(api.Route{Method: "GET", Path: "/persons/{id}", Access: api.Member, Purpose: catalog.Support,
			Name: "get-person", Summary: "Who somebody said they are", Tag: "Persons"}, s.httpGet),
	}
}

func (s *Service) httpGet(ctx context.Context, in *getInput) (*getOutput, error) {
	p, err := s.Get(ctx, actor.From(ctx).Org, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.audit.Audit(ctx, "person.read", p.ID); err != nil { // promise B3
		return nil, err
	}
	shown, err := s.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	return &getOutput{View{ID: p.ID, CreatedAt: p.CreatedAt, Source: p.Source, Locale: p.Locale, Name: shown.Name.Text(), Email: shown.Email.Text()}}, nil
}
