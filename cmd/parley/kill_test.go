package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"parley/internal/bench"
	"parley/internal/parleytest/testdb"
)

// The environment of the kill test: how many times each engine's server is killed ("make soak" says 50), and the seed
// of the moments, to repeat a failure.
const (
	envRounds = "PARLEY_KILL_ROUNDS"
	envSeed   = "PARLEY_KILL_SEED"
)

func fromEnv(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestKill kills the server with SIGKILL while people write, again and again on the same data. Whatever was acknowledged is
// there afterwards, once, in its place and with its text; what was not acknowledged may be there, and sending it again
// does not store it twice.
//
// The kernel keeps what a killed process had written, so this shows that an acknowledged message was in the database;
// that it was on disk is what TestSyncBeforeAcknowledgement shows.
func TestKill(t *testing.T) {
	rounds := int(fromEnv(t, envRounds, 3))
	seed := fromEnv(t, envSeed, time.Now().UnixNano())
	testdb.Each(t, func(t *testing.T, url string) {
		defer func() {
			if t.Failed() {
				t.Logf("repeat with %s=%d %s=%d", envSeed, seed, envRounds, rounds)
			}
		}()
		killing(t, url, rounds, rand.New(rand.NewPCG(uint64(seed), 0)))
	})
}

// talksKilled is how many conversations go on, with four writers each.
const talksKilled = 8

func killing(t *testing.T, url string, rounds int, moments *rand.Rand) {
	data := t.TempDir()
	args := []string{"--data", data, "--database", url}
	var (
		people   *people
		promised []sent
		have     = stored{}
		acked    int
	)
	server := serve(t, args...)
	people = settle(t, server.url, data, talksKilled)
	for round := range rounds {
		w := people.write(t, server.url, round)
		awaitAcks(t, w, 20) // there is something to lose
		time.Sleep(time.Duration(moments.Int64N(int64(400 * time.Millisecond))))
		server.kill()
		w.end()

		began := time.Now()
		server = serve(t, args...)
		if moments.IntN(4) == 0 { // and once more, while it has hardly begun
			server.kill()
			server = serve(t, args...)
		}
		took := time.Since(began)
		check(t, people.fetch(t.Context(), server.url, have))
		report(t, round, verify(w.sent, have))
		lost := people.sendAgain(t, server.url, w.sent)
		check(t, people.fetch(t.Context(), server.url, have))
		report(t, round, verify(w.sent, have))
		promised = append(promised, w.sent...)
		acked += len(w.sent) - lost
		t.Logf("round %d: %d acknowledged, %d not, back after %s", round, len(w.sent)-lost, lost, took.Round(time.Millisecond))
	}
	everything := stored{} // read afresh: nothing of the earlier rounds has changed since
	check(t, people.fetch(t.Context(), server.url, everything))
	report(t, rounds, verify(promised, everything))
	t.Logf("%d messages were acknowledged in %d rounds, all are there", acked, rounds)
	if err := server.stop(t); err != nil {
		t.Errorf("the last server stopped with: %v", err)
	}
}

// awaitAcks waits for n acknowledgements.
func awaitAcks(t *testing.T, w *writers, n int) {
	t.Helper()
	limit := time.After(within)
	for range n {
		select {
		case <-w.acks:
		case <-limit:
			t.Fatal("the writers are not answered")
		}
	}
}

// sendAgain sends what was not acknowledged again, as clients do, and notes the answer. It returns how many there were.
func (p *people) sendAgain(t *testing.T, url string, all []sent) (lost int) {
	t.Helper()
	for i := range all {
		s := &all[i]
		if s.seq != 0 {
			continue
		}
		lost++
		as, prefix := who{token: s.talk.token}, "/widget"
		if s.agent {
			as, prefix = who{cookie: p.cookie}, ""
		}
		for range 2 { // the second time nothing new is stored either
			var m bench.Message
			_, err := p.do(t.Context(), url, "POST", prefix+"/conversations/"+s.talk.id+"/messages", as, map[string]string{"client_id": s.clientID, "body": s.body}, &m)
			check(t, err)
			if s.seq != 0 && s.seq != m.Seq {
				t.Errorf("%s sent again is %d, was %d", s.clientID, m.Seq, s.seq)
			}
			s.seq = m.Seq
		}
	}
	return lost
}

func report(t *testing.T, round int, wrong []string) {
	t.Helper()
	const most = 20
	for i, w := range wrong {
		if i == most {
			t.Errorf("round %d: and %d more", round, len(wrong)-most)
			break
		}
		t.Errorf("round %d: %s", round, w)
	}
	if len(wrong) > 0 {
		t.FailNow()
	}
}

// TestTerminate asks a busy server to stop: it ends without an error, the sockets are told to come back, and what it
// acknowledged is there when it is.
func TestTerminate(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		data := t.TempDir()
		args := []string{"--data", data, "--database", url}
		server := serve(t, args...)
		people := settle(t, server.url, data, 4)
		idle, err := bench.Connect(t.Context(), bench.SocketOptions{Client: people.client, URL: server.url, Token: people.talks[0].token})
		check(t, err)
		w := people.write(t, server.url, 0)
		awaitAcks(t, w, 50)
		if err := server.stop(t); err != nil {
			t.Errorf("the server stopped with: %v", err)
		}
		w.end()
		select {
		case <-idle.Done():
		case <-time.After(within):
			t.Fatal("the socket outlived the server")
		}
		if code := idle.Code(); code != shutdownCode {
			t.Errorf("the socket ended with %d, want %d: come back", code, shutdownCode)
		}
		server = serve(t, args...)
		have := stored{}
		check(t, people.fetch(t.Context(), server.url, have))
		report(t, 0, verify(w.sent, have))
	})
}

// shutdownCode is the Centrifuge protocol's for a server that stops: clients connect again by themselves.
const shutdownCode = 3001

// TestTwoProcesses runs two servers on one PostgreSQL and one Redis. What is sent to one arrives at the sockets of the other,
// in order.
func TestTwoProcesses(t *testing.T) {
	database, redis, keys := testdb.Postgres(t), testdb.Redis(t), t.TempDir()
	dirs := []string{t.TempDir(), t.TempDir()}
	var servers []*process
	for _, dir := range dirs {
		servers = append(servers, serve(t, "--data", dir, "--keys", keys, "--ledger-head", keys+"/../ledger.head", "--database", database, "--redis", redis))
	}
	people := settle(t, servers[0].url, dirs[0], 1)
	talk := people.talks[0]
	inbox := make(chan bench.Message, 4096)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	agent, err := bench.Connect(ctx, bench.SocketOptions{Client: people.client, URL: servers[1].url, Cookie: people.cookie, Event: messagesTo(inbox)})
	check(t, err)
	defer agent.Close()
	check(t, agent.Subscribe(ctx, "conv:"+talk.id))
	answers := make(chan bench.Message, 4096)
	visitor, err := bench.Connect(ctx, bench.SocketOptions{Client: people.client, URL: servers[0].url, Token: talk.token, Event: messagesTo(answers)})
	check(t, err)
	defer visitor.Close()

	const each = 300
	sendMany := func(socket *bench.Socket, name string) {
		for n := range each {
			r := socket.Call(ctx, "send", bench.SendInput{Conversation: talk.id, ClientID: fmt.Sprintf("%s-%d", name, n), Body: "On node " + name})
			check(t, r.Err)
		}
	}
	sendMany(visitor, "first")
	inOrder(t, inbox, 2, each, "the visitor's, at the agent of the other server")
	inOrder(t, answers, 2, each, "the visitor's, at the visitor")
	sendMany(agent, "second")
	inOrder(t, answers, 2+each, each, "the agent's, at the visitor of the other server")
	inOrder(t, inbox, 2+each, each, "the agent's, at the agent")
	for _, s := range servers {
		if err := s.stop(t); err != nil {
			t.Errorf("a server stopped with: %v", err)
		}
	}
}

func messagesTo(ch chan<- bench.Message) func(string, bench.Event) {
	return func(_ string, e bench.Event) {
		if e.Type == bench.MessageCreated {
			ch <- e.Data.Message
		}
	}
}

func inOrder(t *testing.T, ch <-chan bench.Message, from, n int, what string) {
	t.Helper()
	for want := from; want < from+n; want++ {
		select {
		case m := <-ch:
			if m.Seq != int64(want) {
				t.Fatalf("%s: seq %d where %d is due", what, m.Seq, want)
			}
		case <-time.After(within):
			t.Fatalf("%s: seq %d does not arrive", what, want)
		}
	}
}

// TestVerify plants what the tests above look for.
func TestVerify(t *testing.T) {
	a := &talk{id: "a"}
	good := []bench.Message{{Seq: 1, ClientID: "one", Body: "One"}, {Seq: 2, ClientID: "two", Body: "Two"}}
	promised := []sent{{talk: a, clientID: "one", body: "One", seq: 1}, {talk: a, clientID: "two", body: "Two", seq: 2}, {talk: a, clientID: "three", body: "Three"}}
	if wrong := verify(promised, stored{"a": good}); len(wrong) > 0 {
		t.Errorf("nothing is wrong, and yet: %v", wrong)
	}
	for name, have := range map[string][]bench.Message{
		"lost":                             good[:1],
		"doubled":                          append(good[:2:2], bench.Message{Seq: 3, ClientID: "two", Body: "Two"}),
		"elsewhere":                        {good[1], {Seq: 3, ClientID: "one", Body: "One"}},
		"another text":                     {good[0], {Seq: 2, ClientID: "two", Body: "Too"}},
		"unacknowledged with another text": append(good[:2:2], bench.Message{Seq: 3, ClientID: "three", Body: "Tree"}),
	} {
		if wrong := verify(promised, stored{"a": have}); len(wrong) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
