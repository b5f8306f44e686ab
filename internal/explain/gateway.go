package explain

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Gateway is one state of a gateway. Safe for concurrent use; Close it.
type Gateway struct {
	set       *resource.Set
	listeners []status.Listener
	faults    []status.Condition
	table     *routing.Table
	sources   Sources
	log       *slog.Logger
	loaded    map[string]snapshot.Policy // by reference
	applied   map[target][]Policy

	over func(exchange.Authorizer) exchange.Authorizer // nil: policies are called

	mu       sync.Mutex
	compiled map[string]*policy.Policy
}

// Sources have what policies name by URL or path. nil forbids it.
type Sources struct {
	JWKS    *jwt.Fetcher
	Bundles *bundle.Fetcher
	Geo     *geo.Databases
}

// OwnSources are fetchers of their own, for programs that run no gateway. They tell nobody of failures:
// what can't be had shows in verdicts.
func OwnSources(allowPrivateJWKS bool) Sources {
	log := slog.New(slog.DiscardHandler)
	return Sources{
		JWKS:    jwt.NewFetcher(jwt.FetcherOptions{AllowPrivateAddresses: allowPrivateJWKS, Logger: log}),
		Bundles: bundle.NewFetcher(bundle.Options{AllowFiles: true, Logger: log}),
		Geo:     geo.New(geo.Options{Logger: log}),
	}
}

// Close ends the fetching of [OwnSources].
func (s Sources) Close() {
	s.JWKS.Close()
	s.Bundles.Close()
	s.Geo.Close()
}

// New takes a translation and the objects that it is of. The sources stay the caller's. The error says
// what of the configuration can't be predicted.
func New(set *resource.Set, result *translator.Result, sources Sources) (*Gateway, error) {
	table, err := routing.New(result.Snapshot)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		set: set, listeners: result.Listeners, table: table, sources: sources,
		log: slog.New(slog.DiscardHandler), loaded: map[string]snapshot.Policy{}, applied: applied(set),
		compiled: map[string]*policy.Policy{},
	}
	for _, c := range result.Conditions {
		if c.Fault() {
			g.faults = append(g.faults, c)
		}
	}
	for _, p := range result.Snapshot.Policies {
		g.loaded[p.Ref] = p
	}
	return g, nil
}

// Over has policies asked by what wrap makes of them, such as a protocol. Call it before the first request.
func (g *Gateway) Over(wrap func(exchange.Authorizer) exchange.Authorizer) { g.over = wrap }

// policy compiles the policy of a reference at its first use; nil for an unknown one.
func (g *Gateway) policy(ref string) *policy.Policy {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, ok := g.compiled[ref]; ok {
		return known
	}
	p, ok := g.loaded[ref]
	if !ok {
		return nil
	}
	deps := policy.Deps{Data: p.Data, JWKS: g.sources.JWKS, Bundles: g.sources.Bundles, Geo: g.sources.Geo, Logger: g.log}
	compiled, err := policy.Compile(p.Spec, deps)
	if err != nil {
		compiled = policy.Broken(p.Spec, deps, err)
	}
	g.compiled[ref] = compiled
	g.awaitSources()
	return compiled
}

// fetchedWithin is how long what a policy fetches is waited for, once for each policy.
const fetchedWithin = 5 * time.Second

// awaitSources gives the key sets and bundles of a policy that was just compiled their first fetch.
func (g *Gateway) awaitSources() {
	over := time.NewTimer(fetchedWithin)
	defer over.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for g.sources.pending() {
		select {
		case <-over.C:
			return
		case <-tick.C:
		}
	}
}

// pending reports whether a first fetch is under way.
func (s Sources) pending() bool {
	return s.JWKS != nil && slices.ContainsFunc(s.JWKS.States(), func(s jwt.State) bool { return s.LastAttempt.IsZero() }) ||
		s.Bundles != nil && slices.ContainsFunc(s.Bundles.States(), func(s bundle.State) bool { return s.LastAttempt.IsZero() })
}

// Close ends what runs for the policies in the background.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.compiled {
		p.Close()
	}
	g.compiled = map[string]*policy.Policy{}
}
