package authserver

import (
	"errors"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	translated "github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// errForeign indicates a policy of which the authorizer could enforce only a part.
var errForeign = errors.New("spec.extAuth is Envoy's part; configure that filter in Envoy itself and remove it here")

// policies holds the compiled policies by namespace/name.
type policies struct {
	translator *translator.Translator
	fetcher    *jwt.Fetcher
	bundles    *bundle.Fetcher
	decisions  *decisionlog.Log
	config     Config
	current    atomic.Pointer[map[string]*policy.Policy]
}

func newPolicies(t *translator.Translator, fetcher *jwt.Fetcher, bundles *bundle.Fetcher, decisions *decisionlog.Log, config Config) *policies {
	p := &policies{translator: t, fetcher: fetcher, bundles: bundles, decisions: decisions, config: config}
	p.current.Store(&map[string]*policy.Policy{})
	return p
}

func (p *policies) len() int { return len(*p.current.Load()) }

// choose goes by what Envoy's configuration says, never by what the client sent. nil is denied.
func (p *policies) choose(r *exchange.Request) exchange.Authorizer {
	name, ok := r.Extension(envoy.ExtensionPolicy)
	if !ok {
		name = p.config.DefaultPolicy
	}
	if chosen, ok := (*p.current.Load())[name]; ok {
		return chosen
	}
	return nil
}

// load compiles every policy of the set. One that can't be used denies with 503.
func (p *policies) load(set *resource.Set, problems []resource.Problem) {
	for _, problem := range problems {
		p.config.Logger.Error(problem.String())
	}
	next := map[string]*policy.Policy{}
	for _, s := range p.translator.Policies(set) {
		next[s.Spec.Name] = p.compile(s)
	}
	old := p.current.Swap(&next)
	for _, gone := range *old {
		gone.Close()
	}
}

func (p *policies) compile(s *translated.Security) *policy.Policy {
	deps := policy.Deps{Data: s.Data, JWKS: p.fetcher, Bundles: p.bundles, Decisions: p.decisions, CORSHeaders: true, Logger: p.config.Logger}
	err := errForeign
	var compiled *policy.Policy
	if s.ExtAuth == nil {
		compiled, err = policy.Compile(s.Spec, deps)
	}
	if err != nil {
		p.config.Logger.Error("policy can't be enforced; its requests are answered 503", "policy", s.Spec.Name, "error", err)
		return policy.Broken(s.Spec, deps, err)
	}
	return compiled
}
