package jwt

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// Defaults of a remote key set.
const (
	DefaultCacheDuration = 5 * time.Minute
	DefaultMaxStale      = 24 * time.Hour
	// DefaultCooldown is the shortest time between two fetches that unknown keys cause.
	DefaultCooldown = 10 * time.Second
)

// FetcherOptions configure a [Fetcher]. The zero value is the default.
type FetcherOptions struct {
	// AllowPrivateAddresses lets every policy fetch from private addresses and over http, as if each had
	// the setting of that name.
	AllowPrivateAddresses bool
	// Cooldown is the shortest time between a fetch and one that an unknown kid causes; 0 is
	// [DefaultCooldown].
	Cooldown time.Duration
	// FirstRetry is the pause after a failed fetch, doubled each time up to LastRetry. Defaults 1 s and
	// 30 s.
	FirstRetry, LastRetry time.Duration
	// OnFetch, if set, is called after every fetch with the new state, from the fetching goroutine.
	OnFetch func(State)
	// Offline checks what is asked for and fetches nothing: for looking at policies without their network.
	Offline bool
	// Logger gets failures and recoveries; nil is [slog.Default].
	Logger *slog.Logger
}

// Fetcher keeps remote key sets fresh, one for each URI, however many policies use it. It is safe for
// concurrent use and lives as long as the process; Close stops it.
type Fetcher struct {
	opts    FetcherOptions
	sources *poll.Group[sourceKey, *source]
}

// sourceKey tells key sets apart: the same URI under another CA is another server, and one that may be
// private must not be reached through a policy that may not.
type sourceKey struct {
	uri     string
	ca      [32]byte
	private bool
}

// NewFetcher returns a Fetcher without any key set. It starts no goroutine until a policy needs one.
func NewFetcher(opts FetcherOptions) *Fetcher {
	opts.Cooldown = cmp.Or(opts.Cooldown, DefaultCooldown)
	return &Fetcher{opts: opts, sources: poll.NewGroup[sourceKey, *source](poll.Options{
		FirstRetry: opts.FirstRetry, LastRetry: opts.LastRetry, Offline: opts.Offline, Logger: opts.Logger,
	})}
}

// Close ends all fetching and waits for fetches under way. Keys that were fetched stay usable until
// they are too old.
func (f *Fetcher) Close() { f.sources.Close() }

// register starts fetching, if nobody did yet. The first keys are on their way when it returns.
func (f *Fetcher) register(spec *config.RemoteJWKS, data config.Data) (*lease, error) {
	private := spec.AllowPrivateAddresses || f.opts.AllowPrivateAddresses
	if err := fetch.CheckURI(spec.URI, private); err != nil {
		return nil, fmt.Errorf("uri: %w", err)
	}
	roots, ca, err := fetch.Roots(spec.CACertificate, data)
	if err != nil {
		return nil, err
	}
	key := sourceKey{uri: spec.URI, ca: ca, private: private}
	l := &lease{fetcher: f, key: key, refresh: cmp.Or(spec.CacheDuration, DefaultCacheDuration), maxStale: cmp.Or(spec.MaxStale, DefaultMaxStale)}
	if l.refresh < 0 || l.maxStale < 0 {
		return nil, errors.New("cacheDuration and maxStale must not be negative")
	}
	l.source, err = f.sources.Join(key, func() *source { return newSource(f, key, roots) }, func(s *source) {
		s.leases.Add(l, l.refresh)
		s.Shorten()
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// lease is one policy's use of a source.
type lease struct {
	fetcher  *Fetcher
	key      sourceKey
	source   *source
	refresh  time.Duration
	maxStale time.Duration
	once     sync.Once
}

// current applies this policy's maxStale: policies that share a key set may differ in it.
func (l *lease) current(now time.Time) *KeySet {
	got := l.source.good.Load()
	if got == nil || now.Sub(got.at) > l.maxStale {
		return nil
	}
	return got.keys
}

func (l *lease) unknownKid() { l.source.LookSoon(l.fetcher.opts.Cooldown) }

// release may be called more than once.
func (l *lease) release() {
	l.once.Do(func() {
		l.fetcher.sources.Leave(l.key, func() (left int) { return l.source.leases.Drop(l) })
	})
}

// State is what is known of one remote key set, for statuses and metrics. It holds no secret.
type State struct {
	URI string
	// LastSuccess is zero before the first good fetch.
	LastSuccess time.Time
	LastAttempt time.Time
	// LastError is the last fetch's failure, "" after a success.
	LastError string
	// Next is when the next fetch is due.
	Next time.Time
	// Keys is the number of usable keys in force, Refused why others were left out.
	Keys    int
	Refused []string
	// Fetches and Failures count since the start of the process.
	Fetches, Failures uint64
}

// Shown is the URI without its query, which may be a credential.
func (s *State) Shown() string { return fetch.Shown(s.URI) }

// States returns the state of every key set in use, sorted by URI.
func (f *Fetcher) States() []State {
	return poll.States(f.sources, (*source).state, func(s State) string { return s.URI })
}
