package discovery

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
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
	sources *poll.Group[string, *source] // by issuer
	wanting sync.Mutex                   // one list at a time
}

// NewFetcher returns a Fetcher that fetches nothing yet.
func NewFetcher(opts Options) *Fetcher {
	keeper(opts.Keep).Prune(time.Now())
	return &Fetcher{opts: opts, sources: poll.NewGroup[string, *source](poll.Options{
		FirstRetry: opts.FirstRetry, LastRetry: opts.LastRetry, Logger: opts.Logger,
	})}
}

// Close ends all fetching and waits for fetches under way, and for OnChange.
func (f *Fetcher) Close() { f.sources.Close() }

// Want says whose documents are needed: those of new issuers are fetched from now on, those of others no longer.
// It returns what is there, without waiting. An issuer that is no URL is left out.
func (f *Fetcher) Want(issuers []string) Documents {
	f.wanting.Lock()
	defer f.wanting.Unlock()
	f.sources.Retain(issuers)
	out := Documents{}
	for _, issuer := range issuers {
		at, err := locate(issuer)
		if err != nil {
			continue
		}
		s, err := f.sources.Join(issuer, func() *source { return newSource(f, issuer, at) }, func(*source) {})
		if err != nil && s == nil {
			continue // closed, and nothing was ever there
		}
		if document := s.good.Load(); document != nil {
			out[issuer] = document
		}
	}
	return out
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
	return poll.States(f.sources, (*source).state, func(s State) string { return s.Issuer })
}
