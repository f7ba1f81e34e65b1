package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"parley/internal/db"
)

// dbHistograms shows the database's own histograms: how many use cases share a commit, and how long they wait for it.
type dbHistograms struct {
	stats               func() db.Stats
	batch, commit, wait *prometheus.Desc
}

func newDBHistograms(stats func() db.Stats) *dbHistograms {
	return &dbHistograms{stats: stats,
		batch:  prometheus.NewDesc("parley_db_commit_use_cases", "Use cases that shared a physical transaction.", nil, nil),
		commit: prometheus.NewDesc("parley_db_commit_seconds", "From COMMIT to durable.", nil, nil),
		wait:   prometheus.NewDesc("parley_db_wait_seconds", "From a use case's call to its turn.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (d *dbHistograms) Describe(ch chan<- *prometheus.Desc) {
	ch <- d.batch
	ch <- d.commit
	ch <- d.wait
}

// Collect implements prometheus.Collector.
func (d *dbHistograms) Collect(ch chan<- prometheus.Metric) {
	s := d.stats()
	for desc, h := range map[*prometheus.Desc]db.Histogram{d.batch: s.Batch, d.commit: s.Commit, d.wait: s.Wait} {
		buckets, sum := make(map[float64]uint64, len(h.Bounds)), uint64(0)
		for i, bound := range h.Bounds {
			sum += h.Counts[i]
			buckets[bound] = sum
		}
		ch <- prometheus.MustNewConstHistogram(desc, h.Count, h.Sum, buckets)
	}
}
