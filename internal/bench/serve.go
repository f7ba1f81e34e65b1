package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync"
	"syscall"

	"parley/app"
)

// The limits of a server that is measured: a thousand people behind one address are the point here.
const (
	startsPerMinute   = 1_000_000
	connectsPerSecond = 100_000
	socketCommands    = 100_000
	callParticipants  = 180 // one publisher and everybody who watches; the engine takes 200 in a room
	callJoins         = 100_000
)

// Serve runs the server to be measured until ctx or stdin ends. It announces itself on stdout in one line of JSON. SIGUSR1
// starts a processor profile that is written to the file profile, and a second one ends it.
func Serve(ctx context.Context, cfg app.Config, profile string, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // whoever started this process is gone
		cancel()
	}()
	cfg.Listen, cfg.LogLevel = "127.0.0.1:0", "warn"
	cfg.StartsPerMinute, cfg.ConnectsPerSecond, cfg.SocketCommands = startsPerMinute, connectsPerSecond, socketCommands
	cfg.CallParticipants, cfg.CallJoins = callParticipants, callJoins
	cfg.NoOpVault = true
	var announce error
	cfg.OnReady = func(url string) {
		announce = json.NewEncoder(stdout).Encode(Announcement{PID: os.Getpid(), URL: url})
	}
	p := &profiler{path: profile}
	stop := p.listen()
	err := app.Serve(ctx, cfg, io.Discard, stderr)
	return errors.Join(err, announce, stop())
}

// profiler writes one processor profile, begun and ended by signals.
type profiler struct {
	path string
	file *os.File
	err  error
}

func (p *profiler) listen() (stop func() error) {
	if p.path == "" {
		return func() error { return nil }
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range signals {
			p.turn()
		}
	})
	return func() error {
		signal.Stop(signals)
		close(signals)
		wg.Wait()
		if p.file != nil {
			p.turn()
		}
		return p.err
	}
}

func (p *profiler) turn() {
	if p.file != nil {
		pprof.StopCPUProfile()
		p.err, p.file = errors.Join(p.err, p.file.Close()), nil
		return
	}
	f, err := os.Create(p.path)
	if err == nil {
		p.file, err = f, pprof.StartCPUProfile(f)
	}
	p.err = errors.Join(p.err, err)
}
