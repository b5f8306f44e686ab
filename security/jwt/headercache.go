package jwt

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// maxHeaders is the number of different JOSE headers that are remembered. An issuer has one for each
// signing key.
const maxHeaders = 64

// headerCache remembers the parsed form of headers that stood before a good signature, so that garbage
// never enters. Reading takes no lock.
type headerCache struct {
	known atomic.Pointer[map[string]header]
	mu    sync.Mutex
}

func (c *headerCache) parse(segment string) (header, error) {
	if known := c.known.Load(); known != nil {
		if h, found := (*known)[segment]; found {
			return h, nil
		}
	}
	return parseHeader(segment)
}

// learn copies the whole map: it happens once for each signing key, reading for each new token.
func (c *headerCache) learn(segment string, h header) {
	if known := c.known.Load(); known != nil {
		if _, found := (*known)[segment]; found || len(*known) >= maxHeaders {
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[string]header{}
	if known := c.known.Load(); known != nil {
		next = maps.Clone(*known)
	}
	if len(next) < maxHeaders {
		next[strings.Clone(segment)] = h
		c.known.Store(&next)
	}
}
