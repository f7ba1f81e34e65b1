package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says where this runs. What cannot be read is left out.
func machine(o Options) Machine {
	m := Machine{Time: time.Now().UTC().Truncate(time.Second), Version: o.Version, Go: runtime.Version(), Cores: runtime.NumCPU(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Engine: "sqlite", Redis: o.Redis != "", FsyncDelayMS: millis(o.Delay),
		Visitors: o.Visitors, Agents: o.Agents}
	if o.Database != "" && !strings.HasPrefix(o.Database, "sqlite:") {
		m.Engine = "postgres"
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += " " + strings.TrimSpace(string(release))
	}
	m.Processor = field("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryMB = kb / 1000
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.LoadBefore = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	return m
}

// field returns the first value of that name in a file of "name: value" lines.
func field(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
