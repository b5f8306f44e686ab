package kubestatus

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

func (r *renderer) listenerSets() {
	for _, set := range r.Set.ListenerSets.All() {
		key := keyOf("ListenerSet", set)
		generation := r.generation(key, set)
		var s Status
		if !r.foreignGateway(gatewayapi.GatewayOf(set)) {
			s = r.listenerSet(key, set, generation)
		}
		r.add(key, generation, s)
	}
}

func (r *renderer) foreignGateway(key resource.Key) bool {
	gateway, ok := r.Set.Gateways.Get(key.Namespace, key.Name)
	return key.Kind == "Gateway" && ok && !r.classes.Serves(r.Set, gateway)
}

func (r *renderer) listenerSet(key resource.Key, set *gatewayv1.ListenerSet, generation int64) Status {
	own, byListener := split(r.said(key))
	if refused(own) {
		own = append(own, status.Condition{Type: typeProgrammed, Reason: reasonInvalid, Message: "not served, see " + typeAccepted})
		return Status{Conditions: render(gather(own), generation, typeAccepted, typeProgrammed)}
	}
	var s Status
	for i := range set.Spec.Listeners {
		e := &set.Spec.Listeners[i]
		l := &gatewayv1.Listener{Name: e.Name, Protocol: e.Protocol, AllowedRoutes: e.AllowedRoutes}
		s.Listeners = append(s.Listeners, r.listener(key, l, byListener[string(e.Name)], generation))
	}
	// What is accepted may have listeners that aren't, which the sum of them tells.
	own = slices.DeleteFunc(own, func(c status.Condition) bool { return c.Type == typeAccepted })
	s.Conditions = gatewayConditions(own, s.Listeners, generation)
	return s
}

func refused(said []status.Condition) bool { return len(faulty(gather(said), typeAccepted)) > 0 }

// attachedSets counts the ListenerSets that a Gateway takes; nil if none names it.
func (r *renderer) attachedSets(gateway resource.Key) *int32 {
	var count *int32
	for _, set := range r.Set.ListenerSets.All() {
		if gatewayapi.GatewayOf(set) != gateway {
			continue
		}
		if count == nil {
			count = new(int32)
		}
		if !refused(r.conditions[keyOf("ListenerSet", set)]) {
			*count++
		}
	}
	return count
}
