package app

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"parley/chat"
	"parley/internal/actor"
)

// FillInput says what Fill stores.
type FillInput struct {
	Site          string
	Conversations int
	Messages      int                // in all of them together
	Text          func(n int) string // what the n-th message says
	Progress      func(done int)     // may be nil; called by one goroutine at a time
}

const (
	fillBegins = 32  // conversations begun at a time
	fillSends  = 256 // messages sent at a time: a group commit takes so many
)

// Fill stores visitors' conversations, for measuring. They go through the chat's own service and so are sealed and durable
// like any others; many are under way at a time, so that commits are shared.
func (a *App) Fill(ctx context.Context, in FillInput) error {
	begun := make([]chat.Started, in.Conversations)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fillBegins)
	for i := range begun {
		g.Go(func() (err error) {
			begun[i], err = a.chat.Begin(gctx, chat.Start{Site: in.Site, ClientID: fmt.Sprintf("fill-%d", i), Body: in.Text(i), Locale: "en",
				PageURL: "https://shop.example/kettles", PageTitle: "Kettles"})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var done, next atomic.Int64
	done.Store(int64(in.Conversations))
	next.Store(int64(in.Conversations))
	g, gctx = errgroup.WithContext(ctx)
	for worker := range fillSends {
		g.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= in.Messages {
					return nil
				}
				to := begun[n%in.Conversations]
				as := actor.With(gctx, actor.Actor{Kind: actor.Visitor, Org: to.Conversation.Org, ID: to.Person})
				if _, _, err := a.chat.Send(as, to.Conversation.ID, fmt.Sprintf("fill-%d", n), in.Text(n)); err != nil {
					return err
				}
				if d := done.Add(1); worker == 0 && in.Progress != nil {
					in.Progress(int(d))
				}
			}
		})
	}
	return g.Wait()
}
