package bundle

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// Defaults and limits of polling.
const (
	DefaultPollInterval     = 60 * time.Second
	DefaultFilePollInterval = time.Second
	minPollInterval         = time.Second
)

// Options configure a [Fetcher]. The zero value is the default.
type Options struct {
	// AllowFiles lets policies name file:///PATH, for programs whose manifests and files are one person's.
	AllowFiles bool
	// Keep is a folder for the last good archive of each server's bundle. It is used again only while the
	// first fetch after a start fails, and its signature is checked again. "" keeps none.
	Keep string
	// FirstRetry is the pause after a failed fetch, doubled each time up to LastRetry. Defaults 1 s and 30 s.
	FirstRetry, LastRetry time.Duration
	// Offline checks what is asked for and fetches nothing: for looking at policies without their network.
	Offline bool
	// OnFetch, if set, is called after every fetch with the new state, from the fetching goroutine.
	OnFetch func(State)
	// Logger gets failures and recoveries; nil is [slog.Default].
	Logger *slog.Logger
}

// Fetcher keeps bundles fresh, each once however many policies use it. It is safe for concurrent use and
// lives as long as the process; Close stops it.
type Fetcher struct {
	opts    Options
	keep    fetch.Keeper
	sources *poll.Group[sourceKey, *source]
}

// sourceKey tells bundles apart: one URL under another key or CA is another bundle, and one that may be
// private must not be reached through a policy that may not.
type sourceKey struct {
	url       string
	ca, key   [32]byte
	algorithm string
	private   bool
	version   ast.RegoVersion
}

// NewFetcher returns a Fetcher without any bundle. It starts no goroutine until a policy needs one.
func NewFetcher(opts Options) *Fetcher {
	keep := fetch.Keeper{Dir: opts.Keep, Extension: ".tar.gz"}
	keep.Prune(time.Now())
	return &Fetcher{opts: opts, keep: keep, sources: poll.NewGroup[sourceKey, *source](poll.Options{
		FirstRetry: opts.FirstRetry, LastRetry: opts.LastRetry, Offline: opts.Offline, Logger: opts.Logger,
	})}
}

// Close ends all fetching and waits for fetches under way. Bundles that were fetched stay in force.
func (f *Fetcher) Close() { f.sources.Close() }

// Offline reports whether the fetcher fetches nothing.
func (f *Fetcher) Offline() bool { return f.opts.Offline }

// Subscribe starts fetching a bundle for a policy, if nobody did yet. A file is read before it returns, a
// server's bundle comes later. changed is called from the fetching goroutine whenever [Subscription.Current]
// has changed. It must not call Subscribe or Release.
func (f *Fetcher) Subscribe(policy string, spec *config.Bundle, version ast.RegoVersion, data config.Data, changed func()) (*Subscription, error) {
	key, roots, keys, err := f.resolve(spec, version, data)
	if err != nil {
		return nil, err
	}
	interval := spec.PollInterval
	switch {
	case interval == 0 && isFile(spec.URL):
		interval = DefaultFilePollInterval
	case interval == 0:
		interval = DefaultPollInterval
	case interval < minPollInterval:
		return nil, fmt.Errorf("pollInterval: %s is less than %s", interval, minPollInterval)
	}
	use := &Subscription{fetcher: f, key: key, use: Use{Policy: policy}, changed: changed}
	use.source, err = f.sources.Join(key, func() *source { return newSource(f, key, roots, keys) }, func(s *source) {
		first := s.uses.Add(use, interval) == 1
		s.Shorten()
		if first && isFile(key.url) && !f.opts.Offline {
			s.LookNow()
		}
	})
	if err != nil {
		return nil, err
	}
	return use, nil
}

// resolve checks a spec. Its errors name the field.
func (f *Fetcher) resolve(spec *config.Bundle, version ast.RegoVersion, data config.Data) (key sourceKey, roots *x509.CertPool, keys *opabundle.VerificationConfig, err error) {
	key = sourceKey{url: spec.URL, algorithm: spec.Algorithm, private: spec.AllowPrivateAddresses, version: version}
	if err := f.checkURL(spec); err != nil {
		return key, nil, nil, err
	}
	if roots, key.ca, err = fetch.Roots(spec.CACertificate, data); err != nil {
		return key, nil, nil, err
	}
	if spec.Key == nil {
		return key, roots, nil, nil
	}
	text, err := data.Resolve(*spec.Key)
	if err != nil {
		return key, nil, nil, fmt.Errorf("signing.keyRef: %w", err)
	}
	key.key = sha256.Sum256(text)
	keys, err = verification(text, spec.Algorithm)
	return key, roots, keys, err
}

func (f *Fetcher) checkURL(spec *config.Bundle) error {
	if !isFile(spec.URL) {
		if err := fetch.CheckURI(spec.URL, spec.AllowPrivateAddresses); err != nil {
			return fmt.Errorf("url: %w", err)
		}
		return nil
	}
	if !f.opts.AllowFiles {
		return errFiles
	}
	if path := filePath(spec.URL); !filepath.IsAbs(path) || path != filepath.Clean(path) {
		return errURL
	}
	return nil
}

func isFile(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && parsed.Scheme == "file"
}

// filePath is "" for a URL with a host or anything else that isn't a plain path.
func filePath(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host != "" || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.User != nil {
		return ""
	}
	return parsed.Path
}

// Subscription is one policy's use of a bundle. Safe for concurrent use.
type Subscription struct {
	fetcher *Fetcher
	key     sourceKey
	source  *source
	changed func()
	once    sync.Once

	mu  sync.Mutex
	use Use
}

// Current returns the contents in force; nil before the first good fetch. They are immutable.
func (s *Subscription) Current() *rego.Bundle {
	if got := s.source.good.Load(); got != nil {
		return got.Bundle
	}
	return nil
}

// Report notes for [State] how the policy gets on: whether it has something in force, and why it can't use
// the newest contents, nil if it does.
func (s *Subscription) Report(inForce bool, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.use.Fault
	s.use.InForce, s.use.Fault = inForce, ""
	if fault == nil {
		return
	}
	if s.use.Fault = fault.Error(); s.use.Fault != before {
		s.fetcher.sources.Log.Warn("policy can't use its bundle as it is now", "policy", s.use.Policy, "url", s.source.name, "error", fault)
	}
}

func (s *Subscription) state() Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.use
}

// Release ends the use. It may be called more than once. changed may still be running when it returns.
func (s *Subscription) Release() {
	s.once.Do(func() {
		s.fetcher.sources.Leave(s.key, func() (left int) { return s.source.uses.Drop(s) })
	})
}

// States returns the state of every bundle in use, sorted by URL.
func (f *Fetcher) States() []State {
	return poll.States(f.sources, (*source).state, func(s State) string { return s.URL })
}
