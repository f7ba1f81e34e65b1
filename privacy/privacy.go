// Package privacy keeps the promises that concern all kept data at once. For now it erases people: it walks the catalogue
// from a person to everything they own, generically, after the vault destroyed their keys; it repeats the erasures of the
// ledger on a data store that was restored from a backup; and it sweeps rows without sealed values that are past their time.
// It keeps the texts of notices and who acknowledged which of them. It knows others' tables from the catalogue alone.
package privacy

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"parley/account"
	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/person"
	"parley/vault"
)

const eraseJob = "privacy.erase"

// EventErased is emitted when a person's keys and rows are gone; its data is {"person": id}.
const EventErased = "person.erased.v1"

// Options are what the service is made of.
type Options struct {
	DB      *db.DB
	Vault   *vault.Vault
	Bus     *bus.Bus
	Catalog *catalog.Catalog
	Account *account.Service
	Persons *person.Service
	Logger  *slog.Logger
}

// Service erases, and keeps who was told what.
type Service struct {
	opt   Options
	plan  []statement
	sweep []expiry
}

// New returns the service and takes over its jobs on the bus.
func New(o Options) *Service {
	s := &Service{opt: o, plan: erasePlan(o.Catalog, "person"), sweep: sweepPlan(o.Catalog)}
	o.Bus.Handle(eraseJob, func(ctx context.Context, job bus.Job) error {
		var who erasure
		if err := json.Unmarshal(job.Args, &who); err != nil {
			return err
		}
		_, err := s.finish(ctx, who)
		return err
	})
	o.Bus.Handle(sweepJob, func(ctx context.Context, _ bus.Job) error { return s.Sweep(ctx) })
	o.Bus.Every(sweepJob, time.Hour)
	return s
}

type erasure struct {
	Org    string `json:"org"`
	Person string `json:"person"`
}

// Receipt says what an erasure did and when it is final: until FinalAt, a backup of the key store may hold the keys.
type Receipt struct {
	LedgerSeq int64
	At        time.Time
	FinalAt   time.Time
}

// Erase ends everything that the organisation knows of a person (promise F7): a job is noted, so that a crash only delays it;
// then the ledger, the keys, the rows. It returns after the keys are destroyed on every node and the rows are gone.
func (s *Service) Erase(ctx context.Context, id string) (Receipt, error) {
	const op = "privacy.Erase"
	who := erasure{Org: actor.From(ctx).Org, Person: id}
	if _, err := s.opt.Persons.Get(ctx, who.Org, id); err != nil {
		return Receipt{}, err
	}
	if err := s.opt.Account.Audit(actor.For(ctx, catalog.Rights), "person.erase", id); err != nil {
		return Receipt{}, err
	}
	err := s.opt.DB.Do(ctx, op, func(tx *db.Tx) error {
		return s.opt.Bus.Enqueue(tx, eraseJob, who, bus.RunAt(tx.Now().Add(10*time.Second)), bus.Unique(who.Org+"/"+id))
	})
	if err != nil {
		return Receipt{}, err
	}
	// Once begun it is finished, whatever becomes of the connection that asked for it.
	return s.finish(context.WithoutCancel(ctx), who)
}

// finish is idempotent: the ledger, the keys and the rows may each be gone already.
func (s *Service) finish(ctx context.Context, who erasure) (Receipt, error) {
	got, err := s.opt.Vault.Destroy(ctx, person.Key(who.Org, who.Person))
	if err != nil {
		return Receipt{}, err
	}
	data, err := json.Marshal(map[string]string{"person": who.Person})
	if err != nil {
		return Receipt{}, err
	}
	err = s.opt.DB.Do(ctx, "privacy.finish", func(tx *db.Tx) error {
		for _, st := range s.plan {
			if _, err := tx.Exec(st.sql, who.Org, who.Person); err != nil {
				return err
			}
		}
		s.opt.Bus.Emit(tx, bus.Event{ID: db.NewID(), Type: EventErased, Org: who.Org, Time: tx.Now(), Data: data})
		return nil
	})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{LedgerSeq: got.LedgerSeq, At: got.At, FinalAt: got.FinalAt}, nil
}

// Replay repeats the ledger's erasures on the data store (promise F8). It runs before the server answers: a store that
// was restored from a backup may hold people who were erased since.
func (s *Service) Replay(ctx context.Context) (int, error) {
	var failed error
	hits, err := s.opt.Vault.ReplayLedger(ctx, func(yield func(vault.Key) bool) {
		failed = s.opt.Persons.Each(ctx, yield)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	for _, key := range hits {
		if _, err := s.finish(ctx, erasure{Org: key.Org, Person: key.ID}); err != nil {
			return 0, err
		}
	}
	if len(hits) > 0 {
		s.opt.Logger.Warn("privacy: erasures repeated on restored data", "count", len(hits))
	}
	return len(hits), nil
}

type eraseInput struct {
	ID string `path:"id" maxLength:"64"`
}

type eraseOutput struct{ Body ReceiptView }

// ReceiptView is the receipt as the API shows it.
type ReceiptView struct {
	LedgerSeq int64     `json:"ledger_seq" doc:"Place in the deletion ledger"`
	At        time.Time `json:"at"`
	FinalAt   time.Time `json:"final_at" doc:"From then on no backup of the key store can bring the keys back"`
}

// Routes is this domain's part of the API.
func (s *Service) Routes() []api.Route {
	return append(s.noticeRoutes(),
		api.Op(api.Route{Method: "DELETE", Path: "/persons/{id}", Access: api.Manager, Purpose: catalog.Rights, Status: http.StatusOK,
			Name: "erase-person", Summary: "Erase a person: keys destroyed, conversations gone", Tag: "Persons"}, s.httpErase))
}

func (s *Service) httpErase(ctx context.Context, in *eraseInput) (*eraseOutput, error) {
	r, err := s.Erase(ctx, in.ID)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "privacy.Erase", "person_unknown", "There is no such person, or they were erased before.")
	}
	return &eraseOutput{ReceiptView(r)}, err
}
