package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// foreign says of a field why the authorizer would enforce only a part of its policy.
const foreign = "spec.%s: is Envoy's part; configure that filter in Envoy itself and remove it here"

// policies holds what the authorizer enforces. load is not concurrent with itself; choose is.
type policies struct {
	translator *translator.Translator
	fetcher    *jwt.Fetcher
	bundles    *bundle.Fetcher
	geo        *geo.Databases
	decisions  *decisionlog.Log
	config     Config
	seals      *envoy.Builder // nil: verdicts carry no proof
	told       map[string]bool
	troubled   bool // the last report had problems
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
	p.last = p.translator.Translate(set, p.last)
	found := &standalone.Checked{Set: set, Problems: problems, Result: relevant(set, p.last)}
	for _, s := range p.translator.Policies(set) {
		fields := s.Foreign()
		faults := make([]error, 0, len(fields))
		for _, field := range fields {
			faults = append(faults, fmt.Errorf(foreign, field))
		}
		compiled, err := p.compile(s.Spec, s.Data, s.Spec.Name, errors.Join(faults...))
		next.byName[s.Spec.Name] = compiled
		found.Facts = append(found.Facts, faultsOf(s.Spec, err)...)
	}
	if set.Gateways.Len() > 0 {
		found.Facts = append(found.Facts, p.loadRoutes(next)...)
	}
	p.report(next, found)
	if old := p.current.Swap(next); old != nil {
		for _, gone := range slices.AppendSeq(slices.Collect(maps.Values(old.byName)), maps.Values(old.byRef)) {
			gone.Close()
		}
	}
}

// relevant leaves out what only a gateway needs if there is none: policies are then chosen by name, whether or not
// their targets exist.
func relevant(set *resource.Set, result *translator.Result) *translator.Result {
	out := &translator.Result{Conditions: result.Conditions}
	if set.Gateways.Len() == 0 {
		out.Conditions = slices.DeleteFunc(slices.Clone(result.Conditions), func(c status.Condition) bool {
			return c.Object.Kind != "SecurityPolicy" || c.Reason == string(gatewayv1.PolicyReasonTargetNotFound)
		})
	}
	return out
}

// loadRoutes prepares the choice by host and path.
func (p *policies) loadRoutes(next *state) (faults []status.Condition) {
	table, err := routing.New(p.last.Snapshot)
	if err != nil {
		next.problems = append(next.problems, "no policy can be chosen by host and path: "+err.Error())
		return nil
	}
	next.table = table
	for _, s := range p.last.Snapshot.Policies {
		compiled, err := p.compile(s.Spec, s.Data, s.Ref, nil)
		next.byRef[s.Ref] = compiled
		faults = append(faults, faultsOf(s.Spec, err)...)
	}
	return faults
}

// compile makes one authorizer, which denies everything if err says why it can't be enforced; fault is what is
// known to be wrong already.
func (p *policies) compile(spec *config.Policy, data config.Data, sealedAs string, fault error) (compiled *policy.Policy, err error) {
	deps := policy.Deps{Data: data, JWKS: p.fetcher, Bundles: p.bundles, Geo: p.geo, Decisions: p.decisions, CORSHeaders: true, Logger: p.config.Logger}
	if p.seals != nil {
		deps.Metadata = map[string]any{envoy.SealKey: p.seals.Seal(sealedAs), envoy.CheckedKey: p.seals.Checked()}
	}
	if fault == nil {
		if compiled, fault = policy.Compile(spec, deps); fault == nil {
			return compiled, nil
		}
	}
	return policy.Broken(spec, deps, fault), fault
}

// faultsOf are the conditions for the error of a policy that couldn't be compiled. What the translation has found
// stands in its own.
func faultsOf(spec *config.Policy, err error) []status.Condition {
	if err == nil || err.Error() == spec.Fault {
		return nil
	}
	return standalone.CompileFaults(spec.Name, err)
}

// report notes what is wrong, in the words of gatehouse validate, and logs each thing once for as long as it lasts.
func (p *policies) report(next *state, found *standalone.Checked) {
	faults, warnings := found.Findings()
	for _, f := range faults {
		next.problems = append(next.problems, f.String())
	}
	if name := p.config.DefaultPolicy; name != "" && next.byName[name] == nil {
		next.problems = append(next.problems, fmt.Sprintf("--default-policy %s: no such SecurityPolicy is among the files; requests that name none are answered 503", name))
	}
	now := map[string]bool{}
	tell := func(level slog.Level, text string) {
		if !p.told[text] && !now[text] {
			p.config.Logger.Log(context.Background(), level, text)
		}
		now[text] = true
	}
	for _, w := range warnings {
		tell(slog.LevelWarn, w.String())
	}
	for _, text := range next.problems {
		tell(slog.LevelError, text)
	}
	if len(next.problems) == 0 && p.troubled {
		p.config.Logger.Log(context.Background(), slog.LevelInfo, "all problems are gone")
	}
	p.told, p.troubled = now, len(next.problems) > 0
}

// problems are what is wrong with the files now.
func (p *policies) problems() []string { return p.current.Load().problems }
