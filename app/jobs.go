package app

import (
	"context"
	"encoding/json"
	"time"

	"parley/account"
	"parley/internal/bus"
	"parley/internal/db"
)

const (
	sweepJob    = "account.sweep"
	sweepEvery  = time.Hour
	rotateJob   = "vault.rotate"
	rotateEvery = 24 * time.Hour

	eventRevoked = "account.session.revoked.v1"
)

// openJobs hands periodic work to the bus: what has expired is swept, and keys destroyed in PostgreSQL become unreadable there.
func (a *App) openJobs() {
	a.bus.Handle(sweepJob, func(ctx context.Context, _ bus.Job) error {
		if _, err := a.account.ReplayAudit(ctx); err != nil {
			return err
		}
		return a.account.Sweep(ctx)
	})
	a.bus.Every(sweepJob, sweepEvery)
	if a.data.Engine() == db.Postgres {
		a.bus.Handle(rotateJob, func(ctx context.Context, _ bus.Job) error { return a.vault.RotateEpoch(ctx) })
		a.bus.Every(rotateJob, rotateEvery)
	}
	a.bus.Subscribe(eventRevoked, func(_ context.Context, ev bus.Event) {
		var r account.Revocation
		if err := json.Unmarshal(ev.Data, &r); err != nil {
			a.log.Error("event not readable", "type", ev.Type)
			return
		}
		a.account.Forget(r)
	})
}

// announcer tells every node that a session ended.
type announcer struct{ bus *bus.Bus }

// Announce emits the event after tx commits.
func (n announcer) Announce(tx *db.Tx, r account.Revocation) {
	data, err := json.Marshal(r)
	if err != nil { // two strings always marshal
		return
	}
	n.bus.Emit(tx, bus.Event{ID: db.NewID(), Type: eventRevoked, Time: tx.Now(), Data: data})
}
