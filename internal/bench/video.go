package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"parley/internal/rtc/client"
)

// VideoOptions say what to measure of calls. The zero value of a field means its default.
type VideoOptions struct {
	Watchers      int    // who receive one publisher; 100
	Rooms         int    // calls at the same time, in which everybody publishes; 10
	PerRoom       int    // people in each of them; 5
	Joins         int    // one after the other, for the figures of joining; 100
	Seconds       int    // measured of each load; 20
	Bitrate       int    // of one picture, in bits per second; 1,500,000
	FPS           int    // 30
	Simulcast     bool   // pictures in three sizes
	TCP           bool   // media over TCP alone
	Parts         string // of the measurement, separated by commas; "" = all: joins,watch,rooms
	ServerCPUs    string // processors for the server, as taskset names them; "" with GeneratorCPUs "": shared out if there are two
	GeneratorCPUs string
	Dir           string // where the fresh data is made; "" = the system's directory for temporary files
	Profile       string // file for a processor profile of the server while many watch one; "" = none
	Binary        string // the program to measure; "" = this one
	Version       string // of this program, for the report

	LiveKit LiveKit // measured in place of this program, if it has a URL
}

func (o VideoOptions) withDefaults() (VideoOptions, error) {
	def(&o.Watchers, 100)
	def(&o.Rooms, 10)
	def(&o.PerRoom, 5)
	def(&o.Joins, 100)
	def(&o.Seconds, 20)
	def(&o.Bitrate, 1_500_000)
	def(&o.FPS, 30)
	if o.Watchers >= callParticipants {
		return o, fmt.Errorf("at most %d can watch one: a call has %d seats here", callParticipants-1, callParticipants)
	}
	for _, part := range strings.FieldsFunc(o.Parts, func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc((&videoRun{}).parts(), func(p videoPart) bool { return p.name == part }) {
			return o, fmt.Errorf("there is no part %q: say joins, watch, rooms", part)
		}
	}
	if o.PerRoom < 2 {
		return o, errors.New("a call has two people at least")
	}
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Binary = self
	}
	return o, nil
}

// Video measures calls and returns the report. What it does meanwhile is told to progress.
func Video(ctx context.Context, o VideoOptions, progress io.Writer) (*VideoReport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "parley-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	v := &videoRun{opt: o, data: filepath.Join(dir, "data"), progress: progress, report: &VideoReport{Machine: machine(Options{Version: o.Version})}}
	path := client.UDP
	if o.TCP {
		path = client.TCP
	}
	if v.stack, err = client.NewStack(client.StackOptions{Loopback: o.LiveKit.URL == "", Everywhere: true, Path: path}); err != nil {
		return nil, err
	}
	if v.serverCPUs, v.ownCPUs, err = pinning(o); err != nil {
		return nil, err
	}
	v.report.Setup = o.setup(v.serverCPUs, v.ownCPUs)
	if err := v.all(ctx); err != nil {
		return nil, err
	}
	return v.report, nil
}

// videoRun is one measurement under way.
type videoRun struct {
	opt        VideoOptions
	data       string
	progress   io.Writer
	report     *VideoReport
	stack      *client.Stack
	serverCPUs string
	ownCPUs    string
	agents     []string // their cookies
	site       string
}

func (v *videoRun) say(format string, args ...any) { fmt.Fprintf(v.progress, format+"\n", args...) }

func (v *videoRun) all(ctx context.Context) error {
	if err := v.prepare(ctx); err != nil {
		return err
	}
	for _, part := range v.parts() {
		if v.opt.Parts != "" && !slices.Contains(strings.Split(v.opt.Parts, ","), part.name) {
			continue
		}
		if err := v.inHall(ctx, part.run); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

type videoPart struct {
	name string
	run  func(context.Context, *hall) error
}

func (v *videoRun) parts() []videoPart {
	return []videoPart{{"joins", v.measureJoins}, {"watch", v.measureWatching}, {"rooms", v.measureRooms}}
}

// prepare pins the generator, and brings in the people who work for the organisation: they stay for all that is measured.
func (v *videoRun) prepare(ctx context.Context) error {
	if err := v.pin(os.Getpid(), v.ownCPUs); err != nil {
		return err
	}
	if v.opt.LiveKit.URL != "" {
		return v.pin(v.opt.LiveKit.PID, v.serverCPUs)
	}
	if err := v.measureIdle(ctx); err != nil {
		return err
	}
	return v.hireAgents(ctx)
}

// measureIdle reads the memory of a server with media on to which nobody talks.
func (v *videoRun) measureIdle(ctx context.Context) error {
	s, err := Start(ctx, v.command())
	if err != nil {
		return err
	}
	v.report.ReadyMS = millis(s.StartedIn)
	if err = pause(ctx, settle); err == nil {
		v.report.IdleRSS, err = s.RSS()
	}
	v.say("start: ready after %s, %s resident when idle", ms(v.report.ReadyMS), mb(v.report.IdleRSS))
	return errors.Join(err, s.Stop())
}

func (v *videoRun) command() Command {
	c := Command{Binary: v.opt.Binary, Args: []string{"bench", "serve", "--data", v.data}, Stderr: v.progress}
	if v.opt.Profile != "" {
		c.Args = append(c.Args, "--profile", v.opt.Profile)
	}
	if v.serverCPUs != "" {
		c.Wrap = []string{"taskset", "-c", v.serverCPUs}
	}
	return c
}

// inHall runs one part of the measurement against a server of its own, so that none finds what another left in memory.
func (v *videoRun) inHall(ctx context.Context, part func(context.Context, *hall) error) (err error) {
	h, err := v.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return part(ctx, h)
}

// measureJoins lets people come into a call in which somebody speaks and shows, one after the other.
func (v *videoRun) measureJoins(ctx context.Context, h *hall) error {
	c, err := h.call(ctx, 1)
	if err != nil {
		return err
	}
	if err := v.publish(ctx, c.people[0]); err != nil {
		return err
	}
	var times joinTimes
	for i := range v.opt.Joins {
		p, err := h.enter(ctx, c, 1+i%h.width(), v.stack)
		if err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		if err := p.await(ctx, arrived); err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		times.add(p, p.passed)
		if err := p.Close(); err != nil {
			return fmt.Errorf("leaving: %w", err)
		}
	}
	v.report.Joins = times.figures()
	v.say("join: first media packet p50 %s p95 %s, first key frame p95 %s", ms(v.report.Joins.FirstPacket.P50), ms(v.report.Joins.FirstPacket.P95), ms(v.report.Joins.FirstKeyFrame.P95))
	return c.leave()
}

// arrived is when a participant receives sound and picture, the picture from a key frame on.
func arrived(s *client.Snapshot) bool {
	return len(s.Tracks) >= 2 && !s.Marks.FirstKeyFrame.IsZero() && !s.Marks.Connected.IsZero()
}

// measureWatching lets many receive one.
func (v *videoRun) measureWatching(ctx context.Context, h *hall) error {
	c, err := h.call(ctx, 1)
	if err != nil {
		return err
	}
	if err := v.publish(ctx, c.people[0]); err != nil {
		return err
	}
	joins, err := v.crowd(ctx, h, []*gathering{c}, v.opt.Watchers)
	if err != nil {
		return err
	}
	return v.measure(ctx, h, Load{Name: "watch", Calls: 1, Publishers: 1, Receivers: v.opt.Watchers, Joins: joins}, []*gathering{c}, v.opt.Profile != "")
}

// measureRooms lets everybody receive everybody, in several calls.
func (v *videoRun) measureRooms(ctx context.Context, h *hall) error {
	var all []*gathering
	for range v.opt.Rooms {
		c, err := h.call(ctx, v.opt.PerRoom)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	joins, err := v.crowd(ctx, h, all, v.opt.PerRoom-1)
	if err != nil {
		return err
	}
	for _, c := range all {
		for _, p := range c.people {
			if err := v.publish(ctx, p); err != nil {
				return err
			}
		}
	}
	n := v.opt.Rooms * v.opt.PerRoom
	return v.measure(ctx, h, Load{Name: "rooms", Calls: v.opt.Rooms, Publishers: n, Receivers: n, Joins: joins}, all, false)
}

func (v *videoRun) publish(ctx context.Context, p *person) error {
	video, err := p.PublishVideo(ctx, client.Video{Bitrate: v.opt.Bitrate, FPS: v.opt.FPS, Simulcast: v.opt.Simulcast})
	if err != nil {
		return err
	}
	audio, err := p.PublishAudio(ctx, client.Audio{})
	if err != nil {
		return err
	}
	p.publications = []*client.Publication{video, audio}
	return nil
}

// crowd brings so many more people into each of the calls, several at a time, and reports how long they took to be connected.
func (v *videoRun) crowd(ctx context.Context, h *hall, all []*gathering, more int) (*JoinFigures, error) {
	var times joinTimes
	began := time.Now()
	err := each(ctx, len(all)*more, crowd, func(ctx context.Context, i int) error {
		c, seat := all[i%len(all)], 1+i/len(all)
		p, err := h.enter(ctx, c, seat, v.stack)
		if err != nil {
			return err
		}
		c.add(p)
		if err := p.await(ctx, func(s *client.Snapshot) bool { return s.State == client.Connected }); err != nil {
			return err
		}
		times.add(p, p.passed)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("joining, %d at a time: %w", crowd, err)
	}
	v.say("%d people came in within %.1f s", len(all)*more, time.Since(began).Seconds())
	return times.figures(), nil
}
