package forward

import "time"

// Limits of the cache of one layer. A video layer keeps at most 512 KiB of payloads, whatever its bitrate.
const (
	// CacheWindow is how long a packet should stay available for retransmission.
	CacheWindow = time.Second

	chunkSize    = 16 << 10
	videoChunks  = 32
	audioChunks  = 2
	videoEntries = 512 // powers of two
	audioEntries = 128
)

// cache keeps the last packets of one layer. Payloads lie in chunks that are filled one after the other; the oldest
// chunk is filled anew when its packets have left the window, or when there may be no more chunks.
type cache struct {
	entries []entry // by sequence number
	chunks  []chunk
	max     int
	current int
}

type chunk struct {
	buf    []byte
	serial uint32        // how often it was begun: an entry of an earlier time is stale
	newest time.Duration // arrival of the last packet in it
}

type entry struct {
	seq    uint64
	gen    uint32
	pic    int64
	ts     uint32
	serial uint32
	chunk  uint16
	offset uint16
	size   uint16
	used   bool
	empty  bool // padding: nothing is kept but that it was there
	marker bool
	desc   descriptor
}

// cacheEntries is how many packets a cache may hold.
func cacheEntries(codec Codec) int {
	if codec.Video() {
		return videoEntries
	}
	return audioEntries
}

// put keeps a copy of the packet.
func (c *cache) put(codec Codec, p *Packet) {
	if c.entries == nil {
		c.entries, c.max = make([]entry, cacheEntries(codec)), audioChunks
		if codec.Video() {
			c.max = videoChunks
		}
		c.chunks = append(make([]chunk, 0, c.max), chunk{buf: make([]byte, 0, chunkSize)})
	}
	at := &c.entries[p.seq&uint64(len(c.entries)-1)]
	*at = entry{seq: p.seq, gen: p.gen, ts: p.ts, used: true, empty: p.empty}
	if p.empty {
		return
	}
	ch := &c.chunks[c.current]
	if len(ch.buf)+len(p.payload) > chunkSize {
		c.advance(p.at)
		ch = &c.chunks[c.current]
	}
	at.pic, at.marker, at.desc = p.pic, p.marker, p.desc
	at.chunk, at.serial, at.offset, at.size = uint16(c.current), ch.serial, uint16(len(ch.buf)), uint16(len(p.payload))
	ch.buf = append(ch.buf, p.payload...)
	ch.newest = p.at
}

// advance makes room: in the oldest chunk, which follows the current one, or in a new chunk while the oldest is needed.
// Chunks are only added behind the last one, so that they stay in order.
func (c *cache) advance(at time.Duration) {
	next := (c.current + 1) % len(c.chunks)
	needed := next == c.current || at-c.chunks[next].newest < CacheWindow
	if needed && next == 0 && len(c.chunks) < c.max {
		c.chunks = append(c.chunks, chunk{buf: make([]byte, 0, chunkSize)})
		c.current = len(c.chunks) - 1
		return
	}
	c.current = next
	c.chunks[next].serial++
	c.chunks[next].buf = c.chunks[next].buf[:0]
}

// get returns a packet and its payload, which stays as it is until the next put; false when it is not there any more.
func (c *cache) get(gen uint32, seq uint64) (e entry, payload []byte, ok bool) {
	if len(c.entries) == 0 {
		return e, nil, false
	}
	e = c.entries[seq&uint64(len(c.entries)-1)]
	if !e.used || e.seq != seq || e.gen != gen {
		return e, nil, false
	}
	if e.empty {
		return e, nil, true
	}
	ch := &c.chunks[e.chunk]
	if ch.serial != e.serial {
		return e, nil, false
	}
	return e, ch.buf[e.offset : e.offset+e.size], true
}
