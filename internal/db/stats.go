package db

import (
	"sync"
	"time"
)

// Stats are counts since the database was opened.
type Stats struct {
	UseCases  uint64 // calls of Do that were committed
	Failed    uint64 // calls of Do that were undone
	Retries   uint64 // closures that ran again
	Reads     uint64
	Commits   uint64    // physical transactions committed
	Batch     Histogram // use cases per physical transaction
	Commit    Histogram // seconds from COMMIT to durable: the log's write and fsync
	Wait      Histogram // seconds between the call of Do and the closure's start
	Queued    int       // callers waiting for their turn, now (SQLite)
	InUse     int       // readers (SQLite) or connections (PostgreSQL) in use, now
	Available int       // readers or connections at most
}

// Histogram counts observations by upper bound. Counts has one more element than Bounds, for what is above the last.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
	Count  uint64
}

var (
	batchBounds   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
	secondsBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
)

func (h *Histogram) observe(v float64) {
	i := 0
	for i < len(h.Bounds) && v > h.Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += v
	h.Count++
}

func (h *Histogram) clone() Histogram {
	c := *h
	c.Counts = append([]uint64(nil), h.Counts...)
	return c
}

func newHistogram(bounds []float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

// recorder gathers Stats.
type recorder struct {
	mu    sync.Mutex
	s     Stats
	gauge func(*Stats) // fills in what is true now
}

func newRecorder() *recorder {
	return &recorder{s: Stats{Batch: newHistogram(batchBounds), Commit: newHistogram(secondsBounds), Wait: newHistogram(secondsBounds)}}
}

func (r *recorder) update(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.s)
}

func (r *recorder) committed(n int, took time.Duration) {
	r.update(func(s *Stats) {
		s.Commits++
		s.UseCases += uint64(n)
		s.Batch.observe(float64(n))
		s.Commit.observe(took.Seconds())
	})
}

func (r *recorder) read() { r.update(func(s *Stats) { s.Reads++ }) }

// Stats returns what the database has done so far.
func (d *DB) Stats() Stats {
	r := d.stats
	r.mu.Lock()
	s := r.s
	s.Batch, s.Commit, s.Wait = r.s.Batch.clone(), r.s.Commit.clone(), r.s.Wait.clone()
	r.mu.Unlock()
	if r.gauge != nil {
		r.gauge(&s)
	}
	return s
}
