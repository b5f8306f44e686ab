package standalone

import (
	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// explainer answers /api/explain about what is in force.
func (g *gateway) explainer() *explain.Handler {
	return &explain.Handler{State: g.statuses.current, Sources: explain.Sources{JWKS: g.jwks, Bundles: g.bundles}}
}

// current returns the latest input and its translation; nil before the first.
func (s *statuses) current() (*resource.Set, *translator.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.result
}
