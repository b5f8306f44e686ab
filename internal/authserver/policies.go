package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// errForeign indicates a policy of which the authorizer could enforce only a part.
var errForeign = errors.New("is Envoy's part; configure that filter in Envoy itself and remove it here")

// policies holds what the authorizer enforces. load is not concurrent with itself; choose is.
type policies struct {
	translator *translator.Translator
	fetcher    *jwt.Fetcher
	bundles    *bundle.Fetcher
	decisions  *decisionlog.Log
	config     Config
	seals      *envoy.Builder // nil: verdicts carry no proof
	told       map[string]bool
	last       *translator.Result
	current    atomic.Pointer[state]
}

// state is one state of the files. Immutable.
type state struct {
	byName   map[string]*policy.Policy // each policy by itself
	byRef    map[string]*policy.Policy // as the files' routes have it, merged
	table    *routing.Table            // nil: the files hold no routes
	problems []string
}

func (p *policies) len() int { return len(p.current.Load().byName) }

// choose goes by what Envoy's configuration says, never by what the client sent. nil is denied.
func (p *policies) choose(r *exchange.Request) exchange.Authorizer {
	chosen, why := p.find(r)
	if chosen == nil {
		return p.nobody(r, why)
	}
	return chosen
}

// nameOf returns the name of the policy that choose has chosen for a request.
func (p *policies) nameOf(r *exchange.Request) string {
	if chosen, _ := p.find(r); chosen != nil {
		return chosen.Name()
	}
	return ""
}

func (p *policies) find(r *exchange.Request) (chosen *policy.Policy, why string) {
	now := p.current.Load()
	name, named := r.Extension(envoy.ExtensionPolicy)
	if !named {
		name = p.config.DefaultPolicy
	}
	if named || name != "" {
		return now.byName[name], whyUnknownName
	}
	ref, why := byRoute(now.table, r)
	if why != "" {
		return nil, why
	}
	return now.byRef[ref], whyNoPolicy
}

// nobody says why a request is denied without a policy; the path alone, since credentials may stand in a
// query.
func (p *policies) nobody(r *exchange.Request, why string) exchange.Authorizer {
	p.config.Logger.Warn("no policy can be chosen; the request is answered 503", "why", why,
		"host", r.Authority(), "path", pathOnly(r.Path()))
	return nil
}

// load compiles every policy of the set, by itself and as routes have it. One that can't be used denies
// with 503.
func (p *policies) load(set *resource.Set, problems []resource.Problem) {
	next := &state{byName: map[string]*policy.Policy{}, byRef: map[string]*policy.Policy{}}
	for _, problem := range problems {
		next.problems = append(next.problems, problem.String())
	}
	for _, s := range p.translator.Policies(set) {
		fault := error(nil)
		if foreign := s.Foreign(); len(foreign) > 0 {
			fault = fmt.Errorf("spec.%s %w", strings.Join(foreign, ", spec."), errForeign)
		}
		next.byName[s.Spec.Name] = p.compile(next, s.Spec, s.Data, s.Spec.Name, fault)
	}
	if set.Gateways.Len() > 0 {
		p.loadRoutes(next, set)
	}
	p.report(next.problems)
	if old := p.current.Swap(next); old != nil {
		for _, gone := range slices.AppendSeq(slices.Collect(maps.Values(old.byName)), maps.Values(old.byRef)) {
			gone.Close()
		}
	}
}

// loadRoutes prepares the choice by host and path.
func (p *policies) loadRoutes(next *state, set *resource.Set) {
	p.last = p.translator.Translate(set, p.last)
	table, err := routing.New(p.last.Snapshot)
	if err != nil {
		next.problems = append(next.problems, "no policy can be chosen by host and path: "+err.Error())
		return
	}
	next.table = table
	for _, s := range p.last.Snapshot.Policies {
		next.byRef[s.Ref] = p.compile(next, s.Spec, s.Data, s.Ref, nil)
	}
}

// compile makes one authorizer; fault is what is known to be wrong already.
func (p *policies) compile(next *state, spec *config.Policy, data config.Data, sealedAs string, fault error) *policy.Policy {
	deps := policy.Deps{Data: data, JWKS: p.fetcher, Bundles: p.bundles, Decisions: p.decisions, CORSHeaders: true, Logger: p.config.Logger}
	if p.seals != nil {
		deps.Metadata = map[string]any{envoy.SealKey: p.seals.Seal(sealedAs), envoy.CheckedKey: p.seals.Checked()}
	}
	if fault == nil {
		compiled, err := policy.Compile(spec, deps)
		if err == nil {
			return compiled
		}
		fault = err
	}
	next.problems = append(next.problems, "SecurityPolicy "+spec.Name+": "+fault.Error()+"; its requests are answered 503")
	return policy.Broken(spec, deps, fault)
}

// report logs each problem once for as long as it lasts.
func (p *policies) report(problems []string) {
	now := map[string]bool{}
	for _, text := range problems {
		if !p.told[text] && !now[text] {
			p.config.Logger.Error(text)
		}
		now[text] = true
	}
	if len(p.told) > 0 && len(now) == 0 {
		p.config.Logger.Log(context.Background(), slog.LevelInfo, "all problems are gone")
	}
	p.told = now
}

// problems are what is wrong with the files now.
func (p *policies) problems() []string { return p.current.Load().problems }
