package vault

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// cacheShards spreads the locks; a power of two.
const cacheShards = 64

// cached is what a cache holds: it knows whether a destroyed key concerns it.
type cached interface {
	hit(gone map[keyID]bool) bool
}

// cache keeps a bounded number of open keys. When it is full an entry that was not used lately makes room.
type cache[K comparable, V cached] struct {
	seed   maphash.Seed
	cap    int // entries a shard holds
	shards [cacheShards]cacheShard[K, V]
}

type cacheShard[K comparable, V cached] struct {
	mu sync.RWMutex
	m  map[K]*cacheItem[V]
}

type cacheItem[V cached] struct {
	v    V
	used atomic.Bool
}

func newCache[K comparable, V cached](size int) *cache[K, V] {
	c := &cache[K, V]{seed: maphash.MakeSeed(), cap: max(1, size/cacheShards)}
	for i := range c.shards {
		c.shards[i].m = map[K]*cacheItem[V]{}
	}
	return c
}

func (c *cache[K, V]) shard(k K) *cacheShard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	s := c.shard(k)
	s.mu.RLock()
	it := s.m[k]
	s.mu.RUnlock()
	if it == nil {
		return v, false
	}
	if !it.used.Load() {
		it.used.Store(true)
	}
	return it.v, true
}

// put keeps v unless something was evicted since gen was read: then v may be of a destroyed key.
func (c *cache[K, V]) put(k K, v V, now *atomic.Uint64, gen uint64) bool {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Load() != gen {
		return false
	}
	if _, have := s.m[k]; !have && len(s.m) >= c.cap {
		s.makeRoom()
	}
	it := &cacheItem[V]{v: v}
	it.used.Store(true)
	s.m[k] = it
	return true
}

// makeRoom drops one of a few entries met at random, if possible one that was not used since it was last met.
func (s *cacheShard[K, V]) makeRoom() {
	met := 0
	for k, it := range s.m {
		met++
		if !it.used.Swap(false) || met == 8 {
			delete(s.m, k)
			return
		}
	}
	for k := range s.m { // fewer than eight, all in use
		delete(s.m, k)
		return
	}
}

// evict drops what the destroyed keys concern.
func (c *cache[K, V]) evict(gone map[keyID]bool) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, it := range s.m {
			if it.v.hit(gone) {
				delete(s.m, k)
			}
		}
		s.mu.Unlock()
	}
}

func (c *cache[K, V]) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		clear(s.m)
		s.mu.Unlock()
	}
}

func (c *cache[K, V]) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}
