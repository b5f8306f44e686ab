package setcache_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/internal/setcache"
)

type entry struct{ key, value string }

func keyed(key string) func(*entry) bool { return func(e *entry) bool { return e.key == key } }

func put(c *setcache.Cache[entry], hash uint64, key string) {
	c.Put(hash, entry{key: key, value: "of " + key}, keyed(key))
}

func has(t *testing.T, c *setcache.Cache[entry], hash uint64, key string) bool {
	t.Helper()
	e := c.Get(hash, keyed(key))
	if e != nil && e.value != "of "+key {
		t.Errorf("asked for %s, got what is remembered %s", key, e.value)
	}
	return e != nil
}

func TestEntriesOfOneHashAreKeptApart(t *testing.T) {
	t.Parallel()
	c := setcache.New[entry](16)
	for _, key := range []string{"a", "b", "c"} {
		put(c, 7, key)
	}
	for _, key := range []string{"a", "b", "c"} {
		if !has(t, c, 7, key) {
			t.Errorf("%s is forgotten", key)
		}
	}
	if has(t, c, 7, "d") || has(t, c, 7+16, "a") {
		t.Error("found what was never put, or by another hash")
	}
}

func TestAnEntryReplacesTheOneOfItsKey(t *testing.T) {
	t.Parallel()
	c := setcache.New[entry](16)
	put(c, 1, "a")
	c.Put(1, entry{key: "a", value: "newer"}, keyed("a"))
	if e := c.Get(1, keyed("a")); e == nil || e.value != "newer" {
		t.Errorf("got %v", e)
	}
}

func TestWhatIsAskedForOutlivesWhatIsNot(t *testing.T) {
	t.Parallel()
	c := setcache.New[entry](16)
	for _, key := range []string{"a", "b", "c", "d"} {
		put(c, 3, key)
	}
	for i := range 50 {
		for _, key := range []string{"a", "b"} {
			if !has(t, c, 3, key) {
				t.Fatalf("%s is gone after %d others", key, i)
			}
		}
		put(c, 3, "other "+strconv.Itoa(i))
	}
}

func TestACacheGrowsToItsBound(t *testing.T) {
	t.Parallel()
	const sets = 64
	c := setcache.New[entry](sets)
	count := func(keys int) (kept int) {
		for i := range keys {
			if has(t, c, uint64(i), strconv.Itoa(i)) {
				kept++
			}
		}
		return kept
	}
	const keys = 4 * sets
	for range 8 { // each round pushes some out until there is room for all
		for i := range keys {
			put(c, uint64(i), strconv.Itoa(i))
		}
	}
	if kept := count(keys); kept != keys {
		t.Errorf("%d of %d entries fit in", kept, keys)
	}
	for i := range 40 * sets {
		put(c, uint64(i), strconv.Itoa(i))
	}
	if kept := count(40 * sets); kept > keys {
		t.Errorf("%d entries in a cache for %d", kept, keys)
	}
}

func TestReadersNeverGetAnothersEntry(t *testing.T) {
	t.Parallel()
	c := setcache.New[entry](16)
	var readers sync.WaitGroup
	for worker := range 4 {
		readers.Go(func() {
			for i := range 5000 {
				key := strconv.Itoa((i*7 + worker) % 300)
				hash := uint64(len(key)) // nearly all collide
				if !has(t, c, hash, key) {
					put(c, hash, key)
				}
			}
		})
	}
	readers.Wait()
}
