package explain

import (
	"cmp"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// target is what policies attach to.
type target struct{ kind, namespace, name, section string }

// applied lists the policies of every target: of one kind the older first, then the lesser by name
// (Gateway API, "conflict resolution").
func applied(set *resource.Set) map[target][]Policy {
	all := map[target][]Policy{}
	for key, targets := range gatewayapi.PolicyTargets(set) {
		for _, t := range targets {
			at := target{t.Kind, t.Namespace, t.Name, t.Section}
			all[at] = append(all[at], Policy{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Target: t.String()})
		}
	}
	for _, policies := range all {
		slices.SortFunc(policies, func(a, b Policy) int {
			return cmp.Or(cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), created(set, a).Compare(created(set, b)),
				cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	return all
}

// policyKinds are in the order in which a request meets what they say.
var policyKinds = []string{"ClientTrafficPolicy", "SecurityPolicy", "EnvoyExtensionPolicy", "BackendTrafficPolicy", "EnvoyPatchPolicy", "BackendTLSPolicy"}

func kindOrder(kind string) int {
	if at := slices.Index(policyKinds, kind); at >= 0 {
		return at
	}
	return len(policyKinds)
}

func created(set *resource.Set, p Policy) time.Time {
	switch p.Kind {
	case "SecurityPolicy":
		return creation(set.SecurityPolicies, p)
	case "EnvoyExtensionPolicy":
		return creation(set.EnvoyExtensionPolicies, p)
	case "ClientTrafficPolicy":
		return creation(set.ClientTrafficPolicies, p)
	case "BackendTrafficPolicy":
		return creation(set.BackendTrafficPolicies, p)
	}
	return time.Time{}
}

func creation[T resource.Object](table resource.Table[T], p Policy) time.Time {
	object, ok := table.Get(p.Namespace, p.Name)
	if !ok {
		return time.Time{}
	}
	return object.GetCreationTimestamp().Time
}

// policies lists what applies to a rule below a listener, the most specific first within each kind.
// spec is the security policy that the route really has, nil without one.
func (g *Gateway) policies(r *Route, l *Listener, spec *config.Policy) []Policy {
	var chain []Policy
	for _, t := range g.levels(r, l) {
		chain = append(chain, g.applied[t]...)
	}
	slices.SortStableFunc(chain, func(a, b Policy) int { return cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)) })
	seen := map[string]bool{}
	var out []Policy
	for _, p := range chain {
		key := p.Kind + "/" + p.Namespace + "/" + p.Name
		if seen[key] {
			continue
		}
		p.InForce = !seen[p.Kind]
		seen[key], seen[p.Kind] = true, true
		if p.Kind == "SecurityPolicy" {
			p.InForce = spec != nil && p.Namespace+"/"+p.Name == spec.Name
			if p.InForce {
				p.Enforces = Enforces(spec)
			}
		}
		out = append(out, p)
	}
	return out
}

// levels are the targets that a request passes, the nearest first.
func (g *Gateway) levels(r *Route, l *Listener) []target {
	var all []target
	if r != nil && r.Kind != "" {
		if r.RuleName != "" {
			all = append(all, target{r.Kind, r.Namespace, r.Name, r.RuleName})
		}
		all = append(all, target{r.Kind, r.Namespace, r.Name, ""})
	}
	if l == nil {
		return all
	}
	all = append(all, target{l.Kind, l.Namespace, l.Name, l.Listener}, target{l.Kind, l.Namespace, l.Name, ""})
	if l.Kind == "ListenerSet" {
		if set, ok := g.set.ListenerSets.Get(l.Namespace, l.Name); ok {
			parent := gatewayapi.GatewayOf(set)
			all = append(all, target{"Gateway", parent.Namespace, parent.Name, ""})
		}
	}
	return all
}

// Enforces says in words what a policy does, in the order in which it does it.
func Enforces(p *config.Policy) []string {
	var all []string
	say := func(is bool, text string) {
		if is {
			all = append(all, text)
		}
	}
	say(p.Fault != "", "denies everything (503): "+p.Fault)
	say(p.CORS != nil, "cors")
	mode := ""
	if p.Mode == config.Any {
		mode = " (any of the methods)"
	}
	say(p.BasicAuth != nil, "basicAuth"+mode)
	say(p.JWT != nil && !p.JWT.Optional && !p.JWT.FailOpen, "jwt"+mode)
	say(p.JWT != nil && p.JWT.FailOpen, "jwt (failOpen)"+mode)
	say(p.JWT != nil && p.JWT.Optional, "jwt (optional)")
	say(p.APIKey != nil, "apiKeyAuth"+mode)
	say(p.Authorization != nil, "authorization")
	say(p.OPA != nil, "opa")
	say(p.DryRun, "dryRun: denials are logged, not enforced")
	return all
}

// Authenticates reports whether no request without a valid credential passes the policy.
func Authenticates(p *config.Policy) bool {
	if p.Fault != "" {
		return true
	}
	if p.DryRun {
		return false
	}
	mandatory := p.BasicAuth != nil || p.APIKey != nil || p.JWT != nil && !p.JWT.Optional
	if p.Mode == config.Any && p.JWT != nil && p.JWT.Optional {
		return false
	}
	return mandatory
}
