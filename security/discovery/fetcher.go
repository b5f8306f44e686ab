package discovery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/openid"
)

// How often a document is fetched again. A provider's Cache-Control max-age decides within the bounds.
const (
	DefaultRefresh = time.Hour
	MinRefresh     = 5 * time.Second
	MaxRefresh     = 24 * time.Hour
)

// Options configure a [Fetcher]. The zero value is the default.
type Options struct {
	// Keep is a folder for the last good documents. They are in force at once after a restart, and are fetched
	// anew meanwhile. "" keeps none.
	Keep string
	// FirstRetry is the pause after a failed fetch, doubled each time up to LastRetry. Defaults 1 s and 30 s.
	FirstRetry, LastRetry time.Duration
	// OnChange, if set, is called after a document has come or changed, from the fetching goroutine. It may
	// call [Fetcher.Want], and not Close.
	OnChange func()
	// Logger gets failures and recoveries; nil is [slog.Default].
	Logger *slog.Logger
}

// Documents are descriptions of providers by issuer. An unchanged one is the same pointer.
type Documents map[string]*openid.Document

// Fetcher keeps documents fresh. It is safe for concurrent use; Close stops it.
type Fetcher struct {
	opts    Options
	ctx     context.Context //nolint:containedctx // the life of the goroutines, not of a call
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sources map[string]*source // by issuer
}

// NewFetcher returns a Fetcher that fetches nothing yet.
func NewFetcher(opts Options) *Fetcher {
	opts.FirstRetry = cmp.Or(opts.FirstRetry, time.Second)
	opts.LastRetry = cmp.Or(opts.LastRetry, 30*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	keeper(opts.Keep).Prune(time.Now())
	ctx, stop := context.WithCancel(context.Background())
	return &Fetcher{opts: opts, ctx: ctx, stop: stop, sources: map[string]*source{}}
}

// Close ends all fetching and waits for fetches under way, and for OnChange.
func (f *Fetcher) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stop()
	f.running.Wait()
}

// Want says whose documents are needed: those of new issuers are fetched from now on, those of others no longer.
// It returns what is there, without waiting. An issuer that is no URL is left out.
func (f *Fetcher) Want(issuers []string) Documents {
	f.mu.Lock()
	defer f.mu.Unlock()
	for issuer, s := range f.sources {
		if !slices.Contains(issuers, issuer) {
			s.stop()
			delete(f.sources, issuer)
		}
	}
	out := Documents{}
	for _, issuer := range issuers {
		s := f.sources[issuer]
		if s == nil && !f.closed {
			s = f.begin(issuer)
		}
		if s == nil {
			continue
		}
		if document := s.good.Load(); document != nil {
			out[issuer] = document
		}
	}
	return out
}

// begin starts to fetch, with what an earlier process has kept in force meanwhile.
func (f *Fetcher) begin(issuer string) *source {
	s := newSource(f, issuer)
	if s == nil {
		return nil
	}
	if document, at := kept(f.opts.Keep, issuer); document != nil {
		s.good.Store(document)
		s.success = at
	}
	f.sources[issuer] = s
	f.running.Go(s.run)
	return s
}

func keeper(dir string) fetch.Keeper { return fetch.Keeper{Dir: dir, Extension: ".json"} }

// kept reads a document that was good once, and judges it anew.
func kept(dir, issuer string) (document *openid.Document, at time.Time) {
	file, at := keeper(dir).Open(sha256.Sum256([]byte(issuer)))
	if file == nil {
		return nil, at
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxDocument))
	if err != nil {
		return nil, at
	}
	if document, err = openid.Parse(issuer, text); err != nil {
		return nil, at
	}
	return document, at
}

// Kept returns the documents of issuers that a [Fetcher] has kept in a folder, without fetching anything.
func Kept(dir string, issuers []string) Documents {
	out := Documents{}
	for _, issuer := range issuers {
		if document, _ := kept(dir, issuer); document != nil {
			out[issuer] = document
		}
	}
	return out
}

// State is what is known of one provider's document, for statuses and metrics. It holds no secret.
type State struct {
	Issuer string
	// URL is where the document is.
	URL string
	// LastSuccess is zero before the first good fetch; it may be one of an earlier process.
	LastSuccess time.Time
	// LastAttempt is zero before the first fetch has begun, and Next before it has ended.
	LastAttempt time.Time
	// LastError is the last fetch's failure, "" after a success.
	LastError string
	// Next is when the next fetch is due.
	Next time.Time
	// Fetches and Failures count since the start of the process.
	Fetches, Failures uint64
}

// Tried reports whether the first fetch has ended.
func (s *State) Tried() bool { return !s.Next.IsZero() }

// States returns the state of every document in use, sorted by issuer.
func (f *Fetcher) States() []State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fetch.States(f.sources, (*source).state, func(s State) string { return s.Issuer })
}
