// Package translator turns objects into a [snapshot.Snapshot] and statuses. It is pure: no I/O, no
// clock, no goroutines; equal objects in any order give equal bytes.
//
// It is incremental: a [Result] remembers what each HTTPRoute, Gateway and policy contributed and what
// was read for it, and the next translation reuses whatever still holds.
package translator

import (
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// The controller names of GatewayClasses that stand-alone Gatehouse serves.
const (
	ControllerName             = "gatehouse.dev/gateway-controller"
	EnvoyGatewayControllerName = "gateway.envoyproxy.io/gatewayclass-controller"
)

// Options are the inputs of a translation beside the objects.
type Options struct {
	// ControllerNames lists the GatewayClasses' controllers that are served.
	ControllerNames []string
	// SealKey is random and secret; with another key all routes of protected listeners change.
	SealKey []byte
	// PrivateDirs hold sockets of the gateway's own, which can't be backends: clean absolute paths.
	PrivateDirs []string
	// Gateway, as namespace/name, limits the translation to one Gateway; "" takes all.
	Gateway string
}

// Translator translates. Immutable, safe for concurrent use.
type Translator struct {
	builder  *envoy.Builder
	classes  gatewayapi.Classes
	backends gatewayapi.Backends
}

// New returns a Translator.
func New(o Options) *Translator {
	return &Translator{builder: &envoy.Builder{SealKey: o.SealKey}, classes: gatewayapi.Classes{Controllers: o.ControllerNames, Only: o.Gateway}, backends: gatewayapi.Backends{Private: o.PrivateDirs}}
}

// Result is a translation's outcome. Immutable.
type Result struct {
	Snapshot   *snapshot.Snapshot
	Conditions []status.Condition // sorted
	Listeners  []status.Listener  // of the Gateways that are served, sorted
	// Reused counts the pieces taken over from the previous Result.
	Reused int

	graph    *memo.Graph
	input    *gatewayapi.Input
	assembly *assembly
}

// Translate translates a set. prev, which may be nil, must come from the same Translator; it changes
// the cost, never the outcome.
func (t *Translator) Translate(set *resource.Set, prev *Result) *Result {
	if prev == nil {
		prev = &Result{}
	}
	input := gatewayapi.NewInput(set, prev.input)
	graph := memo.New(prev.graph, input.Leaf, input.Moved, t.rules())
	a := newAssembly(t.builder, prev.assembly)
	for _, g := range set.Gateways.All() {
		a.gateway(memo.Value[*gatewayapi.Gateway](graph, memo.Key{Kind: gatewayapi.GatewayKind, Namespace: g.Namespace, Name: g.Name}))
	}
	a.bind()
	for _, r := range set.HTTPRoutes.All() {
		a.route(memo.Value[*unit](graph, memo.Key{Kind: routeKind, Namespace: r.Namespace, Name: r.Name}))
	}
	t.unattached(set, graph, a)
	a.conditions = append(a.conditions, unsupported(set)...)
	a.conditions = append(a.conditions, orphans(set)...)
	a.conditions = append(a.conditions, backendFaults(set, graph)...)
	a.conditions = append(a.conditions, input.PolicyConditions(t.classes)...)
	graph.Done()
	return &Result{
		Snapshot: a.snapshot(), Conditions: status.Sort(a.conditions), Listeners: a.listenerFacts(), Reused: graph.Reused(),
		graph: graph, input: input, assembly: a.done(),
	}
}

func (t *Translator) rules() map[memo.Kind]memo.Rule {
	return map[memo.Kind]memo.Rule{
		gatewayapi.GatewayKind: t.classes.Rule,
		gatewayapi.BackendKind: t.backends.Rule,
		policy.SecurityKind:    policy.SecurityRule,
		policy.ExtensionKind:   policy.ExtensionRule,
		routeKind:              t.routeRule,
	}
}

// Policies resolves every SecurityPolicy by itself, whether or not its target exists, in the order of
// namespace and name: for an authorizer whose callers name the policy.
func (t *Translator) Policies(set *resource.Set) []*policy.Security {
	graph := memo.New(nil, gatewayapi.NewInput(set, nil).Leaf, nil, t.rules())
	all := make([]*policy.Security, 0, set.SecurityPolicies.Len())
	for _, p := range set.SecurityPolicies.All() {
		all = append(all, memo.Value[*policy.Security](graph, memo.Key{Kind: policy.SecurityKind, Namespace: p.Namespace, Name: p.Name}))
	}
	return all
}

// unattached resolves policies that no route uses, so that their faults are told all the same.
func (t *Translator) unattached(set *resource.Set, graph *memo.Graph, a *assembly) {
	for _, p := range set.SecurityPolicies.All() {
		s := memo.Value[*policy.Security](graph, memo.Key{Kind: policy.SecurityKind, Namespace: p.Namespace, Name: p.Name})
		a.conditions = append(a.conditions, s.Conditions...)
	}
	for _, p := range set.EnvoyExtensionPolicies.All() {
		e := memo.Value[*policy.Extension](graph, memo.Key{Kind: policy.ExtensionKind, Namespace: p.Namespace, Name: p.Name})
		a.conditions = append(a.conditions, e.Conditions...)
	}
}
