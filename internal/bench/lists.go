package bench

import (
	"context"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

// inboxPages is how many pages of the inbox are read from the first on before starting over.
const inboxPages = 100

// measureLists times what an agent waits for, one request after the other on an otherwise idle server.
func measureLists(ctx context.Context, w *world, o Options, say func(string, ...any)) (*Lists, error) {
	var inbox, first, again []time.Duration
	var ids []string
	cursor, cookie := "", w.agents[0].cookie
	for n := range o.Reads {
		if n%inboxPages == 0 {
			cursor = ""
		}
		var page struct {
			Items []struct {
				ID string `json:"id"`
			} `json:"items"`
			Next string `json:"next"`
		}
		began := time.Now()
		if _, err := w.do(ctx, "GET", "/conversations?state=open&limit=50&cursor="+url.QueryEscape(cursor), cookie, nil, &page); err != nil {
			return nil, err
		}
		inbox = append(inbox, time.Since(began))
		cursor = page.Next
		if n < inboxPages {
			for _, c := range page.Items {
				ids = append(ids, c.ID)
			}
		}
	}
	step := max(1, len(ids)/o.Reads) // spread over all that was listed, old and new
	for n := 0; n < len(ids); n += step {
		took, err := w.open(ctx, ids[n], cookie)
		if err != nil {
			return nil, err
		}
		first = append(first, took)
		if took, err = w.open(ctx, ids[n], cookie); err != nil {
			return nil, err
		}
		again = append(again, took)
	}
	l := &Lists{Inbox: quantiles(inbox), First: quantiles(first), Again: quantiles(again)}
	say("inbox list p99 %s; conversation opened p99 %s the first time, %s again", ms(l.Inbox.P99), ms(l.First.P99), ms(l.Again.P99))
	return l, nil
}

// open fetches a conversation and its newest messages at once, as the console does.
func (w *world) open(ctx context.Context, id, cookie string) (time.Duration, error) {
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, path := range []string{"/conversations/" + id, "/conversations/" + id + "/messages?limit=50"} {
		g.Go(func() error {
			_, err := w.do(ctx, "GET", path, cookie, nil, nil)
			return err
		})
	}
	err := g.Wait()
	return time.Since(began), err
}
