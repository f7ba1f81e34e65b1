package vault

import (
	"context"
	"sync/atomic"
	"time"

	"parley/internal/db"
	"parley/internal/fault"
)

const (
	// evictKept is how long entries of the eviction log stay. A node that was away for longer has lost its lease and starts empty.
	evictKept = time.Hour
	// leaseMargin is how much longer than a lease a destroyer waits, as a part of it: for clocks that run at different speeds.
	leaseMargin = 10
	// pollNodes is how often a destroyer looks for acknowledgements.
	pollNodes = 50 * time.Millisecond
)

// lease is a node's right to open keys from memory. The node renews it by carrying out the eviction log and saying so; while it cannot, the
// right runs out. Only what a node's own clock measures counts: a destroyer waits for an acknowledgement, or for as
// long as any lease can last that was renewed before the destruction was decided.
type lease struct {
	v     *Vault
	id    string
	last  int64 // last entry of the eviction log that was carried out
	until atomic.Pointer[time.Time]
	stop  context.CancelFunc
	done  chan struct{}
}

// leased refuses while the node has no lease.
func (v *Vault) leased(op string) error {
	if v.lease == nil || v.lease.valid(time.Now()) {
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "lease_lost",
		Text: "the key store does not answer; what was erased meanwhile is not known", RetryAfter: 2 * time.Second}
}

// valid compares both of Go's clocks: the monotonic one may stand still while a machine sleeps, the other may be set back.
func (l *lease) valid(now time.Time) bool {
	until := l.until.Load()
	return now.Before(*until) && now.Round(0).Before(until.Round(0))
}

// startLease registers the node and keeps its lease until end.
func (v *Vault) startLease(ctx context.Context) (*lease, error) {
	l := &lease{v: v, id: db.NewID(), done: make(chan struct{})}
	l.until.Store(&time.Time{})
	began := time.Now()
	if err := l.register(ctx); err != nil {
		return nil, err
	}
	l.extend(began)
	run, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.run(run)
	return l, nil
}

func (l *lease) extend(from time.Time) {
	until := from.Add(l.v.opt.Lease)
	l.until.Store(&until)
}

// register adds the node's row. The node forgets all keys then, so it has nothing to carry out.
func (l *lease) register(ctx context.Context) error {
	defer l.v.dropAll()
	return l.v.store.Do(ctx, "vault.lease", func(tx *db.Tx) error {
		if err := tx.QueryRow(`SELECT n FROM vault_meta WHERE name = 'evict'`).Scan(&l.last); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO vault_node (id, name, beat, acked, renewed_at) VALUES ($1, $2, 0, $3, $4)`,
			l.id, l.v.opt.Node, l.last, db.Micros(tx.Now()))
		return err
	})
}

func (l *lease) run(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.v.opt.Lease * 3 / 10)
	defer tick.Stop()
	ok := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.renew(ctx)
		if (err == nil) != ok && ctx.Err() == nil {
			ok = err == nil
			if ok {
				l.v.log.Info("the key store answers again")
			} else {
				l.v.log.Warn("the key store does not answer; this node stops opening values when its lease ends")
			}
		}
	}
}

// renew carries out the eviction log, acknowledges it and extends the lease, counted from before the log was read.
func (l *lease) renew(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.v.opt.Lease/2) // one that hangs leaves time for another
	defer cancel()
	if !l.valid(began) {
		l.v.dropAll() // entries of the log may be gone already
	}
	var targets []string
	var last int64
	err := l.v.store.Read(ctx, "vault.lease", func(tx *db.Tx) (err error) {
		if targets, err = queryStrings(tx, `SELECT target FROM vault_evict WHERE seq > $1`, l.last); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT n FROM vault_meta WHERE name = 'evict'`).Scan(&last)
	})
	if err != nil {
		return err
	}
	l.v.drop(targets)
	if err := l.v.epochs.refresh(ctx); err != nil {
		return err
	}
	var known int64
	err = l.v.store.Do(ctx, "vault.lease", func(tx *db.Tx) (err error) {
		known, err = tx.Exec(`UPDATE vault_node SET beat = beat + 1, acked = $1, renewed_at = $2 WHERE id = $3`, last, db.Micros(tx.Now()), l.id)
		return err
	})
	if err != nil {
		return err
	}
	if known == 0 { // a destroyer gave this node up
		if err := l.register(ctx); err != nil {
			return err
		}
	} else {
		l.last = last
	}
	l.extend(began)
	return nil
}

// end stops renewing and removes the node's row, so that nobody waits for it.
func (l *lease) end() {
	l.stop()
	<-l.done
	l.until.Store(&time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := l.v.store.Do(ctx, "vault.lease", func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM vault_node WHERE id = $1`, l.id)
		return err
	})
	if err != nil {
		l.v.log.Warn("this node could not sign off from the key store; destructions wait for its lease once")
	}
}

// nodeState is what a destroyer sees of another node.
type nodeState struct{ beat, acked int64 }

// awaitNodes returns when every other node has carried out what the eviction log held when it was called, or has no lease that began
// before decided. Nodes that let a whole lease pass without a sign are given up.
func (v *Vault) awaitNodes(ctx context.Context, decided time.Time) error {
	const op = "vault.Destroy"
	if v.store.Engine() != db.Postgres {
		return nil
	}
	var want int64
	first, err := v.behind(ctx, &want)
	if err != nil {
		return err
	}
	deadline := decided.Add(v.opt.Lease + v.opt.Lease/leaseMargin)
	tick := time.NewTicker(pollNodes)
	defer tick.Stop()
	late := first
	for len(late) > 0 && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "timeout",
				Text: "the key is destroyed, but not every node has said so yet", RetryAfter: v.opt.Lease, Cause: ctx.Err()}
		case <-tick.C:
		}
		if late, err = v.behind(ctx, &want); err != nil {
			return err
		}
	}
	return v.giveUp(ctx, first, late)
}

// behind returns the other nodes that have not acknowledged the entry *want; zero means the log's last, which it sets.
func (v *Vault) behind(ctx context.Context, want *int64) (map[string]nodeState, error) {
	own := ""
	if v.lease != nil {
		own = v.lease.id
	}
	late := map[string]nodeState{}
	err := v.store.Read(ctx, "vault.Destroy", func(tx *db.Tx) error {
		clear(late)
		if *want == 0 {
			if err := tx.QueryRow(`SELECT n FROM vault_meta WHERE name = 'evict'`).Scan(want); err != nil {
				return err
			}
		}
		rows, err := tx.Query(`SELECT id, beat, acked FROM vault_node WHERE id <> $1 AND acked < $2`, own, *want)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var s nodeState
			if err := rows.Scan(&id, &s.beat, &s.acked); err != nil {
				return err
			}
			late[id] = s
		}
		return rows.Err()
	})
	return late, err
}

// giveUp removes nodes that gave no sign since they were first looked at, a whole lease ago.
func (v *Vault) giveUp(ctx context.Context, first, late map[string]nodeState) error {
	if len(late) == 0 {
		return nil
	}
	return v.store.Do(ctx, "vault.Destroy", func(tx *db.Tx) error {
		for id, s := range late {
			if first[id] != s {
				continue
			}
			if _, err := tx.Exec(`DELETE FROM vault_node WHERE id = $1 AND beat = $2`, id, s.beat); err != nil {
				return err
			}
		}
		return nil
	})
}
