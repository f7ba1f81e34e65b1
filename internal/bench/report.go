package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Quantiles sum up durations, in milliseconds.
type Quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func quantiles(d []time.Duration) Quantiles {
	if len(d) == 0 {
		return Quantiles{}
	}
	slices.Sort(d)
	at := func(q float64) float64 { return millis(d[min(len(d)-1, int(q*float64(len(d))))]) }
	return Quantiles{Count: len(d), P50: at(.50), P95: at(.95), P99: at(.99), Max: millis(d[len(d)-1])}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Report is what a measurement found.
type Report struct {
	Machine Machine   `json:"machine"`
	Disk    Quantiles `json:"disk_fdatasync"`
	Start   Startup   `json:"start"`
	Stored  *Stored   `json:"stored,omitempty"`
	Lists   *Lists    `json:"lists,omitempty"`
	Phases  []Figures `json:"phases"`
	Sealing *Sealing  `json:"sealing,omitempty"`
}

// Machine is where the measurement ran.
type Machine struct {
	Time         time.Time `json:"time"`
	Version      string    `json:"version"`
	Go           string    `json:"go"`
	System       string    `json:"system"`
	Processor    string    `json:"processor"`
	Cores        int       `json:"cores"`
	MemoryMB     int64     `json:"memory_mb"`
	LoadBefore   string    `json:"load_before"` // the system's load average: what else was running
	Engine       string    `json:"engine"`
	Redis        bool      `json:"redis"`
	FsyncDelayMS float64   `json:"fsync_delay_ms"`
	Visitors     int       `json:"visitors"`
	Agents       int       `json:"agents"`
}

// Startup is how a server begins, and the memory that it takes, in bytes.
type Startup struct {
	FirstMS      float64 `json:"first_ready_ms"` // on nothing: stores, keys and tables are made
	AgainMS      float64 `json:"ready_ms"`       // on the data that was measured
	IdleRSS      int64   `json:"idle_rss"`
	ConnectedRSS int64   `json:"connected_rss"` // everybody connected, nobody talking
}

// Stored is how the messages came in that the figures of lists rest upon.
type Stored struct {
	Messages      int     `json:"messages"`
	Conversations int     `json:"conversations"`
	Seconds       float64 `json:"seconds"`
	PerSecond     float64 `json:"per_second"`
	DatabaseBytes int64   `json:"database_bytes,omitempty"`
}

// Lists are what an agent waits for, over HTTP.
type Lists struct {
	Inbox Quantiles `json:"inbox"`      // a page of 50 conversations, from the first to far back
	First Quantiles `json:"first_open"` // a conversation and its newest 50 messages, for the first time: the reading is put on record
	Again Quantiles `json:"open_again"` // the same once more
}

// Figures are what one phase found.
type Figures struct {
	Name            string         `json:"name"`
	Seconds         float64        `json:"seconds"`
	Rate            int            `json:"rate,omitempty"`      // asked for
	InFlight        int            `json:"in_flight,omitempty"` // held up
	PerSecond       float64        `json:"durable_per_second"`  // acknowledged in the measured part
	Sent            int            `json:"sent"`
	Acked           int            `json:"acked"`
	Stored          int            `json:"stored"` // that the server has on record afterwards
	Refused         map[string]int `json:"refused,omitempty"`
	Delivered       int            `json:"delivered"` // to either side
	Missing         int            `json:"missing"`
	Doubled         int            `json:"doubled"`
	OutOfOrder      int            `json:"out_of_order"`
	ToOther         Quantiles      `json:"send_to_other_side"`
	ToAck           Quantiles      `json:"send_to_ack"`
	Batch           float64        `json:"use_cases_per_commit"`
	Commit          Quantiles      `json:"commit"` // from the server's histogram: upper bounds
	ServerCores     float64        `json:"server_cores"`
	GeneratorCores  float64        `json:"generator_cores"`
	ServerUSPerSend float64        `json:"server_us_per_message"`
	ServerRSS       int64          `json:"server_rss"`
}

// Sealing compares a server with one that seals nothing, round by round.
type Sealing struct {
	Rounds       int     `json:"rounds"`
	Sealed       []Round `json:"sealed"`
	NoOp         []Round `json:"no_op"`
	CostPercent  float64 `json:"cost_percent"`             // of messages a second, by the medians
	CPUPercent   float64 `json:"cpu_percent"`              // of the server's processor time for a message, by the medians
	RoundPercent float64 `json:"median_of_rounds_percent"` // the median of each round's own cost
}

// Round is one run of one side.
type Round struct {
	PerSecond       float64 `json:"durable_per_second"`
	ServerUSPerSend float64 `json:"server_us_per_message"`
}

// JSON writes the report as JSON.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the report for people.
func (r *Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	m := r.Machine
	line("Machine", "%d cores, %d MB, %s; %s, %s; load before: %s", m.Cores, m.MemoryMB, m.Processor, m.System, m.Go, m.LoadBefore)
	line("Set up", "%s%s, %d visitors, %d agents, %s added to each fsync", m.Engine, map[bool]string{true: " and Redis"}[m.Redis], m.Visitors, m.Agents, ms(m.FsyncDelayMS))
	line("Disk, write and fdatasync", "%s", r.Disk)
	line("Ready", "%s on nothing, %s on this data", ms(r.Start.FirstMS), ms(r.Start.AgainMS))
	line("Resident memory", "%s idle, %s with everybody connected", mb(r.Start.IdleRSS), mb(r.Start.ConnectedRSS))
	if s := r.Stored; s != nil {
		line("Stored before", "%d messages in %d conversations, in %.0f s (%.0f/s), %s", s.Messages, s.Conversations, s.Seconds, s.PerSecond, mb(s.DatabaseBytes))
	}
	if l := r.Lists; l != nil {
		line("Inbox list", "%s", l.Inbox)
		line("Conversation opened first", "%s", l.First)
		line("Conversation opened again", "%s", l.Again)
	}
	for _, p := range r.Phases {
		p.table(line)
	}
	if s := r.Sealing; s != nil {
		line("Sealing", "costs %.1f %% of throughput, %.1f %% of processor time (medians of %d interleaved rounds; median of the rounds' own: %.1f %%)", s.CostPercent, s.CPUPercent, s.Rounds, s.RoundPercent)
		for i := range s.Sealed {
			line(fmt.Sprintf("  round %d", i+1), "sealed %.0f/s, %.0f µs each; no-op %.0f/s, %.0f µs each", s.Sealed[i].PerSecond, s.Sealed[i].ServerUSPerSend, s.NoOp[i].PerSecond, s.NoOp[i].ServerUSPerSend)
		}
	}
	return t.Flush()
}

func (f Figures) table(line func(name, format string, args ...any)) {
	how := fmt.Sprintf("%d a second", f.Rate)
	if f.Rate == 0 {
		how = fmt.Sprintf("as many as it takes, %d unacknowledged", f.InFlight)
	}
	line("", "")
	line("Phase "+f.Name, "%s, %.0f s", how, f.Seconds)
	line("  durable messages", "%.0f/s (%d sent, %d acknowledged, %d stored)", f.PerSecond, f.Sent, f.Acked, f.Stored)
	line("  deliveries", "%d: %d missing, %d doubled, %d out of order", f.Delivered, f.Missing, f.Doubled, f.OutOfOrder)
	for code, n := range f.Refused {
		line("  refused", "%d × %s", n, code)
	}
	line("  send → other side", "%s", f.ToOther)
	line("  send → acknowledged", "%s", f.ToAck)
	line("  commits", "%.1f use cases each; %s", f.Batch, f.Commit)
	line("  processor", "server %.2f cores (%.0f µs a message), generator %.2f cores", f.ServerCores, f.ServerUSPerSend, f.GeneratorCores)
	line("  resident memory", "%s", mb(f.ServerRSS))
}

// String shows the quantiles on one line.
func (q Quantiles) String() string {
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s (%d)", ms(q.P50), ms(q.P95), ms(q.P99), ms(q.Max), q.Count)
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

func mb(b int64) string { return fmt.Sprintf("%.0f MB", float64(b)/1e6) }
