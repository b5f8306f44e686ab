package explain

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
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
	table     *routing.Table
	jwks      *jwt.Fetcher
	log       *slog.Logger
	loaded    map[string]snapshot.Policy // by reference
	applied   map[target][]Policy

	mu       sync.Mutex
	compiled map[string]*policy.Policy
}

// New takes a translation and the objects that it is of. jwks has the remote key sets; nil forbids
// them. The error says what of the configuration can't be predicted.
func New(set *resource.Set, result *translator.Result, jwks *jwt.Fetcher) (*Gateway, error) {
	table, err := routing.New(result.Snapshot)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		set: set, listeners: result.Listeners, table: table, jwks: jwks,
		log: slog.New(slog.DiscardHandler), loaded: map[string]snapshot.Policy{}, applied: applied(set),
		compiled: map[string]*policy.Policy{},
	}
	for _, p := range result.Snapshot.Policies {
		g.loaded[p.Ref] = p
	}
	return g, nil
}

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
	deps := policy.Deps{Data: p.Data, JWKS: g.jwks, Logger: g.log}
	compiled, err := policy.Compile(p.Spec, deps)
	if err != nil {
		compiled = policy.Broken(p.Spec, deps, err)
	}
	g.compiled[ref] = compiled
	g.awaitKeys()
	return compiled
}

// keysWithin is how long remote key sets are waited for, once for each policy.
const keysWithin = 5 * time.Second

// awaitKeys gives the key sets of a policy that was just compiled their first fetch.
func (g *Gateway) awaitKeys() {
	if g.jwks == nil {
		return
	}
	over := time.NewTimer(keysWithin)
	defer over.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(g.jwks.States(), func(s jwt.State) bool { return s.LastAttempt.IsZero() }) {
		select {
		case <-over.C:
			return
		case <-tick.C:
		}
	}
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
