package gatewayapi

import (
	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// policyReferences is what every policy of Envoy Gateway says of its targets.
type policyReferences = egv1alpha1.PolicyTargetReferences

// Target is what a policy is for.
type Target struct {
	Kind, Namespace, Name string
	Section               string // a listener of a Gateway, a rule of a route; "" is the whole
}

// String returns "HTTPRoute ns/name" or, for a section, "HTTPRoute ns/name#section".
func (t Target) String() string {
	text := t.Kind + " " + t.Namespace + "/" + t.Name
	if t.Section != "" {
		text += "#" + t.Section
	}
	return text
}

// PolicyTargets lists what every policy names, by reference or by labels, sorted. Policies whose kind
// isn't served are among them.
func PolicyTargets(set *resource.Set) map[resource.Key][]Target {
	all := map[resource.Key][]Target{}
	include := func(kind string, object resource.Object, refs policyReferences) {
		key := resource.Key{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
		if _, done := all[key]; done {
			return
		}
		for _, t := range (found{object, refs}).targets(set) {
			all[key] = append(all[key], Target{Kind: t.kind, Namespace: key.Namespace, Name: t.name, Section: t.section})
		}
	}
	for _, table := range policyTables(set) {
		table.each(func(object resource.Object, refs policyReferences) { include(table.kind, object, refs) })
	}
	for _, p := range set.BackendTrafficPolicies.All() {
		include("BackendTrafficPolicy", p, p.Spec.PolicyTargetReferences)
	}
	for _, p := range set.EnvoyPatchPolicies.All() {
		key := resource.Key{Kind: "EnvoyPatchPolicy", Namespace: p.Namespace, Name: p.Name}
		all[key] = []Target{{Kind: string(p.Spec.TargetRef.Kind), Namespace: p.Namespace, Name: string(p.Spec.TargetRef.Name)}}
	}
	return all
}

// sectionsOf names the sections of a target, and reports whether it exists.
func sectionsOf(set *resource.Set, t Target) (sections []string, exists bool) {
	switch t.Kind {
	case "Gateway":
		gateway, ok := set.Gateways.Get(t.Namespace, t.Name)
		if ok {
			sections = listenerNames(gateway.Spec.Listeners)
		}
		return sections, ok
	case "ListenerSet":
		listeners, ok := set.ListenerSets.Get(t.Namespace, t.Name)
		if ok {
			for i := range listeners.Spec.Listeners {
				sections = append(sections, string(listeners.Spec.Listeners[i].Name))
			}
		}
		return sections, ok
	case "HTTPRoute":
		route, ok := set.HTTPRoutes.Get(t.Namespace, t.Name)
		if ok {
			for i := range route.Spec.Rules {
				sections = appendName(sections, route.Spec.Rules[i].Name)
			}
		}
		return sections, ok
	case "GRPCRoute":
		route, ok := set.GRPCRoutes.Get(t.Namespace, t.Name)
		if ok {
			for i := range route.Spec.Rules {
				sections = appendName(sections, route.Spec.Rules[i].Name)
			}
		}
		return sections, ok
	case "Service":
		service, ok := set.Services.Get(t.Namespace, t.Name)
		if ok {
			for _, port := range service.Spec.Ports {
				sections = append(sections, port.Name)
			}
		}
		return sections, ok
	}
	return []string{t.Section}, has(set, t)
}

func appendName(names []string, name *gatewayv1.SectionName) []string {
	if name == nil {
		return names
	}
	return append(names, string(*name))
}

func listenerNames(listeners []gatewayv1.Listener) []string {
	names := make([]string, len(listeners))
	for i := range listeners {
		names[i] = string(listeners[i].Name)
	}
	return names
}

// has reports whether a target of a kind without known sections exists.
func has(set *resource.Set, t Target) (ok bool) {
	switch t.Kind {
	case "TLSRoute":
		_, ok = set.TLSRoutes.Get(t.Namespace, t.Name)
	case "TCPRoute":
		_, ok = set.TCPRoutes.Get(t.Namespace, t.Name)
	case "UDPRoute":
		_, ok = set.UDPRoutes.Get(t.Namespace, t.Name)
	case "Backend":
		_, ok = set.Backends.Get(t.Namespace, t.Name)
	}
	return ok
}
