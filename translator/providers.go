package translator

import (
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// Provider is an OpenID provider that a SecurityPolicy in force names by its issuer alone.
type Provider struct {
	Issuer string
	Policy string // namespace/name
}

func provider(s *policy.Security) Provider { return Provider{Issuer: s.Issuer, Policy: s.Spec.Name} }

// Issuers lists the providers whose descriptions are needed, each once, sorted.
func (r *Result) Issuers() []string {
	all := make([]string, 0, len(r.Providers))
	for _, p := range r.Providers {
		all = append(all, p.Issuer)
	}
	return slices.Compact(all)
}
