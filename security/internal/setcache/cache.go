// Package setcache is the memory of verdicts: sets of four entries that are read without a lock.
package setcache

import (
	"sync"
	"sync/atomic"
)

const (
	ways    = 4
	minSets = 16
)

// Cache holds entries by a hash of their keys. The hash, from a secret seed, only says where to look: what an
// entry is remembered for the callers compare themselves, whole. It starts small, because a process may hold
// thousands of policies, and grows while entries push each other out.
//
// A Cache is used concurrently. An entry isn't changed once it is in.
type Cache[E any] struct {
	maxSets int
	table   atomic.Pointer[[]set[E]]
	mu      sync.Mutex
	evicted int
}

type set[E any] [ways]atomic.Pointer[slot[E]]

type slot[E any] struct {
	entry E
	hash  uint64
	used  atomic.Bool
}

// New returns a Cache of at most 4 × maxSets entries, a power of two from 16 on.
func New[E any](maxSets int) *Cache[E] { return &Cache[E]{maxSets: maxSets} }

// Get returns the entry with that hash which is the wanted one, or nil.
func (c *Cache[E]) Get(hash uint64, wanted func(*E) bool) *E {
	table := c.table.Load()
	if table == nil {
		return nil
	}
	bucket := at(*table, hash)
	for i := range bucket {
		s := bucket[i].Load()
		if s == nil || s.hash != hash || !wanted(&s.entry) {
			continue
		}
		if !s.used.Load() { // a shared cache line is written only once per round
			s.used.Store(true)
		}
		return &s.entry
	}
	return nil
}

// Put adds an entry in place of the one with that hash that is the same, if any, or of one that wasn't asked for
// lately. It takes a lock, which costs nothing next to what was computed before it.
func (c *Cache[E]) Put(hash uint64, entry E, same func(*E) bool) {
	fresh := &slot[E]{entry: entry, hash: hash}
	c.mu.Lock()
	defer c.mu.Unlock()
	table := c.table.Load()
	if table == nil {
		first := make([]set[E], minSets)
		table = &first
		c.table.Store(table)
	}
	if insert(*table, fresh, same) {
		return
	}
	if c.evicted++; c.evicted > len(*table)*ways && len(*table) < c.maxSets {
		c.evicted = 0
		c.table.Store(grown(*table))
	}
}

func at[E any](table []set[E], hash uint64) *set[E] {
	return &table[hash&uint64(len(table)-1)] //nolint:gosec // never empty
}

// insert takes the place of the same entry, a free one, or the first that wasn't used since the last look (second
// chance). It reports whether nothing was lost.
func insert[E any](table []set[E], s *slot[E], same func(*E) bool) bool {
	bucket := at(table, s.hash)
	for i := range bucket {
		if old := bucket[i].Load(); old == nil || old.hash == s.hash && same(&old.entry) {
			bucket[i].Store(s)
			return true
		}
	}
	victim := 0
	for i := range bucket {
		if !bucket[i].Load().used.Swap(false) {
			victim = i
			break
		}
	}
	bucket[victim].Store(s)
	return false
}

// grown moves what there is; readers of the old table miss at most one entry and compute again.
func grown[E any](old []set[E]) *[]set[E] {
	table := make([]set[E], 2*len(old))
	for i := range old {
		for j := range old[i] {
			if s := old[i][j].Load(); s != nil {
				insert(table, s, func(*E) bool { return false })
			}
		}
	}
	return &table
}
