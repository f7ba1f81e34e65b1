package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"parley/catalog"
	"parley/egress"
	"parley/vault"
)

// Place is where a sealed value was found. An empty Org means the installation, to which members belong.
type Place struct {
	Org   string
	Field catalog.FieldID
	Row   string
}

// Unseal opens the bytes of a sealed column for the actor and the purpose in ctx, by the rules that hold for every service,
// and says where the value came from. It is for the proof, which reads stores that it finds; errors are the vault's.
func (a *App) Unseal(ctx context.Context, at Place, stored []byte) (text string, from vault.Provenance, err error) {
	if at.Org == "" {
		at.Org = vault.Install
	}
	s := vault.FromBytes(stored).Bind(at.Org, at.Field, at.Row)
	t, err := a.vault.Open(ctx, s)
	if err != nil {
		return "", from, err
	}
	from, err = s.Provenance()
	return t.Text(), from, err
}

// RotateKeys ends the key store's epoch, as the daily job does on PostgreSQL.
func (a *App) RotateKeys(ctx context.Context) error { return a.vault.RotateEpoch(ctx) }

// egressCounts shows the outbound connections by recipient, so that what happened can be held against what is declared (promise G1).
type egressCounts struct {
	observed func() []egress.Connection
	desc     *prometheus.Desc
}

func newEgressCounts(observed func() []egress.Connection) *egressCounts {
	return &egressCounts{observed: observed, desc: prometheus.NewDesc("parley_egress_connections_total",
		"Outbound connections by declared recipient: opened, or refused by the rules.", []string{"recipient", "result"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *egressCounts) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *egressCounts) Collect(ch chan<- prometheus.Metric) {
	opened, refused := map[string]int64{}, map[string]int64{}
	for _, conn := range c.observed() {
		opened[conn.Recipient] += conn.Opened
		refused[conn.Recipient] += conn.Refused
	}
	for id := range opened {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(opened[id]), id, "opened")
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(refused[id]), id, "refused")
	}
}
