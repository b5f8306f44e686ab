package translator

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// routeKind is the kind of unit values: what one HTTPRoute contributes.
const routeKind memo.Kind = "translated HTTPRoute"

// unit is everything that one HTTPRoute needs in a snapshot. Immutable.
type unit struct {
	placements []placement
	clusters   []snapshot.Resource
	endpoints  []snapshot.Resource
	secrets    []snapshot.Resource
	security   []*policy.Security
	conditions []status.Condition
}

// placement is a unit's entries below one listener.
type placement struct {
	listener  *gatewayapi.Listener
	hostnames []string
	entries   []*envoy.Entry
}

// routeRule translates one HTTPRoute under all its listeners.
func (t *Translator) routeRule(v *memo.View, key memo.Key) any {
	out := &unit{}
	route := memo.Read[*gatewayv1.HTTPRoute](v, memo.Key{Kind: "HTTPRoute", Namespace: key.Namespace, Name: key.Name})
	if route == nil {
		return out
	}
	b := &routeBuilder{t: t, view: v, route: route, unit: out, seen: map[string]bool{}}
	b.invalid = gatewayapi.Invalid(v, "HTTPRoute", route.Namespace, route.Name)
	if b.invalid != "" && len(route.Spec.Rules) == 0 { // they are what is misspelt
		guarded := *route
		guarded.Spec.Rules = []gatewayv1.HTTPRouteRule{{}}
		route, b.route = &guarded, &guarded
	}
	attachments, conditions := gatewayapi.Attach(v, route)
	out.conditions = append(out.conditions, conditions...)
	for _, a := range attachments {
		p := placement{listener: a.Listener, hostnames: a.Hostnames}
		for i := range route.Spec.Rules {
			p.entries = append(p.entries, b.rule(i, a.Listener)...)
		}
		out.placements = append(out.placements, p)
	}
	return out
}

type routeBuilder struct {
	t     *Translator
	view  *memo.View
	route *gatewayv1.HTTPRoute
	unit  *unit
	index int             // of the rule at hand
	seen  map[string]bool // clusters, assignments and policies that the unit has already
	// invalid is what is wrong with the object. All of its rules answer 500: what it meant isn't known, and
	// a wider route's policy may ask for less.
	invalid string
}

func (b *routeBuilder) key() resource.Key {
	return resource.Key{Kind: "HTTPRoute", Namespace: b.route.Namespace, Name: b.route.Name}
}

func (b *routeBuilder) referrer() gatewayapi.Referrer {
	return gatewayapi.Referrer{Group: gatewayv1.GroupName, Kind: "HTTPRoute", Namespace: b.route.Namespace}
}

func (b *routeBuilder) condition(kind, reason, format string, args ...any) {
	b.unit.conditions = append(b.unit.conditions, status.Condition{
		Object: b.key(), Type: kind, Reason: reason, Message: fmt.Sprintf(format, args...), Rule: b.index + 1,
	})
}

func (b *routeBuilder) rule(i int, listener *gatewayapi.Listener) []*envoy.Entry {
	spec := &b.route.Spec.Rules[i]
	b.index = i
	rule := &envoy.Rule{
		Name:    fmt.Sprintf("httproute/%s/%s/rule/%d", b.route.Namespace, b.route.Name, i),
		Matches: spec.Matches, Filters: spec.Filters, Port: listener.Port, TLS: listener.TLS,
	}
	section := ""
	if spec.Name != nil {
		section = string(*spec.Name)
	}
	b.policies(rule, section, listener)
	b.filters(rule, spec)
	b.timeouts(rule, spec.Timeouts)
	b.retry(rule, spec.Retry)
	b.backends(rule, spec)
	b.session(rule, spec.SessionPersistence)
	if b.invalid != "" {
		rule.Fault, rule.FaultStatus = b.invalid, 500
	}
	entries, faults := b.t.builder.Routes(rule)
	for _, fault := range faults {
		b.condition("Accepted", "UnsupportedValue", "rules[%d].%s", i, fault)
	}
	placed := make([]*envoy.Entry, len(entries))
	for k := range entries {
		entries[k].Order.Created = b.route.CreationTimestamp.Unix()
		entries[k].Order.Namespace, entries[k].Order.Name, entries[k].Order.Rule = b.route.Namespace, b.route.Name, i
		placed[k] = &entries[k]
	}
	return placed
}

func (b *routeBuilder) policies(rule *envoy.Rule, section string, listener *gatewayapi.Listener) {
	if chain := gatewayapi.Chain(b.view, "SecurityPolicy", b.route, section, listener); len(chain) > 0 {
		key := policy.SecurityKey(b.view, chain, listener)
		rule.Security = memo.Read[*policy.Security](b.view, key)
		b.merged(key, rule.Security.Conditions)
		if b.first("security " + rule.Security.Ref + " " + rule.Security.Issuer) {
			b.unit.security = append(b.unit.security, rule.Security)
		}
		if e := rule.Security.ExtAuth; e != nil {
			b.server(&e.Server, e.HTTP == nil)
		}
		b.login(rule.Security.OIDC)
	}
	if chain := gatewayapi.Chain(b.view, "EnvoyExtensionPolicy", b.route, section, listener); len(chain) > 0 {
		key := policy.ExtensionKey(b.view, chain)
		rule.Extension = memo.Read[*policy.Extension](b.view, key)
		b.merged(key, rule.Extension.Conditions)
		for i := range rule.Extension.ExtProc {
			b.server(&rule.Extension.ExtProc[i].Server, true)
		}
	}
}

// merged tells of a fault that policies have only together, or only below a Gateway. What each has by itself is told
// of it alone.
func (b *routeBuilder) merged(key memo.Key, conditions []status.Condition) {
	if (policy.Merges(key) || policy.Located(key)) && conditions[0].Fault() {
		b.unit.conditions = append(b.unit.conditions, conditions...)
	}
}

func (b *routeBuilder) backends(rule *envoy.Rule, spec *gatewayv1.HTTPRouteRule) {
	for i := range spec.BackendRefs {
		ref := &spec.BackendRefs[i]
		share := envoy.WeightedCluster{Weight: 1, Filters: ref.Filters}
		if ref.Weight != nil {
			share.Weight = uint32(max(*ref.Weight, 0))
		}
		backend := gatewayapi.ResolveBackend(b.view, b.referrer(), ref.BackendObjectReference)
		switch unsupported := unsupportedBackendFilter(ref.Filters); {
		case backend.Fault != "":
			b.condition("ResolvedRefs", backend.Reason, "%s", backend.Fault)
		case unsupported != "":
			b.condition("Accepted", "UnsupportedValue", "backendRefs[%d]: filter %s is not supported here", i, unsupported)
		default:
			share.Cluster = fmt.Sprintf("%s/backend/%d", rule.Name, i)
			b.cluster(share.Cluster, backend, false)
		}
		rule.Clusters = append(rule.Clusters, share)
	}
}

func unsupportedBackendFilter(filters []gatewayv1.HTTPRouteFilter) gatewayv1.HTTPRouteFilterType {
	for _, f := range filters {
		if f.Type != gatewayv1.HTTPRouteFilterRequestHeaderModifier && f.Type != gatewayv1.HTTPRouteFilterResponseHeaderModifier {
			return f.Type
		}
	}
	return ""
}

func (b *routeBuilder) cluster(name string, backend *gatewayapi.Backend, grpc bool) {
	if !b.first("cluster " + name) {
		return
	}
	b.upstream(envoy.Cluster(name, backend, grpc))
}

// server adds the cluster of a user's own server.
func (b *routeBuilder) server(s *policy.Server, grpc bool) {
	if b.first("cluster " + s.Name) {
		b.upstream(envoy.ServerCluster(s, grpc))
	}
}

// login adds what a login at a provider needs; nil is none.
func (b *routeBuilder) login(o *policy.OIDC) {
	if o == nil || !b.first("cluster "+o.Name) {
		return
	}
	b.upstream(b.t.builder.LoginCluster(o))
	b.unit.secrets = append(b.unit.secrets, b.t.builder.LoginSecrets(o)...)
}

func (b *routeBuilder) upstream(cluster snapshot.Resource, assignment *snapshot.Resource) {
	b.unit.clusters = append(b.unit.clusters, cluster)
	if assignment != nil && b.first("endpoints "+assignment.Name) {
		b.unit.endpoints = append(b.unit.endpoints, *assignment)
	}
}

func (b *routeBuilder) first(what string) bool {
	if b.seen[what] {
		return false
	}
	b.seen[what] = true
	return true
}
