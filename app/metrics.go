package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"parley/internal/api"
	"parley/internal/rtc"
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
	gauge("parley_tls_certificate_end_seconds", "When the server's own certificate ends, in Unix time; 0 without one.", s.certificateEnd)
	gauge("parley_vault_open_keys", "Keys open in memory.", func() float64 { return float64(s.vault.Stats().Keys) })
	gauge("parley_vault_ledger_entries", "Entries of the deletion ledger.", func() float64 { return float64(s.vault.Stats().LedgerSeq) })
	gauge("parley_socket_connections", "Open sockets.", func() float64 { return float64(s.hub.Stats().Conns) })
	counter("parley_socket_deliveries_total", "Events written to sockets.", func() float64 { return float64(s.hub.Stats().Deliveries) })
	s.callMetrics(gauge, counter)
	return m
}

// callMetrics are the engine's figures; all are 0 where calls are off.
func (s *server) callMetrics(gauge, counter func(name, help string, value func() float64)) {
	stats := func(pick func(rtc.Stats) int64) func() float64 {
		return func() float64 {
			if s.calls.engine == nil {
				return 0
			}
			return float64(pick(s.calls.engine.Stats()))
		}
	}
	gauge("parley_rtc_rooms", "Rooms that are open.", stats(func(n rtc.Stats) int64 { return n.Rooms }))
	gauge("parley_rtc_participants", "People in rooms.", stats(func(n rtc.Stats) int64 { return n.Participants }))
	gauge("parley_rtc_tracks", "Tracks that are published.", stats(func(n rtc.Stats) int64 { return n.PublishedTracks }))
	counter("parley_rtc_joins_total", "Joins.", stats(func(n rtc.Stats) int64 { return n.Joins }))
	counter("parley_rtc_resumes_total", "Connections that came back.", stats(func(n rtc.Stats) int64 { return n.Resumes }))
	counter("parley_rtc_refused_total", "Joins refused: by their token or a limit.", stats(func(n rtc.Stats) int64 { return n.RefusedTokens + n.RefusedJoins }))
	counter("parley_rtc_packets_in_total", "Media packets received.", stats(func(n rtc.Stats) int64 { return n.PacketsIn }))
	counter("parley_rtc_packets_out_total", "Media packets forwarded.", stats(func(n rtc.Stats) int64 { return n.PacketsOut }))
	counter("parley_rtc_bytes_out_total", "Bytes of media forwarded.", stats(func(n rtc.Stats) int64 { return n.BytesOut }))
	counter("parley_rtc_packets_lost_total", "Media packets that never arrived here.", stats(func(n rtc.Stats) int64 { return n.PacketsLost }))
	gauge("parley_rtc_relays", "Relay (TURN) allocations that are open.", func() float64 {
		if s.calls.transport == nil {
			return 0
		}
		return float64(s.calls.transport.Stats().Allocations)
	})
}

func (m *metrics) observe(o api.Observation) {
	m.requests.WithLabelValues(o.Method, o.Route, strconv.Itoa(o.Status)).Observe(o.Took.Seconds())
}
