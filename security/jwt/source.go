package jwt

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
)

// source is one remote key set and the goroutine that keeps it fresh:
//
//	          ┌── good ──▶ wait 80-100 % of cacheDuration ──┐
//	fetch ────┤                                             ├──▶ fetch
//	          └── bad ───▶ wait 1, 2, 4 … 30 s ─────────────┘
//
// Unknown kids cut the wait short, never below the cooldown since the last fetch, good or bad.
type source struct {
	fetcher *Fetcher
	uri     string
	client  *http.Client
	ctx     context.Context //nolint:containedctx // the life of the goroutine, not of a call
	stop    context.CancelFunc
	kick    chan struct{} // fetch now
	sooner  chan struct{} // a policy joined that asks for a shorter wait

	good atomic.Pointer[goodKeys]

	mu       sync.Mutex
	leases   map[*lease]struct{}
	attempt  time.Time
	next     time.Time
	failure  error
	failures int // in a row
	fetches  uint64
	failed   uint64
}

type goodKeys struct {
	keys *KeySet
	at   time.Time
}

func newSource(f *Fetcher, key sourceKey, roots *x509.CertPool) *source {
	ctx, stop := context.WithCancel(f.ctx)
	return &source{
		fetcher: f, uri: key.uri, client: fetch.NewClient(roots, key.private), ctx: ctx, stop: stop,
		kick: make(chan struct{}, 1), sooner: make(chan struct{}, 1), leases: map[*lease]struct{}{},
	}
}

// hold adds a policy. One that asks for a shorter cacheDuration brings the next fetch forward: the bound
// on a withdrawn key is the policy's, not that of whoever came first.
func (s *source) hold(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[l] = struct{}{}
	if latest := s.attempt.Add(s.refresh()); s.next.After(latest) {
		s.next = latest
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

func (s *source) drop(l *lease) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, l)
	return len(s.leases)
}

// kickNow asks for a fetch and returns at once. Within the cooldown nothing is remembered: the next
// request with an unknown kid asks again.
func (s *source) kickNow() {
	s.mu.Lock()
	cold := time.Since(s.attempt) >= s.fetcher.opts.Cooldown
	s.mu.Unlock()
	if !cold {
		return
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *source) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		case <-s.sooner:
			timer.Reset(time.Until(s.state().Next))
			continue
		case <-s.kick:
			if time.Since(s.lastAttempt()) < s.fetcher.opts.Cooldown {
				continue
			}
		}
		s.note(s.fetch())
		timer.Reset(time.Until(s.state().Next))
		if s.ctx.Err() == nil && s.fetcher.opts.OnFetch != nil {
			s.fetcher.opts.OnFetch(s.state())
		}
	}
}

func (s *source) lastAttempt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt
}

// fetch gets and parses the keys. A panic anywhere in it is a failed fetch, not the end of the process.
func (s *source) fetch() (keys *KeySet, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	s.mu.Lock()
	s.attempt = time.Now()
	s.fetches++
	s.mu.Unlock()
	body, _, err := fetch.Get(s.ctx, s.client, s.uri, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return nil, err
	}
	return ParseKeySet(body)
}

// note logs only the first of several failures: a server that is down for a day is one event.
func (s *source) note(keys *KeySet, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, now := s.fetcher.opts.Logger, time.Now()
	if err != nil {
		if s.failures == 0 && s.ctx.Err() == nil {
			log.Warn("can't fetch JWKS", "uri", s.uri, "error", err)
		}
		s.failure = err
		s.next = now.Add(s.fetcher.backoff().Pause(s.failures))
		s.failures++
		s.failed++
		return
	}
	if s.failures > 0 {
		log.Info("JWKS fetched again", "uri", s.uri, "failures", s.failures)
	}
	s.failure, s.failures = nil, 0
	// Unchanged keys keep their identity, so that verified tokens stay verified.
	if last := s.good.Load(); last != nil && last.keys.sum == keys.sum {
		keys = last.keys
	}
	s.good.Store(&goodKeys{keys: keys, at: s.attempt})
	// Never later than cacheDuration, which bounds how long a withdrawn key works.
	s.next = s.attempt.Add(fetch.Early(s.refresh()))
}

// refresh is the shortest that a policy asks for.
func (s *source) refresh() time.Duration {
	var shortest time.Duration
	for l := range s.leases {
		if shortest == 0 || l.refresh < shortest {
			shortest = l.refresh
		}
	}
	return max(cmp.Or(shortest, DefaultCacheDuration), time.Second)
}

func (s *source) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{URI: s.uri, LastAttempt: s.attempt, Next: s.next, Fetches: s.fetches, Failures: s.failed}
	if s.failure != nil {
		state.LastError = s.failure.Error()
	}
	if got := s.good.Load(); got != nil {
		state.LastSuccess, state.Keys, state.Refused = got.at, got.keys.Len(), got.keys.Refused()
	}
	return state
}
