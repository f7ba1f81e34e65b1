package client

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"time"
)

// A stamp at the end of a made-up packet says when it was made: eight bytes that no codec writes by chance, and nanoseconds since 1970. It
// measures the way through the server where both ends share a clock.
const stampSize = 16

var stampMark = []byte("\xf7parley\xf7")

func putStamp(b []byte, at time.Time) {
	copy(b[len(b)-stampSize:], stampMark)
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(at.UnixNano()))
}

// stampOf finds when a packet was made, or 0.
func stampOf(b []byte) int64 {
	if len(b) < stampSize || !bytes.Equal(b[len(b)-stampSize:len(b)-8], stampMark) {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b[len(b)-8:]))
}

// Delays counts durations in classes that are an eighth of a power of two wide, from a microsecond to a minute.
type Delays struct {
	N      uint64
	Counts [27 * 8]uint32
}

func (d *Delays) add(made int64, now time.Time) {
	if made == 0 {
		return
	}
	d.N++
	d.Counts[class(time.Duration(now.UnixNano()-made))]++
}

func class(t time.Duration) int {
	us := uint64(max(t.Microseconds(), 1))
	top := bits.Len64(us) - 1
	i := top * 8
	if top >= 3 {
		i += int(us>>(top-3)) & 7
	} else {
		i += int(us<<(3-top)) & 7
	}
	return min(i, len(Delays{}.Counts)-1)
}

// Merge adds another's counts.
func (d *Delays) Merge(o *Delays) {
	d.N += o.N
	for i, n := range o.Counts {
		d.Counts[i] += n
	}
}

// Quantile is the duration that a share q of all did not exceed, to an eighth.
func (d *Delays) Quantile(q float64) time.Duration {
	want, sum := uint64(q*float64(d.N)), uint64(0)
	for i, n := range d.Counts {
		if sum += uint64(n); sum > want || n > 0 && sum == d.N {
			return time.Duration((1 << (i / 8)) * (8 + i%8 + 1) / 8 * int(time.Microsecond)) // the class's upper edge
		}
	}
	return 0
}
