package bench

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"parley/app"
)

// side is one of the two servers of the comparison, with everybody connected.
type side struct {
	name   string
	server *Server
	world  *world
	rounds []Round
}

// compareSealing runs this program and one that seals nothing in turns, so that what else the machine does meets both.
func (b *run) compareSealing(ctx context.Context) (err error) {
	sealed, err := b.side(ctx, "sealed", b.opt.Binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sealed.close()) }()
	noop, err := b.side(ctx, "no-op", b.opt.NoOp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, noop.close()) }()
	for n := range b.opt.Rounds {
		order := []*side{sealed, noop}
		if n%2 == 1 {
			slices.Reverse(order) // neither is always the one that finds the disk warm
		}
		for _, s := range order {
			f, err := s.world.load(ctx, phase{Name: s.name, InFlight: b.opt.InFlight, Seconds: b.opt.Seconds})
			if err != nil {
				return err
			}
			s.rounds = append(s.rounds, Round{PerSecond: f.PerSecond, ServerUSPerSend: f.ServerUSPerSend})
			b.say("round %d, %s: %.0f a second, %.0f µs of the server's processor each", n+1, s.name, f.PerSecond, f.ServerUSPerSend)
		}
	}
	b.report.Sealing = sealingCost(sealed.rounds, noop.rounds)
	return nil
}

func (b *run) side(ctx context.Context, name, binary string) (s *side, err error) {
	o := b.opt
	data := filepath.Join(b.dir, name)
	c := b.command(data, true)
	c.Binary = binary
	s = &side{name: name}
	if s.server, err = Start(ctx, c); err != nil {
		return nil, err
	}
	admin, closeAdmin, err := app.Control(ctx, app.Config{Data: data})
	if err != nil {
		return nil, errors.Join(err, s.server.Stop())
	}
	st, err := build(ctx, admin, o.Agents)
	if err = errors.Join(err, closeAdmin()); err == nil {
		s.world, err = enter(ctx, s.server, st, o, b.say)
	}
	if err != nil {
		return nil, errors.Join(err, s.server.Stop())
	}
	return s, nil
}

func (s *side) close() error {
	s.world.leave()
	return s.server.Stop()
}

func sealingCost(sealed, noop []Round) *Sealing {
	perSecond := func(r Round) float64 { return r.PerSecond }
	each := func(r Round) float64 { return r.ServerUSPerSend }
	var own []float64
	for i := range sealed {
		own = append(own, 100*(1-sealed[i].PerSecond/noop[i].PerSecond))
	}
	slices.Sort(own)
	return &Sealing{
		Rounds: len(sealed), Sealed: sealed, NoOp: noop,
		CostPercent:  100 * (1 - median(sealed, perSecond)/median(noop, perSecond)),
		CPUPercent:   100 * (median(sealed, each)/median(noop, each) - 1),
		RoundPercent: own[len(own)/2],
	}
}

func median(rounds []Round, of func(Round) float64) float64 {
	var v []float64
	for _, r := range rounds {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}
