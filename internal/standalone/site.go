package standalone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
)

// Site is manifests on which requests are tried, without a gateway that runs. Close it.
type Site struct {
	*Checked

	Gateway *explain.Gateway
	sources explain.Sources
}

// OpenSite reads manifests. What they fetch by URL is fetched. The error wraps ErrInput if nothing can be
// read.
func OpenSite(paths []string, allowPrivateJWKS bool) (*Site, error) {
	checked, err := check(paths, fetchProviders)
	if err != nil {
		return nil, err
	}
	s := &Site{Checked: checked, sources: explain.OwnSources(allowPrivateJWKS)}
	if s.Gateway, err = explain.New(checked.Set, checked.Result, s.sources); err != nil {
		s.sources.Close()
		return nil, err
	}
	return s, nil
}

// fetchedWithin is how long descriptions of OpenID providers are waited for, all together.
const fetchedWithin = 5 * time.Second

// fetchProviders fetches what providers say about themselves once. What can't be had shows in verdicts.
func fetchProviders(issuers []string) discovery.Documents {
	f := discovery.NewFetcher(discovery.Options{Logger: slog.New(slog.DiscardHandler)})
	defer f.Close()
	f.Want(issuers)
	over := time.NewTimer(fetchedWithin)
	defer over.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(f.States(), func(s discovery.State) bool { return !s.Tried() }) {
		select {
		case <-over.C:
			return f.Want(issuers)
		case <-tick.C:
		}
	}
	return f.Want(issuers)
}

// Close ends all fetching.
func (s *Site) Close() {
	s.Gateway.Close()
	s.sources.Close()
}

// Faults writes what is wrong with the manifests, a line each, and reports whether there was anything.
func (s *Site) Faults(w io.Writer) bool {
	faults, _ := s.Findings()
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	return len(faults) > 0
}

// Envoy starts one for trials; explicit is its path or "". The error wraps ErrEnvironment if there is none.
func (s *Site) Envoy(ctx context.Context, explicit string) (*policytest.Envoy, error) {
	binary, err := proxy.Find(ctx, explicit)
	if err == nil {
		err = proxy.CheckVersion(ctx, binary)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return policytest.StartEnvoy(ctx, binary, s.Gateway, s.Result.Snapshot, s.sources)
}
