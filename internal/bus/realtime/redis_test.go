package realtime_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/actor"
	"parley/internal/bus/realtime"
	"parley/internal/fault"
	"parley/internal/parleytest/testdb"
)

// nodes makes n hubs on one Redis.
func nodes(t testing.TB, url string, n int, change func(o *realtime.Options)) []*server {
	t.Helper()
	all := make([]*server, n)
	for i := range all {
		rdb := redisClient(t, url)
		all[i] = newServer(t, func(o *realtime.Options) {
			o.Redis = rdb
			if change != nil {
				change(o)
			}
		})
	}
	return all
}

func redisClient(t testing.TB, url string) *redis.Client {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opt.Protocol = 2
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestNodesShareChannels(t *testing.T) {
	s := nodes(t, testdb.Redis(t), 2, nil)
	a, b := join(t, s[0], "member:a room:1"), join(t, s[1], "member:b room:1")
	publish(t, s[0], "room:1", `"from 0"`)
	publish(t, s[1], "nobody:1", `"unheard"`)
	for _, c := range []*client{a, b} {
		if got := c.pushed("room:1", "pub")["data"]; got != "from 0" {
			t.Error(got)
		}
	}
	publish(t, s[1], "room:1", `"from 1"`)
	for _, c := range []*client{a, b} {
		if got := c.pushed("room:1", "pub")["data"]; got != "from 1" {
			t.Error(got)
		}
	}
	s[0].SubscribeActor(actor.Member, "b", "room:2")
	b.pushed("room:2", "subscribe")
	s[0].Drop(actor.Member, "b", "")
	if code := b.closed(); code != 3503 {
		t.Errorf("closed with %d", code)
	}
	a.call("rpc", obj{"method": "nothing"})
}

func TestOrderAcrossNodes(t *testing.T) {
	const each = 2000
	s := nodes(t, testdb.Redis(t), 3, nil)
	c := join(t, s[2], "member:1 room:1")
	var wg sync.WaitGroup
	for p := range 2 {
		wg.Go(func() {
			for i := range each {
				publish(t, s[p], "room:1", fmt.Sprintf(`[%d,%d,%q]`, p, i, strings.Repeat("x", 200)))
			}
		})
	}
	next := [2]int{}
	for range 2 * each {
		got := c.pushed("room:1", "pub")["data"].([]any)
		p, i := int(got[0].(float64)), int(got[1].(float64))
		if next[p] != i {
			t.Fatalf("publisher %d: got %d, want %d", p, i, next[p])
		}
		next[p]++
	}
	wg.Wait()
}

// shortReads is a connection that gives twelve bytes at a time, as a busy network may: in RESP3 the first read of a message would end
// within the word that says that it is one (see bus.CheckRedis).
type shortReads struct{ net.Conn }

func (c shortReads) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), 12)]) }

// Wherever a read from Redis ends, no message is lost.
func TestShortReadsFromRedis(t *testing.T) {
	url := testdb.Redis(t)
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opt.Protocol = 2
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return shortReads{conn}, err
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	sender := nodes(t, url, 1, nil)[0]
	c := join(t, newServer(t, func(o *realtime.Options) { o.Redis = rdb }), "member:1 room:1")
	for i := range 50 {
		publish(t, sender, "room:1", fmt.Sprint(i))
		if got := c.pushed("room:1", "pub")["data"]; got != float64(i) {
			t.Fatalf("got %v, want %d", got, i)
		}
	}
}

func TestPresenceAcrossNodes(t *testing.T) {
	s := nodes(t, testdb.Redis(t), 2, nil)
	m := join(t, s[0], "member:m conv:1")
	m.pushed("conv:1", "join")
	v := join(t, s[1], "visitor:v conv:1")
	if got := m.pushed("conv:1", "join")["info"].(obj); got["user"] != "visitor:v" {
		t.Error(got)
	}
	v.pushed("conv:1", "join")
	here := join(t, s[0], "visitor:v conv:1") // on the other node too: no second join
	for _, node := range s {
		users, err := node.Presence(context.Background(), []string{"conv:1", "conv:none"})
		slices.Sort(users["conv:1"])
		if err != nil || fmt.Sprint(users) != "map[conv:1:[member:m visitor:v]]" {
			t.Error(users, err)
		}
	}
	_ = v.ws.CloseNow()
	wait(t, s[1].gone)
	publish(t, s[1], "conv:1", `"after"`) // no leave comes before: the visitor is still on the other node
	m.pushed("conv:1", "pub")
	_ = here.ws.CloseNow()
	if got := m.pushed("conv:1", "leave")["info"].(obj); got["user"] != "visitor:v" {
		t.Error(got)
	}
	publish(t, s[1], "conv:1", `"one leave only"`)
	m.pushed("conv:1", "pub")
}

// What a dead node left behind expires, what a living one holds is renewed.
func TestPresenceExpires(t *testing.T) {
	t.Parallel()
	url := testdb.Redis(t)
	s := nodes(t, url, 2, func(o *realtime.Options) { o.Limits.PresenceTTL = 900 * time.Millisecond })
	join(t, s[0], "member:m conv:1").pushed("conv:1", "join") // Redis knows them
	rdb := redisClient(t, url)
	ctx := context.Background()
	dead := redis.Z{Score: float64(time.Now().Add(800 * time.Millisecond).UnixMilli()), Member: "visitor:gone|deadnode"}
	if err := rdb.ZAdd(ctx, "parley:rt:p:conv:1", dead).Err(); err != nil {
		t.Fatal(err)
	}
	if users, err := s[1].Presence(ctx, []string{"conv:1"}); err != nil || len(users["conv:1"]) != 2 {
		t.Error(users, err)
	}
	<-time.After(1500 * time.Millisecond) // longer than the TTL: time itself is what is tested
	if users, err := s[1].Presence(ctx, []string{"conv:1"}); err != nil || fmt.Sprint(users) != "map[conv:1:[member:m]]" {
		t.Error(users, err)
	}
}

// Only ids and what was published go through Redis; after everyone has gone nothing stays.
func TestRedisHoldsIDsOnly(t *testing.T) {
	url := testdb.Redis(t)
	s := nodes(t, url, 1, nil)
	rdb := redisClient(t, url)
	c := join(t, s[0], "visitor:v conv:1 visitor:v")
	c.pushed("conv:1", "join") // Redis has decided
	keys, err := rdb.Keys(context.Background(), "*").Result()
	slices.Sort(keys)
	if err != nil || len(keys) == 0 || !strings.HasPrefix(keys[0], "parley:rt:p:") {
		t.Error(keys, err)
	}
	done := make(chan error, 1)
	go func() { done <- s[0].Shutdown(context.Background()) }()
	c.closed()
	if err := wait(t, done); err != nil {
		t.Error(err)
	}
	if keys, err := rdb.Keys(context.Background(), "*").Result(); err != nil || len(keys) != 0 {
		t.Error(keys, err)
	}
}

// When the link to Redis breaks, this node's clients still talk, and all are asked to read again once it stands.
func TestRedisBreaks(t *testing.T) {
	t.Parallel()
	url := testdb.Redis(t)
	s := nodes(t, url, 2, func(o *realtime.Options) { o.Limits.RelayInterval = 200 * time.Millisecond })
	a, b := join(t, s[0], "member:a room:1"), join(t, s[1], "member:b room:1")
	ctx := context.Background()
	rdb := redisClient(t, url)
	if err := rdb.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, s[0], "room:1", `"near"`)
	if got := a.pushed("room:1", "pub")["data"]; got != "near" {
		t.Error(got)
	}
	for i, c := range []*client{a, b} {
		if code := c.closed(); code != 3010 {
			t.Errorf("client %d: closed with %d", i, code)
		}
	}
	a, b = join(t, s[0], "member:a room:1"), join(t, s[1], "member:b room:1")
	publish(t, s[0], "room:1", `"again"`)
	for _, c := range []*client{a, b} {
		if got := c.pushed("room:1", "pub")["data"]; got != "again" {
			t.Error(got)
		}
	}
}

func TestRedisMissing(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1, Protocol: 2})
	defer func() { _ = rdb.Close() }()
	_, err := realtime.New(realtime.Options{Redis: rdb, Handlers: realtime.Handlers{Connect: (&server{}).connect}})
	if f := fault.Of(err); f == nil || f.Kind != fault.Unavailable || f.Code != "redis_unavailable" {
		t.Error(err)
	}
}
