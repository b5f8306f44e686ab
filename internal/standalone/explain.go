package standalone

import (
	"slices"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// explainer answers /api/explain about what is in force.
func (g *gateway) explainer() *explain.Handler {
	shown := &shown{}
	return &explain.Handler{State: func() (*resource.Set, *translator.Result) {
		set, result, refusals := g.statuses.current()
		return set, shown.of(result, g.agent.Shown(), refusals)
	}, Sources: explain.Sources{JWKS: g.jwks, Bundles: g.bundles, Geo: g.geo}}
}

// shown makes of a translation what Envoy is shown of it: without routes that it refuses and listeners whose port is
// taken. The same inputs give the same pointer.
type shown struct {
	mu       sync.Mutex
	result   *translator.Result
	snap     *snapshot.Snapshot
	refusals []agent.Refusal
	made     *translator.Result
}

func (s *shown) of(result *translator.Result, snap *snapshot.Snapshot, refusals []agent.Refusal) *translator.Result {
	if result == nil || snap == nil || snap == result.Snapshot {
		return result
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result == result && s.snap == snap && slices.Equal(s.refusals, refusals) {
		return s.made
	}
	conditions := slices.Clone(result.Conditions)
	for _, r := range refusals {
		conditions = append(conditions, Refused(r.Route, r.Words)...)
	}
	s.result, s.snap, s.refusals = result, snap, refusals
	s.made = &translator.Result{Snapshot: snap, Conditions: conditions, Listeners: result.Listeners}
	return s.made
}

// current returns the latest input, its translation and the routes that Envoy refuses; nil before the first.
func (s *statuses) current() (*resource.Set, *translator.Result, []agent.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.result, s.refusals
}
