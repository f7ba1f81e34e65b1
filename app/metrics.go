package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"parley/internal/api"
)

// metrics are figures about the server; no label can name a person.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics(s *server) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "parley_http_request_seconds", Help: "Time to answer a request, by route.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
	}, []string{"method", "route", "status"})}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.requests,
		newDBHistograms(s.data.Stats), newEgressCounts(s.gate.Observed))
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	counter := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	counter("parley_db_commits_total", "Physical transactions.", func() float64 { return float64(s.data.Stats().Commits) })
	counter("parley_db_use_cases_total", "Use cases committed, many in one transaction.", func() float64 { return float64(s.data.Stats().UseCases) })
	gauge("parley_vault_open_keys", "Keys open in memory.", func() float64 { return float64(s.vault.Stats().Keys) })
	gauge("parley_vault_ledger_entries", "Entries of the deletion ledger.", func() float64 { return float64(s.vault.Stats().LedgerSeq) })
	gauge("parley_socket_connections", "Open sockets.", func() float64 { return float64(s.hub.Stats().Conns) })
	counter("parley_socket_deliveries_total", "Events written to sockets.", func() float64 { return float64(s.hub.Stats().Deliveries) })
	return m
}

func (m *metrics) observe(o api.Observation) {
	m.requests.WithLabelValues(o.Method, o.Route, strconv.Itoa(o.Status)).Observe(o.Took.Seconds())
}
