package gatewayapi

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

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
	include := func(p found) {
		for _, t := range p.targets(set) {
			all[p.key()] = append(all[p.key()], Target{Kind: t.kind, Namespace: t.namespace, Name: t.name, Section: t.section})
		}
	}
	for _, k := range policyKinds {
		k.each(set, include)
	}
	for _, p := range set.BackendTrafficPolicies.All() {
		include(found{"BackendTrafficPolicy", p, p.Spec.PolicyTargetReferences})
	}
	for _, p := range set.EnvoyPatchPolicies.All() {
		key := resource.Key{Kind: "EnvoyPatchPolicy", Namespace: p.Namespace, Name: p.Name}
		all[key] = []Target{{Kind: string(p.Spec.TargetRef.Kind), Namespace: p.Namespace, Name: string(p.Spec.TargetRef.Name)}}
	}
	return all
}

// readTarget reads the object that a target means, the zero T if it isn't there.
func readTarget[T any](v *memo.View, t Target) T {
	return memo.Read[T](v, memo.Key{Kind: memo.Kind(t.Kind), Namespace: t.Namespace, Name: t.Name})
}

// sectionsOf names the sections of a target, and reports whether it exists.
func sectionsOf(v *memo.View, t Target) (sections []string, exists bool) {
	switch t.Kind {
	case "Gateway":
		gateway := readTarget[*gatewayv1.Gateway](v, t)
		if gateway != nil {
			sections = listenerNames(gateway.Spec.Listeners)
		}
		return sections, gateway != nil
	case "ListenerSet":
		listeners := readTarget[*gatewayv1.ListenerSet](v, t)
		if listeners != nil {
			for i := range listeners.Spec.Listeners {
				sections = append(sections, string(listeners.Spec.Listeners[i].Name))
			}
		}
		return sections, listeners != nil
	case "HTTPRoute":
		route := readTarget[*gatewayv1.HTTPRoute](v, t)
		if route != nil {
			for i := range route.Spec.Rules {
				sections = appendName(sections, route.Spec.Rules[i].Name)
			}
		}
		return sections, route != nil
	case "GRPCRoute":
		route := readTarget[*gatewayv1.GRPCRoute](v, t)
		if route != nil {
			for i := range route.Spec.Rules {
				sections = appendName(sections, route.Spec.Rules[i].Name)
			}
		}
		return sections, route != nil
	case "Service":
		service := readTarget[*corev1.Service](v, t)
		if service != nil {
			for _, port := range service.Spec.Ports {
				sections = append(sections, port.Name)
			}
		}
		return sections, service != nil
	}
	// Kinds without sections; of a kind that isn't known there is no object.
	return []string{t.Section}, readTarget[any](v, t) != nil
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
