package bench

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures sums a phase up, after it has ended.
func (l *ledger) figures(p phase) Figures {
	f := Figures{Name: p.Name, Rate: p.Rate, InFlight: p.InFlight, Seconds: float64(p.Seconds), Sent: int(l.sent.Load()), Refused: l.refused,
		Delivered: int(l.arrivals.Load()), Doubled: int(l.doubled.Load()), OutOfOrder: int(l.disorder.Load())}
	if p.Rate > 0 {
		f.InFlight = 0
	}
	var ack, other []time.Duration
	for i := range f.Sent {
		r := &l.records[i]
		acked := r.acked.Load()
		if acked == 0 {
			continue
		}
		f.Acked++
		for end := range r.arrived {
			switch r.arrived[end].Load() {
			case r.seq.Load():
			case 0:
				f.Missing++
			default: // arrived under another seq than it was acknowledged with
				f.OutOfOrder++
			}
		}
		if r.due < int64(warmUp) {
			continue
		}
		ack = append(ack, time.Duration(acked-r.due))
		if at := r.other.Load(); at > 0 {
			other = append(other, time.Duration(at-r.due))
		}
	}
	f.ToAck, f.ToOther = quantiles(ack), quantiles(other)
	return f
}

// ackedBetween counts the acknowledgements in a part of the phase.
func (l *ledger) ackedBetween(from, to time.Duration) (n int) {
	for i := range l.sent.Load() {
		if at := l.records[i].acked.Load(); at >= int64(from) && at < int64(to) {
			n++
		}
	}
	return n
}

// snapshot is what the server and this process had used and done at one time.
type snapshot struct {
	at       time.Time
	server   time.Duration
	own      time.Duration
	commits  float64
	useCases float64
	buckets  map[float64]float64 // upper bound in seconds → commits at most so long
}

func (w *world) snapshot(ctx context.Context) (s snapshot, err error) {
	s.buckets = map[float64]float64{}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/metrics", nil)
	if err != nil {
		return s, err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return s, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "parley_db_commits_total":
			s.commits = v
		case "parley_db_use_cases_total":
			s.useCases = v
		}
		if rest, ok := strings.CutPrefix(name, `parley_db_commit_seconds_bucket{le="`); ok {
			if bound, err := strconv.ParseFloat(strings.TrimSuffix(rest, `"}`), 64); err == nil {
				s.buckets[bound] = v
			}
		}
	}
	s.at, s.own = time.Now(), ownCPU()
	s.server, err = w.server.CPU()
	return s, err
}

// between fills in what the server and this process did from one snapshot to the other, while acked messages were acknowledged.
func (f *Figures) between(before, after snapshot, acked int) {
	took := after.at.Sub(before.at)
	f.PerSecond = float64(acked) / f.Seconds
	f.ServerCores = (after.server - before.server).Seconds() / took.Seconds()
	f.GeneratorCores = (after.own - before.own).Seconds() / took.Seconds()
	if acked > 0 {
		f.ServerUSPerSend = float64((after.server - before.server).Microseconds()) / float64(acked)
	}
	if n := after.commits - before.commits; n > 0 {
		f.Batch = (after.useCases - before.useCases) / n
	}
	f.Commit = bucketQuantiles(before.buckets, after.buckets)
}

// bucketQuantiles reads quantiles off a histogram's growth: the upper bound of the bucket that each falls into.
func bucketQuantiles(before, after map[float64]float64) Quantiles {
	bounds := make([]float64, 0, len(after))
	for b := range after {
		bounds = append(bounds, b)
	}
	slices.Sort(bounds)
	grown := func(b float64) float64 { return after[b] - before[b] }
	if len(bounds) == 0 || grown(bounds[len(bounds)-1]) == 0 {
		return Quantiles{}
	}
	all := grown(bounds[len(bounds)-1])
	at := func(q float64) float64 {
		for i, b := range bounds {
			if grown(b) < q*all {
				continue
			}
			if math.IsInf(b, 1) && i > 0 {
				b = bounds[i-1]
			}
			return b * 1000
		}
		return 0
	}
	return Quantiles{Count: int(all), P50: at(.50), P95: at(.95), P99: at(.99), Max: at(1)}
}
