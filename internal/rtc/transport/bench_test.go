//go:build unix

package transport_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/cc"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/transport/v4/udp"

	"parley/internal/rtc/transport"
)

// cpu is what this process has used of the processors.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs f and reports the processor time of one packet: of all threads, the kernel's part included.
func measure(b *testing.B, f func(n int)) {
	b.ReportAllocs()
	b.ResetTimer()
	from := cpu()
	f(b.N)
	b.ReportMetric(float64(cpu()-from)/float64(b.N), "cpu-ns/packet")
}

// sinks are the sockets of subscribers. Nobody reads: what arrives too much is dropped by the kernel, at the same cost for all.
func sinks(b *testing.B, n int) (at []netip.AddrPort, old []net.Addr) {
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		_ = c.SetReadBuffer(1 << 16)
		at, old = append(at, c.LocalAddr().(*net.UDPAddr).AddrPort()), append(old, c.LocalAddr())
	}
	return at, old
}

// BenchmarkSocket is the write path with and without batches: one packet of a 720p stream to each of 100 subscribers
// in turn, as fast as it goes, and at the pace of a camera (130 packets a second for each).
func BenchmarkSocket(b *testing.B) {
	packet := make([]byte, 1200)
	at, old := sinks(b, 100)
	open := func(b *testing.B) *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		_ = c.SetWriteBuffer(4 << 20)
		return c
	}
	paced := func(n int, write func(i int)) {
		tick := time.NewTicker(time.Second / 130)
		defer tick.Stop()
		for i := range n {
			if i%len(at) == 0 {
				<-tick.C
			}
			write(i)
		}
	}
	flat := func(n int, write func(i int)) {
		for i := range n {
			write(i)
		}
	}
	for pace, run := range map[string]func(int, func(int)){"flat": flat, "paced": paced} {
		b.Run(pace+"/single", func(b *testing.B) {
			c := open(b)
			defer c.Close()
			measure(b, func(n int) { run(n, func(i int) { _, _ = c.WriteToUDPAddrPort(packet, at[i%len(at)]) }) })
		})
		for _, size := range []int{32, 128} {
			b.Run(pace+"/batch", func(b *testing.B) {
				c := udp.NewBatchConn(open(b), size, 2*time.Millisecond)
				measure(b, func(n int) { run(n, func(i int) { _, _ = c.WriteTo(packet, old[i%len(old)]) }) })
				_ = c.Close()
			})
		}
	}
}

// BenchmarkDownlink is what numbering, remembering and estimating cost for each packet, ours and the library's.
func BenchmarkDownlink(b *testing.B) {
	info := &interceptor.StreamInfo{SSRC: 1, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: sdp.TransportCCURI, ID: 5}}}
	end := interceptor.RTPWriterFunc(func(_ *rtp.Header, p []byte, _ interceptor.Attributes) (int, error) { return len(p), nil })
	payload := make([]byte, 1100)
	run := func(w interceptor.RTPWriter) func(*testing.B) {
		return func(b *testing.B) {
			measure(b, func(n int) {
				var h rtp.Header
				for i := range n {
					h = rtp.Header{Version: 2, SSRC: 1, SequenceNumber: uint16(i), Extensions: h.Extensions[:0]}
					_, _ = w.Write(&h, payload, nil)
				}
			})
		}
	}
	ours, _, _ := transport.Downlink(time.Now)
	b.Run("ours", run(ours.BindLocalStream(info, end)))
	f, err := cc.NewInterceptor(func() (cc.BandwidthEstimator, error) {
		return gcc.NewSendSideBWE(gcc.SendSideBWEPacer(gcc.NewNoOpPacer()), gcc.WithLoggerFactory(quiet{}))
	})
	if err != nil {
		b.Fatal(err)
	}
	estimator, err := f.NewInterceptor("")
	if err != nil {
		b.Fatal(err)
	}
	defer estimator.Close()
	numbers, _ := (&twcc.HeaderExtensionInterceptorFactory{}).NewInterceptor("")
	b.Run("library", run(numbers.BindLocalStream(info, estimator.BindLocalStream(info, end))))
	b.Run("nothing", run(end))
}

// BenchmarkSubscriber is the whole way of a packet to one subscriber: extension, SRTP, ICE, socket.
func BenchmarkSubscriber(b *testing.B) {
	tr := open(b, everything(b))
	_, track, _, _, _ := subscribe(b, tr)
	p := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, 1100)}
	measure(b, func(n int) {
		for i := range n {
			p.SequenceNumber = uint16(i)
			_ = track.WriteRTP(p)
		}
	})
}
