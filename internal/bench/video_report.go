package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// VideoReport is what a measurement of calls found.
type VideoReport struct {
	Machine Machine      `json:"machine"`
	Setup   VideoSetup   `json:"setup"`
	ReadyMS float64      `json:"ready_ms,omitempty"`
	IdleRSS int64        `json:"idle_rss,omitempty"` // media on, nobody there
	Joins   *JoinFigures `json:"joins"`              // one after the other
	Loads   []Load       `json:"loads"`
}

// VideoSetup is what was measured.
type VideoSetup struct {
	Server        string `json:"server"`
	Bitrate       int    `json:"bitrate"`
	FPS           int    `json:"fps"`
	Simulcast     bool   `json:"simulcast"`
	Over          string `json:"over"`
	ServerCPUs    string `json:"server_cpus"` // "" = all
	GeneratorCPUs string `json:"generator_cpus"`
}

func (o VideoOptions) setup(server, own string) VideoSetup {
	s := VideoSetup{Server: "parley", Bitrate: o.Bitrate, FPS: o.FPS, Simulcast: o.Simulcast, Over: "udp", ServerCPUs: server, GeneratorCPUs: own}
	if o.LiveKit.URL != "" {
		s.Server = "livekit"
	}
	if o.TCP {
		s.Over = "tcp"
	}
	return s
}

// JoinFigures are what those who come into a call wait for. All but the first count from when they hold the token.
type JoinFigures struct {
	Pass          Quantiles `json:"token"` // asked for at the API
	Connected     Quantiles `json:"connected"`
	FirstPacket   Quantiles `json:"first_packet"` // of media
	FirstKeyFrame Quantiles `json:"first_key_frame"`
}

// Load is what one load found.
type Load struct {
	Name              string       `json:"name"`
	Calls             int          `json:"calls"`
	Publishers        int          `json:"publishers"`
	Receivers         int          `json:"receivers"`
	Incomplete        int          `json:"incomplete_receivers"` // who did not receive everything a minute after it was published
	Seconds           float64      `json:"seconds"`
	Published         uint64       `json:"published_packets"`
	Forwarded         uint64       `json:"forwarded_packets"` // as received, without duplicates and padding
	Video             uint64       `json:"video_packets"`     // of the forwarded
	Missing           *int64       `json:"missing_packets"`   // that should have been forwarded; null with simulcast, where nobody receives all
	Lost              uint64       `json:"lost_packets"`      // numbers that receivers miss
	Doubled           uint64       `json:"doubled_packets"`
	PictureGaps       uint64       `json:"picture_gaps"` // frames that receivers miss
	PerSecond         float64      `json:"forwarded_per_second"`
	MbitOut           float64      `json:"mbit_per_second"` // of media, forwarded
	Delay             Quantiles    `json:"delay"`           // from publisher to receiver, classes an eighth wide
	ServerCores       float64      `json:"server_cores"`
	GeneratorCores    float64      `json:"generator_cores"`
	ServerUSPerPacket float64      `json:"server_us_per_forwarded_packet"`
	ServerRSS         int64        `json:"server_rss,omitempty"`
	Joins             *JoinFigures `json:"joins,omitempty"` // of the crowd, sixteen at a time; nobody published to all of them yet
}

// JSON writes the report as JSON.
func (r *VideoReport) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the report for people.
func (r *VideoReport) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	m, s := r.Machine, r.Setup
	line("Machine", "%d cores, %d MB, %s; %s, %s; load before: %s", m.Cores, m.MemoryMB, m.Processor, m.System, m.Go, m.LoadBefore)
	pinned := "not bound to processors"
	if s.ServerCPUs != "" || s.GeneratorCPUs != "" {
		pinned = fmt.Sprintf("server on processor %s, generator on %s", s.ServerCPUs, s.GeneratorCPUs)
	}
	line("Set up", "%s; 1280 × 720, %d frames and %.1f Mbit a second%s, Opus; over %s; %s", s.Server, s.FPS, float64(s.Bitrate)/1e6,
		map[bool]string{true: ", three sizes"}[s.Simulcast], s.Over, pinned)
	if r.IdleRSS > 0 {
		line("Start", "ready after %s, %s resident when idle with media on", ms(r.ReadyMS), mb(r.IdleRSS))
	}
	r.Joins.table("Join, one by one", line)
	for _, l := range r.Loads {
		l.table(line)
	}
	return t.Flush()
}

func (j *JoinFigures) table(name string, line func(name, format string, args ...any)) {
	if j == nil {
		return
	}
	line(name, "")
	for _, q := range []struct {
		name string
		q    Quantiles
	}{{"  token from the API", j.Pass}, {"  token → connected", j.Connected}, {"  token → first media packet", j.FirstPacket}, {"  token → first key frame", j.FirstKeyFrame}} {
		if q.q.Count > 0 {
			line(q.name, "%s", q.q)
		}
	}
}

func (l Load) table(line func(name, format string, args ...any)) {
	line("", "")
	line("Load "+l.Name, "%d calls, %d publish, %d receive, %.0f s", l.Calls, l.Publishers, l.Receivers, l.Seconds)
	line("  packets", "%.0f/s forwarded (%d, %d of them video; %.0f Mbit/s), %d published", l.PerSecond, l.Forwarded, l.Video, l.MbitOut, l.Published)
	line("  missing", "%s packets; receivers see %d lost, %d doubled, %d pictures missing", l.missing(), l.Lost, l.Doubled, l.PictureGaps)
	if l.Incomplete > 0 {
		line("  incomplete", "%d people did not receive everything when it began", l.Incomplete)
	}
	line("  publisher → receiver", "%s", l.Delay)
	line("  processor", "server %.2f cores (%.1f µs a forwarded packet), generator %.2f cores", l.ServerCores, l.ServerUSPerPacket, l.GeneratorCores)
	if l.ServerRSS > 0 {
		line("  resident memory", "%s", mb(l.ServerRSS))
	}
	l.Joins.table(fmt.Sprintf("  joins, %d at a time", crowd), line)
}

func (l Load) missing() string {
	if l.Missing == nil {
		return "not counted"
	}
	return fmt.Sprint(*l.Missing)
}
