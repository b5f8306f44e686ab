package rego

import (
	"hash/maphash"

	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/internal/setcache"
)

// maxSets bounds the decisions that one policy remembers: four times as many.
const maxSets = 1024

// entry is a decision that was computed. Faults are never kept.
type entry struct {
	key string
	// caller is whose claims the policy read, nil if it reads none. It is compared by identity: as long as
	// the entry lives nobody else can be at that address.
	caller  *identity.Identity
	outcome Outcome
}

// cache belongs to one compiled policy: another generation of modules or data starts anew.
type cache struct {
	seed    maphash.Seed
	entries *setcache.Cache[entry]
}

func newCache() *cache {
	return &cache{seed: maphash.MakeSeed(), entries: setcache.New[entry](maxSets)}
}

// get compares the whole key; its hash only says where to look.
func (c *cache) get(key []byte, caller *identity.Identity) (Outcome, bool) {
	e := c.entries.Get(maphash.Bytes(c.seed, key), func(e *entry) bool { return e.caller == caller && e.key == string(key) })
	if e == nil {
		return Outcome{}, false
	}
	outcome := e.outcome
	outcome.Cached, outcome.Decision = true, e.outcome.Decision.clone()
	return outcome, true
}

func (c *cache) put(key []byte, caller *identity.Identity, outcome *Outcome) {
	fresh := entry{key: string(key), caller: caller, outcome: *outcome}
	fresh.outcome.Decision = outcome.Decision.clone()
	c.entries.Put(maphash.Bytes(c.seed, key), fresh, func(e *entry) bool { return e.caller == caller && e.key == fresh.key })
}
