package jwt

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// The cache of verified tokens is sets of four entries, read without a lock. It starts small, because
// a process may hold thousands of policies, and grows while tokens push each other out.
const (
	ways    = 4
	minSets = 16
	maxSets = 2048
)

// entry is a verified token. Only verified ones enter, so nobody fills the cache with garbage.
type entry struct {
	// sum is SHA-256 of the whole token. It is compared whole; the index is only part of it (S30).
	sum      [32]byte
	provider *provider
	// keys is the set that verified it. After a rotation the token is verified again, so a withdrawn
	// key takes its tokens along.
	keys *KeySet
	// notAfter is the end of the token's life in Unix nanoseconds, skew included; 0: none.
	notAfter int64
	token    *Token
	used     atomic.Bool
}

type set [ways]atomic.Pointer[entry]

// cache belongs to one verifier, which is one generation of one policy: policies never share verdicts.
type cache struct {
	table   atomic.Pointer[[]set]
	mu      sync.Mutex
	evicted int
}

func index(sum *[32]byte, sets int) int {
	return int(binary.LittleEndian.Uint64(sum[:8]) & uint64(sets-1)) //nolint:gosec // sets is positive
}

// find returns where the entries of the token are, one for each provider that verified it; nil: there is none.
func (c *cache) find(sum *[32]byte) *set {
	table := c.table.Load()
	if table == nil {
		return nil
	}
	return &(*table)[index(sum, len(*table))]
}

// touch keeps the entry for another round.
func (e *entry) touch() {
	if !e.used.Load() { // a shared cache line is written only once per round
		e.used.Store(true)
	}
}

// put takes a lock, which costs nothing next to the verification that came before it.
func (c *cache) put(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := c.table.Load()
	if table == nil {
		fresh := make([]set, minSets)
		table = &fresh
		c.table.Store(table)
	}
	if insert(*table, e) {
		return
	}
	if c.evicted++; c.evicted > len(*table)*ways && len(*table) < maxSets {
		c.evicted = 0
		c.table.Store(grown(*table))
	}
}

// insert takes the place of the same token, a free one, or the first that wasn't used since the last
// look (second chance). It reports whether nothing was lost.
func insert(table []set, e *entry) bool {
	bucket := &table[index(&e.sum, len(table))]
	for i := range bucket {
		if old := bucket[i].Load(); old == nil || old.sum == e.sum && old.provider == e.provider {
			bucket[i].Store(e)
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
	bucket[victim].Store(e)
	return false
}

// grown moves what there is; readers of the old table miss at most one entry and verify again.
func grown(old []set) *[]set {
	table := make([]set, 2*len(old))
	for i := range old {
		for j := range old[i] {
			if e := old[i][j].Load(); e != nil {
				insert(table, e)
			}
		}
	}
	return &table
}
