package kubestatus

import (
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (r *renderer) gatewayObjects() {
	for _, class := range r.Set.GatewayClasses.All() {
		key, s := keyOf("GatewayClass", class), Status{}
		generation := r.generation(key, class)
		if r.served(string(class.Spec.ControllerName)) {
			said := append(r.said(key), status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted})
			s.Conditions = render(gather(said), generation, typeAccepted)
		}
		r.add(key, generation, s)
	}
	for _, gateway := range r.Set.Gateways.All() {
		key, s := keyOf("Gateway", gateway), Status{}
		generation := r.generation(key, gateway)
		if r.classes.Serves(r.Set, gateway) {
			s = r.gateway(key, gateway, generation)
		}
		r.add(key, generation, s)
	}
}

func (r *renderer) served(controller string) bool {
	return slices.Contains(r.Controllers, controller)
}

func (r *renderer) gateway(key resource.Key, gateway *gatewayv1.Gateway, generation int64) Status {
	own, byListener := split(r.said(key))
	var s Status
	for i := range gateway.Spec.Listeners {
		l := &gateway.Spec.Listeners[i]
		s.Listeners = append(s.Listeners, r.listener(key, l, byListener[string(l.Name)], generation))
	}
	s.Conditions = gatewayConditions(own, s.Listeners, generation)
	s.Addresses = addresses(gateway, s.Listeners)
	s.AttachedListenerSets = r.attachedSets(key)
	return s
}

// split separates what was said of the object itself from what was said of its listeners.
func split(said []status.Condition) (own []status.Condition, byListener map[string][]status.Condition) {
	byListener = map[string][]status.Condition{}
	for _, c := range said {
		if c.Ancestor == "" {
			own = append(own, c)
		} else {
			byListener[c.Ancestor] = append(byListener[c.Ancestor], c)
		}
	}
	return own, byListener
}

// addresses are those that are bound. All interfaces are told as what they are: which of this machine's
// addresses a client can reach isn't known here.
func addresses(gateway *gatewayv1.Gateway, listeners []gatewayv1.ListenerStatus) []gatewayv1.GatewayStatusAddress {
	if len(listeners) == 0 {
		return nil
	}
	kind := gatewayv1.IPAddressType
	var all []gatewayv1.GatewayStatusAddress
	for _, a := range gateway.Spec.Addresses {
		if a.Type == nil || *a.Type == gatewayv1.IPAddressType {
			all = append(all, gatewayv1.GatewayStatusAddress{Type: &kind, Value: a.Value})
		}
	}
	if len(gateway.Spec.Addresses) == 0 {
		all = []gatewayv1.GatewayStatusAddress{{Type: &kind, Value: "0.0.0.0"}}
	}
	return all
}

func (r *renderer) listener(key resource.Key, l *gatewayv1.Listener, said []status.Condition, generation int64) gatewayv1.ListenerStatus {
	known := r.listeners[key][string(l.Name)]
	supported, _ := gatewayapi.SupportedKinds(l)
	return gatewayv1.ListenerStatus{
		Name: l.Name, SupportedKinds: supported, AttachedRoutes: int32(known.AttachedRoutes), //nolint:gosec // a count of objects
		Conditions: listenerConditions(said, len(known.Sockets) > 0, generation),
	}
}

func listenerConditions(said []status.Condition, serves bool, generation int64) []metav1.Condition {
	all := gather(said)
	if conflicts := faulty(all, typeConflicted); len(conflicts) > 0 {
		said = append(said, status.Condition{Type: typeAccepted, Reason: conflicts[0].Reason, Message: conflicts[0].Message})
	}
	said = append(said,
		status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted},
		status.Condition{Type: typeResolvedRefs, True: true, Reason: typeResolvedRefs},
		status.Condition{Type: typeConflicted, Reason: string(gatewayv1.ListenerReasonNoConflicts)})
	known := find(all, typeProgrammed) != nil
	if !serves {
		said = append(said, status.Condition{Type: typeProgrammed, Reason: reasonInvalid, Message: whyNot(said)})
		known = true
	}
	out := render(gather(said), generation, typeAccepted, typeResolvedRefs, typeConflicted, typeProgrammed)
	if !known {
		out = append(out, condition(typeProgrammed, metav1.ConditionUnknown, reasonPending, pendingMessage, generation))
	}
	return out
}

// whyNot says in short why a listener serves nothing.
func whyNot(said []status.Condition) string {
	for _, c := range said {
		if c.Fault() && c.Type != typeProgrammed {
			return "not served, see " + c.Type
		}
	}
	for _, c := range said {
		if c.Fault() {
			return "" // Programmed says it itself
		}
	}
	return "not served: the Gateway has no address that can be bound"
}

// gatewayConditions sums the listeners up.
func gatewayConditions(own []status.Condition, listeners []gatewayv1.ListenerStatus, generation int64) []metav1.Condition {
	var bad, programmed, pending []string
	refused := 0
	for i := range listeners {
		l := &listeners[i]
		if is(l.Conditions, typeAccepted, metav1.ConditionFalse) {
			refused++
			bad = append(bad, string(l.Name))
		} else if is(l.Conditions, typeResolvedRefs, metav1.ConditionFalse) {
			bad = append(bad, string(l.Name))
		}
		switch {
		case is(l.Conditions, typeProgrammed, metav1.ConditionTrue):
			programmed = append(programmed, string(l.Name))
		case is(l.Conditions, typeProgrammed, metav1.ConditionUnknown):
			pending = append(pending, string(l.Name))
		}
	}
	accepted := status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted}
	if len(bad) > 0 {
		accepted.Reason = string(gatewayv1.GatewayReasonListenersNotValid)
		accepted.Message = "listeners with faults: " + strings.Join(bad, ", ") + "; see their conditions"
		accepted.True = refused < len(listeners)
	}
	own = append(own, accepted)
	switch {
	case len(programmed) > 0:
		own = append(own, status.Condition{Type: typeProgrammed, True: true, Reason: typeProgrammed})
	case len(pending) == 0:
		own = append(own, status.Condition{Type: typeProgrammed, Reason: reasonInvalid, Message: "no listener is programmed; see their conditions"})
	}
	out := render(gather(own), generation, typeAccepted, typeProgrammed)
	if len(programmed) == 0 && len(pending) > 0 {
		out = append(out, condition(typeProgrammed, metav1.ConditionUnknown, reasonPending, pendingMessage, generation))
	}
	return out
}

func is(conditions []metav1.Condition, kind string, value metav1.ConditionStatus) bool {
	for i := range conditions {
		if conditions[i].Type == kind {
			return conditions[i].Status == value
		}
	}
	return false
}
