package privacy

import (
	"context"

	"parley/catalog"
	"parley/internal/db"
)

const sweepJob = "privacy.sweep"

// sweepBatch bounds the rows that one use case deletes, so that nobody waits for the sweep.
const sweepBatch = 1000

// expiry is the sweep of one table: its rows go a time after their trigger.
type expiry struct {
	table, trigger string
	max            int64 // microseconds
}

// sweepPlan finds the tables whose rows may simply go when their time is over: declared to be deleted, with no sealed value
// whose key would have to go first, and no other table's owner. What holds content is not among them yet.
func sweepPlan(c *catalog.Catalog) (plan []expiry) {
	owns := map[string]bool{}
	for _, t := range c.Tables() {
		for col := range t.Subjects {
			owns[t.Columns[col].To] = true
		}
	}
	for _, t := range c.Tables() {
		if t.Erase == catalog.Delete && t.Keep.Trigger != "" && t.Key.Kind == "" && t.ThirdParty == "" && !owns[t.Name] {
			plan = append(plan, expiry{t.Name, t.Keep.Trigger, t.Keep.Max.Microseconds()})
		}
	}
	return plan
}

// Sweep deletes what is kept for a limited time and is past it (promise H1), a batch at a time.
func (s *Service) Sweep(ctx context.Context) error {
	for _, e := range s.sweep {
		for more := true; more; {
			err := s.opt.DB.Do(ctx, "privacy.Sweep", func(tx *db.Tx) error {
				until := db.Micros(tx.Now()) - e.max
				n, err := tx.Exec(`DELETE FROM `+e.table+` WHERE `+e.trigger+` IN (SELECT `+e.trigger+` FROM `+e.table+
					` WHERE `+e.trigger+` < $1 LIMIT $2) AND `+e.trigger+` < $1`, until, sweepBatch)
				more = n >= sweepBatch
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
