package prove

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"parley/internal/fault"
)

// redisConn speaks Redis's protocol as far as looking takes: one command, one answer.
type redisConn struct {
	conn net.Conn
	in   *bufio.Reader
}

// redisPlace returns what to dial, and whether to speak TLS.
func redisPlace(raw string) (network, addr string, u *url.URL, err error) {
	u, err = url.Parse(raw)
	if err != nil {
		return "", "", nil, fault.Bad("prove", "--redis", "redis_url", "it has the form redis://host:6379/0")
	}
	if u.Scheme == "unix" {
		return "unix", u.Path, u, nil
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port), u, nil
}

func (r *run) dialRedis(ctx context.Context) (*redisConn, error) {
	network, addr, u, err := redisPlace(r.opt.Redis)
	if err != nil {
		return nil, err
	}
	conn, err := r.gate.Dialer("redis")(ctx, network, addr)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "prove", "redis_away", "Redis does not answer at the address that --redis names.")
	}
	if u.Scheme == "rediss" {
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12})
	}
	c := &redisConn{conn: conn, in: bufio.NewReader(conn)}
	if password, ok := u.User.Password(); ok {
		words := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			words = []string{"AUTH", name, password}
		}
		if _, err := c.do(words...); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	number := strings.Trim(u.Path, "/")
	if u.Scheme == "unix" {
		number = u.Query().Get("db")
	}
	if number != "" {
		if _, err := c.do("SELECT", number); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return c, nil
}

func (c *redisConn) do(words ...string) (any, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	return c.answer()
}

// maxBulk bounds what one answer may hold, in bytes or items.
const maxBulk = 512 << 20

func (c *redisConn) answer() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("redis: an empty answer")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return nil, errors.New("redis: " + rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxBulk || (kind != '$' && kind != '*') {
		return nil, errors.New("redis: an answer that is none")
	}
	if n < 0 {
		return nil, nil
	}
	if kind == '$' {
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.in, b)
		return string(b[:n]), err
	}
	list := make([]any, 0, min(n, 1024))
	for range n {
		item, err := c.answer()
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// flat writes whatever an answer holds into b.
func flat(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case string:
		b.WriteString(v)
		b.WriteByte('\n')
	case []any:
		for _, item := range v {
			flat(b, item)
		}
	}
}

// refuseSharedRedis refuses a Redis that somebody else uses: what the scratch server publishes would reach them.
func (r *run) refuseSharedRedis(ctx context.Context) error {
	if r.opt.Redis == "" {
		return nil
	}
	c, err := r.dialRedis(ctx)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	keys, err := c.do("INFO", "keyspace")
	if err != nil {
		return err
	}
	channels, err := c.do("PUBSUB", "CHANNELS")
	if err != nil {
		return err
	}
	patterns, err := c.do("PUBSUB", "NUMPAT")
	if err != nil {
		return err
	}
	var all bytes.Buffer
	flat(&all, channels)
	if strings.Contains(fmt.Sprint(keys), "keys=") || all.Len() > 0 || patterns != "0" {
		return fault.Bad("prove", "--redis", "redis_used", "this Redis holds keys or has subscribers. The proof wants one of its own.")
	}
	return nil
}

// monitor records every command that Redis carries out while the proof runs.
type monitor struct {
	conn *redisConn
	done chan struct{}
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *run) watchRedis(ctx context.Context) (err error) {
	if r.opt.Redis == "" {
		return nil
	}
	m := &monitor{done: make(chan struct{})}
	if m.conn, err = r.dialRedis(ctx); err != nil {
		return err
	}
	if _, err := m.conn.do("MONITOR"); err != nil {
		return errors.Join(err, m.conn.conn.Close())
	}
	go func() {
		defer close(m.done)
		for {
			line, err := m.conn.in.ReadString('\n')
			m.mu.Lock()
			m.text.WriteString(line)
			m.text.WriteString(unescaped(line))
			m.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	r.monitor = m
	return nil
}

func (m *monitor) stop() {
	_ = m.conn.conn.Close() // ends the reading
	<-m.done
}

func (m *monitor) seen() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.text.Bytes())
}

// unescaped undoes the quoting of MONITOR, so that the bytes of an argument stand together.
func unescaped(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' || i+1 == len(line) {
			b.WriteByte(line[i])
			continue
		}
		i++
		if line[i] == 'x' && i+2 < len(line) {
			if v, err := strconv.ParseUint(line[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		switch line[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		default:
			b.WriteByte(line[i])
		}
	}
	return b.String()
}

// readers are the commands that show a value, by its type; DUMP may compress what it shows.
var readers = map[string][]string{
	"string": {"GET"}, "list": {"LRANGE", "0", "-1"}, "set": {"SMEMBERS"}, "hash": {"HGETALL"},
	"zset": {"ZRANGE", "0", "-1", "WITHSCORES"}, "stream": {"XRANGE", "-", "+"},
}

// redisHolds looks through every key that Redis holds now, and through all that was said to it so far.
func (s *search) redisHolds(ctx context.Context) error {
	if s.monitor == nil {
		return nil
	}
	c, err := s.dialRedis(ctx)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	said := s.monitor.seen()
	keys, err := c.do("KEYS", "*")
	if err != nil {
		return err
	}
	list, ok := keys.([]any)
	if !ok {
		return errors.New("redis: KEYS has no list")
	}
	var all bytes.Buffer
	for _, key := range list {
		name := fmt.Sprint(key)
		flat(&all, name)
		kind, err := c.do("TYPE", name)
		if err != nil {
			return err
		}
		for _, words := range [][]string{readers[fmt.Sprint(kind)], {"DUMP"}} {
			if len(words) == 0 {
				continue
			}
			value, err := c.do(append([]string{words[0], name}, words[1:]...)...)
			if err != nil {
				return err
			}
			flat(&all, value)
		}
	}
	s.leaks("Redis, in what it holds", s.finder.in(all.Bytes()))
	s.leaks("Redis, in what was said to it", s.finder.in(said))
	s.found.again("I7", s.when, "no canary in the values of Redis, nor in anything that was said to it")
	if gone := s.people.gone; gone != nil && len(gone.conversations) > 0 {
		s.found.check("I7", bytes.Contains(said, []byte(gone.conversations[0])), "a conversation's id is found in what was said to Redis, as it must be")
	}
	return nil
}
