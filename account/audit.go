package account

import (
	"context"
	"time"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/api"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// Entry is one line of the audit log: who did what to which object, and for which purpose. It holds ids and words of the program, nothing else.
type Entry struct {
	Org       string          `json:"org"`
	ID        string          `json:"id"`
	At        time.Time       `json:"at"`
	ActorKind actor.Kind      `json:"actor_kind"`
	Actor     string          `json:"actor"`
	Action    string          `json:"action"` // "person.read"
	Object    string          `json:"object"`
	Purpose   catalog.Purpose `json:"purpose"`
}

// entry says what the actor in ctx does. Without an organisation it belongs to the installation.
func entry(ctx context.Context, action, object string) Entry {
	a := actor.From(ctx)
	e := Entry{Org: a.Org, ID: db.NewID(), ActorKind: a.Kind, Actor: a.ID, Action: action, Object: object, Purpose: actor.PurposeOf(ctx)}
	if e.Org == "" {
		e.Org = vault.Install
	}
	return e
}

// audit writes an entry in the transaction of what it tells of.
func audit(ctx context.Context, tx *db.Tx, action, object string) error {
	e := entry(ctx, action, object)
	e.At = tx.Now()
	return insertAudit(tx, e)
}

// AuditTx is Audit in the transaction of the change that it tells of, for domains above.
func (s *Service) AuditTx(ctx context.Context, tx *db.Tx, action, object string) error {
	return audit(ctx, tx, action, object)
}

// Audit notes that the actor in ctx did something, before the answer goes out. While the disk is full the entry waits in a file
// whose space was taken beforehand, so that reading goes on; Full when that file is full too.
func (s *Service) Audit(ctx context.Context, action, object string) error {
	const op = "account.Audit"
	e := entry(ctx, action, object)
	err := s.db.Do(ctx, op, func(tx *db.Tx) error {
		e.At = tx.Now()
		return insertAudit(tx, e)
	})
	if fault.Is(err, fault.Full) && s.spill != nil {
		e.At = s.now().UTC().Truncate(time.Microsecond)
		if serr := s.spill.add(e); serr != nil {
			return serr
		}
		return nil
	}
	if err == nil && s.spill != nil && s.spill.waiting() {
		// There is space again. The entry is safe; what waits gets its turn, and keeps waiting if this fails.
		if _, rerr := s.ReplayAudit(ctx); rerr != nil {
			s.log.WarnContext(ctx, "audit entries still wait", "op", op, "kind", fault.Of(rerr).Kind.String())
		}
	}
	return err
}

// ReplayAudit moves waiting entries into the log and returns how many they were. The server calls it at start and now and then.
func (s *Service) ReplayAudit(ctx context.Context) (int, error) {
	const op = "account.ReplayAudit"
	if s.spill == nil {
		return 0, nil
	}
	n, err := s.spill.drain(func(entries []Entry) error {
		return s.db.Do(ctx, op, func(tx *db.Tx) error {
			for _, e := range entries {
				if err := insertAudit(tx, e); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if n > 0 {
		s.log.InfoContext(ctx, "audit entries replayed", "entries", n)
	}
	return n, err
}

// AuditLog returns the organisation's entries, newest first, to its owners and admins.
func (s *Service) AuditLog(ctx context.Context, org string, p api.Page) (api.List[Entry], error) {
	const op = "account.AuditLog"
	if err := mayManage(ctx, op, org); err != nil {
		return api.List[Entry]{}, err
	}
	at, err := api.DecodeCursor(p.Cursor, 1)
	if err != nil {
		return api.List[Entry]{}, err
	}
	before := ""
	if at != nil {
		before = at[0]
	}
	out := api.List[Entry]{Items: []Entry{}}
	err = s.db.Read(ctx, op, func(tx *db.Tx) error {
		rows, err := auditPage(tx, org, before, p.Size()+1)
		if err != nil {
			return err
		}
		out.Next = ""
		if len(rows) > p.Size() {
			rows = rows[:p.Size()]
			out.Next = api.EncodeCursor(rows[len(rows)-1].ID)
		}
		out.Items = append([]Entry{}, rows...)
		return nil
	})
	return out, err
}

// Sweep deletes ended sessions, spent tokens, old attempts and audit entries past their time, forgets old idempotency keys, and
// finishes erasures that were interrupted. The server calls it at start and every hour.
func (s *Service) Sweep(ctx context.Context) error {
	if err := s.db.Do(ctx, "account.Sweep", sweep); err != nil {
		return err
	}
	if err := s.eraseRetired(ctx); err != nil {
		return err
	}
	_, err := api.SweepOnce(ctx, s.db)
	return err
}
