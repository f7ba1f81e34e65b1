package realtime_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/bus/realtime"
	"parley/internal/parleytest/testdb"
)

// BenchmarkFanOut publishes to one channel with n subscribers; deliveries/s counts what arrived at the far ends of
// real sockets, which share the processor with the hub.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{2, 100, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			s := newServer(b, roomy)
			var got atomic.Int64
			for i := range n {
				drainSocket(b, s, fmt.Sprintf("member:%d room:1", i), &got)
			}
			body := eventOf(300)
			b.ResetTimer()
			for i := range b.N {
				publish(b, s, "room:1", body)
				for int64(i+1)*int64(n)-got.Load() > int64(n)*200 { // 200 publications ahead at most
					runtime.Gosched()
				}
			}
			for got.Load() < int64(b.N)*int64(n) {
				runtime.Gosched()
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(s.Stats().Deliveries)/float64(max(1, s.Stats().Writes)), "frames/write")
		})
	}
}

// BenchmarkConversations is the shape of a busy chat: 3,000 publications a second, each to the two subscribers of one
// of 500 conversations (1,000 sockets), beside 1,050 idle sockets. The clients are another process; rss-MB is this one's
// whole memory and cpu-% its use of one core.
func BenchmarkConversations(b *testing.B) {
	const conversations, idle, perSecond = 500, 1050, 3000
	s := newServer(b, roomy)
	far := farEnd(b, s.url, conversations, idle)
	body := eventOf(300)
	before, cpu := s.Stats(), cpuTime(b)
	b.ResetTimer()
	start := time.Now()
	for i := 0; b.Loop(); i++ {
		if ahead := time.Duration(i)*time.Second/perSecond - time.Since(start); ahead > time.Millisecond {
			time.Sleep(ahead) // the load is a rate
		}
		publish(b, s, "conv:"+strconv.Itoa(i%conversations), body)
	}
	elapsed := b.Elapsed()
	want := 2 * int64(b.N)
	for s.Stats().Deliveries-before.Deliveries < want {
		runtime.Gosched()
	}
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "publishes/s")
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(elapsed)*100, "cpu-%")
	b.ReportMetric(rss(b), "rss-MB")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
	far(want)
}

// BenchmarkRelay publishes on one node to 100 channels with a subscriber each on another.
func BenchmarkRelay(b *testing.B) {
	s := nodes(b, testdb.Redis(b), 2, roomy)
	var got atomic.Int64
	for i := range 100 {
		drainSocket(b, s[1], fmt.Sprintf("member:%d room:%d", i, i), &got)
	}
	body := eventOf(300)
	b.ResetTimer()
	for i := range b.N {
		publish(b, s[0], "room:"+strconv.Itoa(i%100), body)
		for int64(i)-got.Load() > 20_000 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for got.Load() < int64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
}

// BenchmarkDecodeCommands reads the command that is most frequent.
func BenchmarkDecodeCommands(b *testing.B) {
	frame := []byte(`{"id":7,"rpc":{"method":"send","data":` + eventOf(200) + `}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := realtime.DecodeCommands(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func roomy(o *realtime.Options) {
	o.Limits.ConnectBurst, o.Limits.ConnectRate = 1_000_000, 1_000_000
	o.Handlers.Gone = nil
}

func eventOf(n int) string { return `{"body":"` + strings.Repeat("x", n-11) + `"}` }

// rawDial makes a socket that has connected with the token, by hand: the far end must cost little.
func rawDial(url, token string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		return nil, nil, err
	}
	command := `{"id":1,"connect":{"token":"` + token + `"}}`
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n%s",
		append([]byte{0x81, 0x80 | byte(len(command)), 0, 0, 0, 0}, command...))
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("handshake: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, fmt.Errorf("handshake: %s", res.Status)
	}
	var line []byte
	for !bytes.Contains(line, []byte(`"pong":true}}`)) {
		c, err := r.ReadByte()
		if err != nil {
			return nil, nil, err
		}
		line = append(line, c)
	}
	return conn, r, nil
}

// countPubs counts the publications that arrive. A publication begins with a mark that bodies do not hold.
func countPubs(r io.Reader, got *atomic.Int64) {
	mark := []byte(`,"pub":`)
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		if err != nil {
			return
		}
		b := buf[:kept+n]
		got.Add(int64(bytes.Count(b, mark)))
		tail := min(len(mark)-1, len(b)) // too short to hold a whole mark
		kept = copy(buf, b[len(b)-tail:])
	}
}

func drainSocket(b *testing.B, s *server, token string, got *atomic.Int64) {
	b.Helper()
	conn, r, err := rawDial(s.url, token)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	go countPubs(r, got)
}

// The far end of BenchmarkConversations is this test binary again, told so by its environment.
const envFarEnd = "PARLEY_TEST_FAR_END"

func TestMain(m *testing.M) {
	if job := os.Getenv(envFarEnd); job != "" {
		if err := beFarEnd(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func beFarEnd(job string) error {
	var url string
	var conversations, idle int
	if _, err := fmt.Sscan(job, &url, &conversations, &idle); err != nil {
		return err
	}
	var got atomic.Int64
	for i := range 2*conversations + idle {
		token := fmt.Sprintf("visitor:%d idle:%d", i, i)
		if i < 2*conversations {
			token = fmt.Sprintf("visitor:%d conv:%d", i, i/2)
		}
		_, r, err := rawDial(url, token)
		if err != nil {
			return err
		}
		go countPubs(r, &got)
	}
	fmt.Fprintln(os.Stdout, "ready")
	var want int64
	if _, err := fmt.Scan(&want); err != nil {
		return err
	}
	for late := time.Now().Add(patience); got.Load() < want && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	fmt.Fprintln(os.Stdout, got.Load())
	return nil
}

// farEnd starts the clients and returns a function that checks how many publications reached them.
func farEnd(b *testing.B, url string, conversations, idle int) func(want int64) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", envFarEnd, url, conversations, idle))
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = in.Close(); _ = cmd.Wait() }) }
	b.Cleanup(end)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		b.Fatalf("the clients did not connect: %q", lines.Text())
	}
	return func(want int64) {
		fmt.Fprintln(in, want)
		if lines.Scan(); lines.Text() != strconv.FormatInt(want, 10) {
			b.Errorf("%s of %d publications arrived", lines.Text(), want)
		}
		end()
	}
}

func rss(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	var kb float64
	for line := range strings.Lines(string(status)) {
		if after, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err = fmt.Sscan(after, &kb)
		}
	}
	if err != nil || kb == 0 {
		b.Fatal("no VmRSS", err)
	}
	return kb / 1024
}

// cpuTime is the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
