// Package poll keeps fresh what policies need and others change: key sets, bundles, descriptions of providers,
// databases. Each is a [Source] with one goroutine, however many policies use it; a [Group] is those of one kind.
package poll

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ErrClosed indicates a [Group] that fetches nothing any more.
var ErrClosed = errors.New("the fetcher is closed")

// Options configure a [Group]. The zero value is the default.
type Options struct {
	// FirstRetry is the pause after a failed fetch, doubled each time up to LastRetry. Defaults 1 s and 30 s.
	FirstRetry, LastRetry time.Duration
	// Offline opens sources and fetches nothing by itself.
	Offline bool
	// Logger gets failures and recoveries; nil is [slog.Default].
	Logger *slog.Logger
}

// Polled is what a [Group] holds: a type that embeds its [Source].
type Polled interface {
	Run()
	Stop()
}

// Group is the sources of one kind, by what tells them apart. It is safe for concurrent use; Close ends it.
type Group[K comparable, S Polled] struct {
	// Log is never nil.
	Log *slog.Logger

	backoff Backoff
	offline bool
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sources map[K]S
}

// NewGroup returns a Group without any source. It starts no goroutine until there is one.
func NewGroup[K comparable, S Polled](opts Options) *Group[K, S] {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:gosec // G118: Close calls it
	return &Group[K, S]{
		Log:     cmp.Or(opts.Logger, slog.Default()),
		backoff: Backoff{First: cmp.Or(opts.FirstRetry, time.Second), Last: cmp.Or(opts.LastRetry, 30*time.Second)},
		offline: opts.Offline,
		ctx:     ctx, cancel: cancel, sources: map[K]S{},
	}
}

// Close ends all fetching and waits for the fetches under way and what they call. What was fetched stays.
func (g *Group[K, S]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.running.Wait()
}

// NewSource returns a source that is ended by Close too.
func (g *Group[K, S]) NewSource(task Task, said Messages) *Source {
	ctx, cancel := context.WithCancel(g.ctx)
	return &Source{ctx: ctx, cancel: cancel, task: task, said: said, log: g.Log, backoff: g.backoff, sooner: make(chan struct{}, 1)}
}

// Join returns the source of a key, opened if there is none yet. hold is called before its first look, which asks
// for the interval; it must not call the Group.
func (g *Group[K, S]) Join(key K, open func() S, hold func(S)) (S, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, known := g.sources[key]
	if g.closed {
		return s, ErrClosed
	}
	if !known {
		s = open()
		g.sources[key] = s
	}
	hold(s)
	if !known && !g.offline {
		g.running.Go(s.Run)
	}
	return s, nil
}

// Leave stops a source that nobody uses any more, as drop says. drop must not call the Group.
func (g *Group[K, S]) Leave(key K, drop func() (left int)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if drop() == 0 {
		g.remove(key)
	}
}

// Retain stops all sources but those of these keys.
func (g *Group[K, S]) Retain(keys []K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key := range g.sources {
		if !slices.Contains(keys, key) {
			g.remove(key)
		}
	}
}

func (g *Group[K, S]) remove(key K) {
	if s, known := g.sources[key]; known {
		s.Stop()
		delete(g.sources, key)
	}
}

// States asks every source for its state, sorted by name.
func States[K comparable, S Polled, T any](g *Group[K, S], state func(S) T, name func(T) string) []T {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]T, 0, len(g.sources))
	for _, s := range g.sources {
		states = append(states, state(s))
	}
	slices.SortFunc(states, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return states
}
