package jwt

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// source is one remote key set. Unknown kids cut the wait for the next fetch short, never below the cooldown.
type source struct {
	*poll.Source

	fetcher *Fetcher
	uri     string
	client  *http.Client
	leases  poll.Uses[*lease]

	good atomic.Pointer[goodKeys]
}

type goodKeys struct {
	keys *KeySet
	at   time.Time
}

func newSource(f *Fetcher, key sourceKey, roots *x509.CertPool) *source {
	s := &source{fetcher: f, uri: key.uri, client: fetch.NewClient(roots, key.private)}
	s.Source = f.sources.NewSource(s, poll.Messages{
		Failed: "can't fetch JWKS", Recovered: "JWKS fetched again", Attrs: []any{"uri", fetch.Shown(s.uri)},
	})
	return s
}

// Look implements [poll.Task].
func (s *source) Look(ctx context.Context) (changed bool, err error) {
	body, _, err := fetch.Get(ctx, s.client, s.uri, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return false, err
	}
	keys, err := ParseKeySet(body)
	if err != nil {
		return false, err
	}
	// Unchanged keys keep their identity, so that verified tokens stay verified.
	last := s.good.Load()
	if changed = last == nil || last.keys.sum != keys.sum; !changed {
		keys = last.keys
	}
	s.good.Store(&goodKeys{keys: keys, at: s.Record().LastAttempt})
	return changed, nil
}

// Looked implements [poll.Task].
func (s *source) Looked(bool) {
	if s.fetcher.opts.OnFetch != nil {
		s.fetcher.opts.OnFetch(s.state())
	}
}

// Interval implements [poll.Task].
func (s *source) Interval() time.Duration {
	return max(cmp.Or(s.leases.Shortest(), DefaultCacheDuration), time.Second)
}

func (s *source) state() State {
	r := s.Record()
	state := State{
		URI: s.uri, LastSuccess: r.LastSuccess, LastAttempt: r.LastAttempt, LastError: r.LastError, Next: r.Next,
		Fetches: r.Fetches, Failures: r.Failures,
	}
	if got := s.good.Load(); got != nil {
		state.Keys, state.Refused = got.keys.Len(), got.keys.Refused()
	}
	return state
}
