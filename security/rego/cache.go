package rego

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// The cache of decisions is read without a lock. It starts small, because a process may hold thousands of
// policies, and grows while decisions push each other out.
const (
	ways    = 4
	minSets = 16
	maxSets = 1024
)

// entry is a decision that was computed. Faults are never kept.
type entry struct {
	key string
	// caller is whose claims the policy read, nil if it reads none. It is compared by identity: as long as
	// the entry lives nobody else can be at that address.
	caller  *identity.Identity
	outcome Outcome
}

type set [ways]atomic.Pointer[entry]

// cache belongs to one compiled policy: another generation of modules or data starts anew.
type cache struct {
	seed    maphash.Seed
	table   atomic.Pointer[[]set]
	mu      sync.Mutex
	evicted uint
}

func newCache() *cache { return &cache{seed: maphash.MakeSeed()} }

// get compares the whole key; its hash only says where to look.
func (c *cache) get(key []byte, caller *identity.Identity) (Outcome, bool) {
	table := c.table.Load()
	if table == nil {
		return Outcome{}, false
	}
	bucket := &(*table)[maphash.Bytes(c.seed, key)&uint64(len(*table)-1)] //nolint:gosec // never empty
	for i := range bucket {
		if e := bucket[i].Load(); e != nil && e.caller == caller && e.key == string(key) {
			outcome := e.outcome
			outcome.Cached, outcome.Decision = true, e.outcome.Decision.clone()
			return outcome, true
		}
	}
	return Outcome{}, false
}

// put takes a lock, which costs nothing next to the evaluation that came before it.
func (c *cache) put(key []byte, caller *identity.Identity, outcome *Outcome) {
	e := &entry{key: string(key), caller: caller, outcome: *outcome}
	e.outcome.Decision = outcome.Decision.clone()
	c.mu.Lock()
	defer c.mu.Unlock()
	table := c.table.Load()
	if table == nil {
		fresh := make([]set, minSets)
		table = &fresh
		c.table.Store(table)
	}
	c.insert(*table, e)
	if c.evicted > uint(len(*table)*ways) && len(*table) < maxSets {
		c.evicted = 0
		grown := make([]set, 2*len(*table))
		for i := range *table {
			for j := range (*table)[i] {
				if old := (*table)[i][j].Load(); old != nil {
					c.insert(grown, old)
				}
			}
		}
		// Readers of the old table miss at most one entry and evaluate again.
		c.table.Store(&grown)
	}
}

// insert takes the place of the same key, a free one, or one after the other.
func (c *cache) insert(table []set, e *entry) {
	bucket := &table[maphash.String(c.seed, e.key)&uint64(len(table)-1)] //nolint:gosec // never empty
	for i := range bucket {
		if old := bucket[i].Load(); old == nil || old.caller == e.caller && old.key == e.key {
			bucket[i].Store(e)
			return
		}
	}
	c.evicted++
	bucket[c.evicted%ways].Store(e)
}
