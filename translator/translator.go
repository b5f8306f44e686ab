// Package translator turns objects into a [snapshot.Snapshot] and statuses. It is pure: no I/O, no
// clock, no goroutines; equal objects in any order give equal bytes.
//
// It is incremental: a [Result] remembers what each HTTPRoute, Gateway and policy contributed and what
// was read for it, and the next translation runs the rules that an edit concerns and takes the rest over.
package translator

import (
	"sync/atomic"

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
	// SystemRoots is a PEM file with the authorities that the system trusts, as Envoy will find it; "": where
	// most systems have it.
	SystemRoots string
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
	return &Translator{builder: &envoy.Builder{SealKey: o.SealKey, SystemRoots: o.SystemRoots}, classes: gatewayapi.Classes{Controllers: o.ControllerNames, Only: o.Gateway}, backends: gatewayapi.Backends{Private: o.PrivateDirs}}
}

// Result is a translation's outcome. What it exports is immutable.
type Result struct {
	Snapshot   *snapshot.Snapshot
	Conditions []status.Condition // sorted
	Listeners  []status.Listener  // of the Gateways that are served, sorted
	// Providers are the OpenID providers whose descriptions routes need, sorted by issuer and policy. Those in
	// the Set's Providers are in force; until another is there the policy answers 503.
	Providers []Provider
	// Reused counts the pieces taken over from the previous Result.
	Reused int

	// state moves on to the Result that is translated from this one.
	state atomic.Pointer[state]
}

// Translate translates a set. prev, which may be nil, must come from the same Translator; it changes the
// cost, never the outcome: with it an edit costs what depends on the edit. A second translation from the
// same prev has nothing to build on and costs a full one.
func (t *Translator) Translate(set *resource.Set, prev *Result) *Result {
	var s *state
	if prev != nil {
		s = prev.state.Swap(nil)
	}
	if s == nil {
		s = t.newState()
	}
	return s.translate(set)
}

func (t *Translator) rules() map[memo.Kind]memo.Rule {
	return map[memo.Kind]memo.Rule{
		gatewayapi.GatewayKind: t.classes.Rule,
		gatewayapi.ForeignKind: t.classes.ForeignRule,
		gatewayapi.BackendKind: t.backends.Rule,
		gatewayapi.FitKind:     gatewayapi.FitRule,
		policy.SecurityKind:    policy.SecurityRule,
		policy.ExtensionKind:   policy.ExtensionRule,
		policy.DatabasesKind:   policy.DatabasesRule,
		routeKind:              t.routeRule,
		orphanKind:             orphanRule,
		deadEndKind:            deadEndRule,
	}
}

// Policies resolves every SecurityPolicy by itself, whether or not its target exists, in the order of
// namespace and name: for an authorizer whose callers name the policy.
func (t *Translator) Policies(set *resource.Set) []*policy.Security {
	s := t.newState()
	s.input.Update(set)
	all := make([]*policy.Security, 0, set.SecurityPolicies.Len())
	for _, p := range set.SecurityPolicies.All() {
		all = append(all, memo.Value[*policy.Security](s.graph, policy.LoneKey(set, p)))
	}
	return all
}
