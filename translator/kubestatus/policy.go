package kubestatus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// maxAncestors is the limit of PolicyStatus.
const maxAncestors = 16

func (r *renderer) policyObjects() {
	targets := gatewayapi.PolicyTargets(r.Set)
	policies(r, targets, "BackendTLSPolicy", r.Set.BackendTLSPolicies)
	policies(r, targets, "ClientTrafficPolicy", r.Set.ClientTrafficPolicies)
	policies(r, targets, "SecurityPolicy", r.Set.SecurityPolicies)
	policies(r, targets, "EnvoyExtensionPolicy", r.Set.EnvoyExtensionPolicies)
	policies(r, targets, "BackendTrafficPolicy", r.Set.BackendTrafficPolicies)
	policies(r, targets, "EnvoyPatchPolicy", r.Set.EnvoyPatchPolicies)
}

func policies[T resource.Object](r *renderer, targets map[resource.Key][]gatewayapi.Target, kind string, table resource.Table[T]) {
	for _, object := range table.All() {
		key := keyOf(kind, object)
		r.policy(key, r.generation(key, object), targets[key])
	}
}

// policy renders one status for each Gateway that the policy has an effect on. Where there is none, the
// target itself is the ancestor.
func (r *renderer) policy(key resource.Key, generation int64, targets []gatewayapi.Target) {
	said := r.said(key)
	byAncestor := map[gatewayapi.Target][]status.Condition{}
	for _, target := range targets {
		for _, ancestor := range r.ancestors(target) {
			for _, c := range said {
				if c.Ancestor == "" || c.Ancestor == target.String() {
					byAncestor[ancestor] = append(byAncestor[ancestor], c)
				}
			}
			if byAncestor[ancestor] == nil {
				byAncestor[ancestor] = []status.Condition{}
			}
		}
	}
	if len(targets) == 0 {
		byAncestor[r.classTarget()] = said
	}
	var s Status
	for ancestor, conditions := range byAncestor {
		conditions = append(conditions, status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted})
		s.Ancestors = append(s.Ancestors, gatewayv1.PolicyAncestorStatus{
			AncestorRef: reference(ancestor), ControllerName: r.controller(ancestor.Namespace, reference(ancestor)),
			Conditions: render(gather(dedupe(conditions)), generation, typeAccepted),
		})
	}
	slices.SortFunc(s.Ancestors, func(a, b gatewayv1.PolicyAncestorStatus) int {
		return cmp.Or(cmp.Compare(severity(a.Conditions), severity(b.Conditions)), cmp.Compare(refText(a.AncestorRef), refText(b.AncestorRef)))
	})
	s.Ancestors = aggregate(s.Ancestors, generation)
	r.add(key, generation, s)
}

// aggregate keeps as many ancestors as the API allows. The last of them tells of the others.
func aggregate(all []gatewayv1.PolicyAncestorStatus, generation int64) []gatewayv1.PolicyAncestorStatus {
	if len(all) <= maxAncestors {
		return all
	}
	kept, rest := slices.Clone(all[:maxAncestors]), all[maxAncestors:]
	faults := 0
	for _, a := range rest {
		if severity(a.Conditions) == 0 {
			faults++
		}
	}
	names := make([]string, 0, maxNamed)
	for _, a := range rest[:min(len(rest), maxNamed)] {
		names = append(names, refText(a.AncestorRef))
	}
	message := fmt.Sprintf("the list is limited to %d ancestors; %d more, %d of them not accepted, are left out: %s",
		maxAncestors, len(rest), faults, strings.Join(names, ", "))
	if len(rest) > maxNamed {
		message += " …"
	}
	last := &kept[maxAncestors-1]
	last.Conditions = append(slices.Clone(last.Conditions), condition(typeAggregated, metav1.ConditionTrue, typeAggregated, message, generation))
	return kept
}

// maxNamed is how many of the ancestors that are left out are named.
const maxNamed = 10

// severity sorts faults first and then what doesn't apply everywhere, so that the limit cuts off what is well.
func severity(conditions []metav1.Condition) int {
	switch {
	case is(conditions, typeAccepted, metav1.ConditionFalse):
		return 0
	case is(conditions, typeOverridden, metav1.ConditionTrue), is(conditions, typeResolvedRefs, metav1.ConditionFalse):
		return 1
	}
	return 2
}

// ancestors are the Gateways through which a target is reached.
func (r *renderer) ancestors(target gatewayapi.Target) []gatewayapi.Target {
	var parents []gatewayapi.Target
	foreign := false
	for _, p := range r.gatewaysOf(target) {
		gateway, ok := r.Set.Gateways.Get(p.Namespace, p.Name)
		switch {
		case !ok:
		case !r.classes.Serves(r.Set, gateway):
			foreign = true
		default:
			parents = append(parents, p)
		}
	}
	if len(parents) == 0 && !foreign {
		return []gatewayapi.Target{target}
	}
	return parents
}

func (r *renderer) gatewaysOf(target gatewayapi.Target) []gatewayapi.Target {
	if target.Kind == "Gateway" {
		return []gatewayapi.Target{target}
	}
	var refs []gatewayv1.ParentReference
	switch target.Kind {
	case "ListenerSet":
		kind := gatewayv1.Kind("ListenerSet")
		refs = []gatewayv1.ParentReference{{Kind: &kind, Name: gatewayv1.ObjectName(target.Name)}}
	case "HTTPRoute":
		if route, ok := r.Set.HTTPRoutes.Get(target.Namespace, target.Name); ok {
			refs = route.Spec.ParentRefs
		}
	case "GRPCRoute":
		if route, ok := r.Set.GRPCRoutes.Get(target.Namespace, target.Name); ok {
			refs = route.Spec.ParentRefs
		}
	case "TLSRoute":
		if route, ok := r.Set.TLSRoutes.Get(target.Namespace, target.Name); ok {
			refs = route.Spec.ParentRefs
		}
	case "TCPRoute":
		if route, ok := r.Set.TCPRoutes.Get(target.Namespace, target.Name); ok {
			refs = route.Spec.ParentRefs
		}
	case "UDPRoute":
		if route, ok := r.Set.UDPRoutes.Get(target.Namespace, target.Name); ok {
			refs = route.Spec.ParentRefs
		}
	}
	return gatewayapi.ParentTargets(r.Set.ListenerSets.Get, target.Namespace, refs)
}

// classTarget is the ancestor of a policy that names nothing.
func (r *renderer) classTarget() gatewayapi.Target {
	for _, class := range r.Set.GatewayClasses.All() {
		if r.served(string(class.Spec.ControllerName)) {
			return gatewayapi.Target{Kind: "GatewayClass", Name: class.Name}
		}
	}
	return gatewayapi.Target{Kind: "GatewayClass", Name: "gatehouse"}
}

func reference(t gatewayapi.Target) gatewayv1.ParentReference {
	group, kind := gatewayv1.Group(groupGateway), gatewayv1.Kind(t.Kind)
	switch t.Kind {
	case "Service":
		group = ""
	case "Backend":
		group = groupEnvoy
	}
	ref := gatewayv1.ParentReference{Group: &group, Kind: &kind, Name: gatewayv1.ObjectName(t.Name)}
	if t.Namespace != "" {
		namespace := gatewayv1.Namespace(t.Namespace)
		ref.Namespace = &namespace
	}
	if t.Section != "" {
		section := gatewayv1.SectionName(t.Section)
		ref.SectionName = &section
	}
	return ref
}
