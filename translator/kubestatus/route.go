package kubestatus

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

func (r *renderer) routeObjects() {
	for _, o := range r.Set.HTTPRoutes.All() {
		r.route("HTTPRoute", o, o.Spec.ParentRefs, len(o.Spec.Rules))
	}
	for _, o := range r.Set.GRPCRoutes.All() {
		r.route("GRPCRoute", o, o.Spec.ParentRefs, len(o.Spec.Rules))
	}
	for _, o := range r.Set.TLSRoutes.All() {
		r.route("TLSRoute", o, o.Spec.ParentRefs, len(o.Spec.Rules))
	}
	for _, o := range r.Set.TCPRoutes.All() {
		r.route("TCPRoute", o, o.Spec.ParentRefs, len(o.Spec.Rules))
	}
	for _, o := range r.Set.UDPRoutes.All() {
		r.route("UDPRoute", o, o.Spec.ParentRefs, len(o.Spec.Rules))
	}
}

func (r *renderer) route(kind string, object metav1.Object, refs []gatewayv1.ParentReference, rules int) {
	key := keyOf(kind, object)
	generation := r.generation(key, object)
	all := r.said(key)
	var s Status
	for i, ref := range refs {
		if r.foreign(key.Namespace, ref) {
			continue
		}
		var said []status.Condition
		for _, c := range all {
			if c.Parent == 0 || c.Parent == i+1 {
				said = append(said, c)
			}
		}
		s.Parents = append(s.Parents, gatewayv1.RouteParentStatus{
			ParentRef: ref, ControllerName: r.controller(key.Namespace, ref),
			Conditions: routeConditions(said, rules, generation),
		})
	}
	if len(s.Parents) == 0 && len(refs) == 0 {
		s.Conditions = render(gather(append(all, status.Condition{
			Type: typeAccepted, Reason: string(gatewayv1.RouteReasonNoMatchingParent),
			Message: "spec.parentRefs is empty; name the Gateway that the route is for",
		})), generation, typeAccepted)
	}
	r.add(key, generation, s)
}

// parentGateway returns the Gateway of a parentRef, by itself or by a ListenerSet; nil for one that isn't
// there.
func (r *renderer) parentGateway(namespace string, ref gatewayv1.ParentReference) *gatewayv1.Gateway {
	for _, key := range gatewayapi.ParentTargets(r.Set.ListenerSets.Get, namespace, []gatewayv1.ParentReference{ref}) {
		gateway, _ := r.Set.Gateways.Get(key.Namespace, key.Name)
		return gateway
	}
	return nil
}

// foreign reports whether another controller answers for a parent.
func (r *renderer) foreign(namespace string, ref gatewayv1.ParentReference) bool {
	gateway := r.parentGateway(namespace, ref)
	return gateway != nil && !r.classes.Serves(r.Set, gateway)
}

// controller is the name under which we serve a parent: that of its class, if there is one.
func (r *renderer) controller(namespace string, ref gatewayv1.ParentReference) gatewayv1.GatewayController {
	if gateway := r.parentGateway(namespace, ref); gateway != nil {
		if class, ok := r.Set.GatewayClasses.Get("", string(gateway.Spec.GatewayClassName)); ok {
			return class.Spec.ControllerName
		}
	}
	if len(r.Controllers) == 0 {
		return ""
	}
	return gatewayv1.GatewayController(r.Controllers[0])
}

// routeConditions tells of rules that are at fault: if it is every one, the route isn't accepted, else it
// is partially invalid (Gateway API, RouteConditionPartiallyInvalid).
func routeConditions(said []status.Condition, rules int, generation int64) []metav1.Condition {
	var kept, dropped []status.Condition
	for _, c := range said {
		if c.Rule > 0 && c.Type == typeAccepted && c.Fault() {
			dropped = append(dropped, c)
		} else {
			kept = append(kept, c)
		}
	}
	refused := slices.ContainsFunc(kept, func(c status.Condition) bool { return c.Type == typeAccepted && c.Fault() })
	if rulesOf(dropped) < rules && !refused {
		for _, c := range dropped {
			kept = append(kept, status.Condition{
				Type: typePartiallyInvalid, True: true, Reason: c.Reason, Rule: c.Rule,
				Message: fmt.Sprintf("Dropped Rule %d, it answers with an error: %s", c.Rule-1, ruleText(c)),
			})
		}
	} else {
		kept = append(kept, dropped...)
	}
	kept = append(kept,
		status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted},
		status.Condition{Type: typeResolvedRefs, True: true, Reason: typeResolvedRefs})
	return render(gather(dedupe(kept)), generation, typeAccepted, typeResolvedRefs, typePartiallyInvalid)
}

// rulesOf counts the rules that conditions are about.
func rulesOf(conditions []status.Condition) int {
	seen := map[int]bool{}
	for _, c := range conditions {
		seen[c.Rule] = true
	}
	return len(seen)
}

// dedupe drops repetitions; one rule is translated once for each listener.
func dedupe(conditions []status.Condition) []status.Condition {
	var out []status.Condition
	for _, c := range conditions {
		c.Object = resource.Key{}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
