package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"math/big"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// API keys are random numbers of 8 to 10 digits: compatible clients keep them in an integer.
const (
	minAPIKey = 10_000_000
	maxAPIKey = 9_999_999_999
	keyTries  = 8
)

func projectKey(org, id string) vault.Key { return vault.Key{Org: org, Kind: "project", ID: id} }

// CreateProject makes an API key with a secret, which is shown here and by ProjectSecret only. Owners, admins and the operator may.
func (s *Service) CreateProject(ctx context.Context, org, name string) (Project, error) {
	const op = "account.CreateProject"
	if err := mayManage(ctx, op, org); err != nil {
		return Project{}, err
	}
	name, err := cleanName(op, "name", name)
	if err != nil {
		return Project{}, err
	}
	p := Project{Org: org, ID: db.NewID(), Name: name, Secret: hex.EncodeToString(randomBytes(20))}
	if err := s.vault.Create(ctx, projectKey(org, p.ID), vault.Key{}); err != nil {
		return Project{}, fault.Wrap(fault.Internal, op, err)
	}
	secret, err := s.vault.Seal(ctx, projectKey(org, p.ID), FieldSecret, p.ID, p.Secret, vault.Provenance{Source: "parley", Stage: "project"})
	if err != nil {
		return Project{}, fault.Wrap(fault.Internal, op, err)
	}
	var keys [keyTries]int64
	for i := range keys {
		n, err := rand.Int(rand.Reader, big.NewInt(maxAPIKey-minAPIKey+1))
		if err != nil {
			return Project{}, fault.Wrap(fault.Internal, op, err)
		}
		keys[i] = minAPIKey + n.Int64()
	}
	by := ""
	if a := actor.From(ctx); a.Kind == actor.Member {
		by = a.ID
	}
	err = s.db.Do(ctx, op, func(tx *db.Tx) error {
		if _, err := orgByID(tx, org); err != nil {
			return err
		}
		p.CreatedAt = tx.Now()
		for _, key := range keys {
			p.APIKey = key
			fresh, err := insertProject(tx, p, secret, by)
			if err != nil {
				return err
			}
			if fresh {
				return audit(actor.With(ctx, scoped(ctx, org)), tx, "project.created", p.ID)
			}
		}
		return fault.New(fault.Conflict, op, "conflict", "No free API key was found. Try again.")
	})
	return p, err
}

// DefaultProject returns the organisation's oldest project, and makes one for who has none yet: a newcomer adds a site without
// having heard of projects.
func (s *Service) DefaultProject(ctx context.Context, org string) (id string, err error) {
	const op = "account.DefaultProject"
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT id FROM account_project WHERE org = $1 ORDER BY created_at, id LIMIT 1`, org).Scan(&id)
	})
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	p, err := s.CreateProject(ctx, org, "Website")
	return p.ID, err
}

// Project finds an API key, without its secret. NotFound (project_unknown) when there is none.
func (s *Service) Project(ctx context.Context, apiKey int64) (Project, error) {
	p, _, err := s.project(ctx, "account.Project", apiKey)
	return p, err
}

// ProjectSecret returns the secret of an API key, to check a signature with. Somebody of the key's organisation must act, or the system.
func (s *Service) ProjectSecret(ctx context.Context, apiKey int64) (string, error) {
	const op = "account.ProjectSecret"
	p, secret, err := s.project(ctx, op, apiKey)
	if err != nil {
		return "", err
	}
	t, err := s.vault.Open(ctx, secret.Bind(p.Org, FieldSecret, p.ID))
	if err != nil {
		return "", fault.Wrap(fault.Internal, op, err)
	}
	return t.Text(), nil
}

func (s *Service) project(ctx context.Context, op string, apiKey int64) (p Project, secret vault.Sealed, err error) {
	err = s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		p, secret, err = projectByKey(tx, apiKey)
		return err
	})
	if a := actor.From(ctx); err == nil && a.Org != p.Org && a.Kind != actor.System {
		return Project{}, vault.Sealed{}, fault.New(fault.NotFound, op, "project_unknown", "There is no such API key.")
	}
	return p, secret, err
}
