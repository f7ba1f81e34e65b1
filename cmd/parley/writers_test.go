package main_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"parley/internal/bench"
)

// sent is a message that somebody wrote, and what became of it as far as the writer knows.
type sent struct {
	talk     *talk
	agent    bool // an agent wrote it, the visitor otherwise
	clientID string
	body     string
	seq      int64 // of the acknowledgement; 0: none came
}

// writers write until the server goes away or they are told to stop, and remember what they were promised.
type writers struct {
	people *people
	round  int
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu   sync.Mutex
	sent []sent
	acks chan struct{} // one for each acknowledgement that somebody waits for
}

// write starts four writers in each conversation: the visitor and the agent, over HTTP and over a socket.
func (p *people) write(t *testing.T, url string, round int) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := &writers{people: p, round: round, stop: stop, acks: make(chan struct{}, 1<<16)}
	t.Cleanup(w.end)
	agent, err := bench.Connect(ctx, bench.SocketOptions{Client: p.client, URL: url, Cookie: p.cookie})
	check(t, err)
	for i, talk := range p.talks {
		visitor, err := bench.Connect(ctx, bench.SocketOptions{Client: p.client, URL: url, Token: talk.token})
		check(t, err)
		w.group.Go(func() { <-ctx.Done(); visitor.Close() })
		for kind, send := range map[string]func(ctx context.Context, s *sent) error{
			"vs": viaSocket(visitor), "as": viaSocket(agent),
			"vh": p.viaHTTP(url, "/widget", who{token: talk.token}), "ah": p.viaHTTP(url, "", who{cookie: p.cookie}),
		} {
			w.group.Go(func() { w.run(ctx, talk, kind[0] == 'a', fmt.Sprintf("r%d-c%d-%s", round, i, kind), send) })
		}
	}
	w.group.Go(func() { <-ctx.Done(); agent.Close() })
	return w
}

// end stops the writers and waits for them.
func (w *writers) end() {
	w.stop()
	w.group.Wait()
}

func (w *writers) run(ctx context.Context, talk *talk, agent bool, name string, send func(context.Context, *sent) error) {
	for n := 0; ctx.Err() == nil; n++ {
		s := sent{talk: talk, agent: agent, clientID: fmt.Sprintf("%s-%d", name, n), body: fmt.Sprintf("%s says %d. %s", name, n, strings.Repeat("word ", n%40))}
		s.body = strings.TrimSpace(s.body)
		err := send(ctx, &s)
		w.mu.Lock()
		w.sent = append(w.sent, s)
		w.mu.Unlock()
		if err != nil {
			return // the server is gone, or on its way
		}
		select {
		case w.acks <- struct{}{}:
		default:
		}
	}
}

func viaSocket(socket *bench.Socket) func(context.Context, *sent) error {
	return func(ctx context.Context, s *sent) error {
		r := socket.Call(ctx, "send", bench.SendInput{Conversation: s.talk.id, ClientID: s.clientID, Body: s.body})
		if r.Err == nil {
			s.seq = r.Message.Seq
		}
		return r.Err
	}
}

func (p *people) viaHTTP(url, prefix string, as who) func(context.Context, *sent) error {
	return func(ctx context.Context, s *sent) error {
		var m bench.Message
		_, err := p.do(ctx, url, "POST", prefix+"/conversations/"+s.talk.id+"/messages", as, map[string]string{"client_id": s.clientID, "body": s.body}, &m)
		if err == nil {
			s.seq = m.Seq
		}
		return err
	}
}

// stored is what a server holds of the conversations: message by conversation and seq.
type stored map[string][]bench.Message

// fetch reads on from what is known already and fails on a seq that does not follow the one before.
func (p *people) fetch(ctx context.Context, url string, have stored) error {
	for _, talk := range p.talks {
		for more := true; more; {
			var page struct {
				Items []bench.Message `json:"items"`
				More  bool            `json:"more"`
			}
			path := fmt.Sprintf("/widget/conversations/%s/messages?after=%d&limit=100", talk.id, len(have[talk.id]))
			if len(have[talk.id]) == 0 {
				path = fmt.Sprintf("/widget/conversations/%s/messages?before=2", talk.id) // the first; there is nothing after 0
			}
			if _, err := p.do(ctx, url, "GET", path, who{token: talk.token}, nil, &page); err != nil {
				return err
			}
			for _, m := range page.Items {
				if m.Seq != int64(len(have[talk.id]))+1 {
					return fmt.Errorf("conversation %s: seq %d follows %d", talk.id, m.Seq, len(have[talk.id]))
				}
				have[talk.id] = append(have[talk.id], m)
			}
			more = page.More || (len(page.Items) > 0 && len(have[talk.id]) == 1)
		}
	}
	return nil
}

// verify compares what was promised with what is stored, and returns what is wrong. each client id may be there once only.
func verify(promised []sent, have stored) (wrong []string) {
	type key struct{ conversation, clientID string }
	found := map[key]bench.Message{}
	for id, messages := range have {
		for _, m := range messages {
			k := key{id, m.ClientID}
			if was, twice := found[k]; twice {
				wrong = append(wrong, fmt.Sprintf("%s is stored twice, as %d and %d", m.ClientID, was.Seq, m.Seq))
			}
			found[k] = m
		}
	}
	for _, s := range promised {
		m, ok := found[key{s.talk.id, s.clientID}]
		switch {
		case !ok && s.seq == 0: // never acknowledged
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s was acknowledged as %d and is lost", s.clientID, s.seq))
		case s.seq != 0 && m.Seq != s.seq:
			wrong = append(wrong, fmt.Sprintf("%s was acknowledged as %d and is stored as %d", s.clientID, s.seq, m.Seq))
		case m.Body != s.body:
			wrong = append(wrong, fmt.Sprintf("%s has another text", s.clientID))
		}
	}
	return wrong
}
