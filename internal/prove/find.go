package prove

import (
	"encoding/binary"
	"errors"
	"io"
)

// finder looks for many needles at once, in one pass over the bytes however many they are.
type finder struct {
	exact, folded matcher
	longest       int
	piece         int // how much of a file is looked through at a time, in bytes
}

// matcher finds needles by their first eight bytes.
type matcher struct {
	filter [1 << 13]uint64 // a bit for each head that may be there
	heads  map[uint64][]needle
}

// hit is a canary that was found, and how it could be read.
type hit struct {
	canary *canary
	form   string
}

func newFinder(canaries []*canary) *finder {
	f := &finder{piece: pieceSize, exact: matcher{heads: map[uint64][]needle{}}, folded: matcher{heads: map[uint64][]needle{}}}
	for _, c := range canaries {
		f.add(c.needles()...)
	}
	return f
}

func (f *finder) add(needles ...needle) {
	for _, n := range needles {
		if len(n.bytes) < minNeedle {
			continue
		}
		f.longest = max(f.longest, len(n.bytes))
		m := &f.exact
		if n.fold {
			m, n.bytes = &f.folded, fold(nil, n.bytes)
		}
		head := binary.LittleEndian.Uint64(n.bytes)
		m.heads[head] = append(m.heads[head], n)
		bit := slot(head)
		m.filter[bit>>6] |= 1 << (bit & 63)
	}
}

func slot(head uint64) uint64 { return head * 0x9e3779b97f4a7c15 >> 45 }

func (m *matcher) scan(data []byte, found map[hit]bool) {
	for i := 0; i+minNeedle <= len(data); i++ {
		head := binary.LittleEndian.Uint64(data[i:])
		bit := slot(head)
		if m.filter[bit>>6]&(1<<(bit&63)) == 0 {
			continue
		}
		for _, n := range m.heads[head] {
			if len(data)-i >= len(n.bytes) && string(data[i:i+len(n.bytes)]) == string(n.bytes) {
				found[hit{n.canary, n.form}] = true
			}
		}
	}
}

// fold appends data in lower case (ASCII) to dst.
func fold(dst, data []byte) []byte {
	for _, b := range data {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// in returns what is found in data.
func (f *finder) in(data []byte) map[hit]bool {
	found := map[hit]bool{}
	f.exact.scan(data, found)
	f.folded.scan(fold(make([]byte, 0, len(data)), data), found)
	return found
}

const pieceSize = 1 << 20

// inAll returns what is found in everything that r has to say, and how many bytes that was.
func (f *finder) inAll(r io.Reader) (found map[hit]bool, size int64, err error) {
	found = map[hit]bool{}
	buf, folded := make([]byte, 0, f.piece+f.longest), make([]byte, 0, f.piece+f.longest)
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+f.piece])
		size += int64(n)
		buf = buf[:len(buf)+n]
		f.exact.scan(buf, found)
		folded = fold(folded[:0], buf)
		f.folded.scan(folded, found)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return found, size, nil
		}
		if err != nil {
			return found, size, err
		}
		keep := min(len(buf), f.longest) // a needle may begin in this piece and end in the next
		buf = buf[:copy(buf, buf[len(buf)-keep:])]
	}
}
