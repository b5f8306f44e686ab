package gatewayapi

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// GatewayOf names the Gateway to which a ListenerSet adds its listeners.
func GatewayOf(set *gatewayv1.ListenerSet) resource.Key {
	key := resource.Key{Kind: "Gateway", Namespace: set.Namespace, Name: string(set.Spec.ParentRef.Name)}
	if set.Spec.ParentRef.Kind != nil {
		key.Kind = string(*set.Spec.ParentRef.Kind)
	}
	if set.Spec.ParentRef.Namespace != nil {
		key.Namespace = string(*set.Spec.ParentRef.Namespace)
	}
	return key
}

// parentGateway resolves the Gateway that a parentRef means, by itself or by a ListenerSet of it.
func parentGateway(v *memo.View, owner resource.Key) *Gateway {
	if owner.Kind == "ListenerSet" {
		set := memo.Read[*gatewayv1.ListenerSet](v, memo.Key{Kind: "ListenerSet", Namespace: owner.Namespace, Name: owner.Name})
		if set == nil {
			return &Gateway{}
		}
		owner = GatewayOf(set)
	}
	return memo.Read[*Gateway](v, memo.Key{Kind: GatewayKind, Namespace: owner.Namespace, Name: owner.Name})
}

// addSets adds the listeners of the ListenerSets that the Gateway allows.
func (g *Gateway) addSets(v *memo.View, gateway *gatewayv1.Gateway, addresses []string) {
	sets := memo.Read[*List[*gatewayv1.ListenerSet]](v, memo.Key{Kind: setsOf, Namespace: gateway.Namespace, Name: gateway.Name})
	if sets == nil {
		return
	}
	for _, set := range sets.Items {
		owner := resource.Key{Kind: "ListenerSet", Namespace: set.Namespace, Name: set.Name}
		accepted := status.Condition{Object: owner, Type: "Accepted", Reason: string(gatewayv1.ListenerSetReasonAccepted), True: true}
		switch parent := GatewayOf(set); {
		case parent.Kind != "Gateway":
			accepted.True, accepted.Reason = false, string(gatewayv1.ListenerSetReasonInvalid)
			accepted.Message = "spec.parentRef: only a Gateway can be the parent"
		case !allowsSet(v, gateway, set.Namespace):
			accepted.True, accepted.Reason = false, string(gatewayv1.ListenerSetReasonNotAllowed)
			accepted.Message = parent.String() + " doesn't allow ListenerSets of namespace " + set.Namespace + "; see its spec.allowedListeners"
		}
		g.Conditions = append(g.Conditions, accepted)
		if !accepted.True {
			continue
		}
		for i := range set.Spec.Listeners {
			e := &set.Spec.Listeners[i]
			g.add(v, gateway, owner, &gatewayv1.Listener{
				Name: e.Name, Hostname: e.Hostname, Port: e.Port, Protocol: e.Protocol, TLS: e.TLS, AllowedRoutes: e.AllowedRoutes,
			}, addresses)
		}
	}
}

// allowsSet applies spec.allowedListeners, which allows none by default.
func allowsSet(v *memo.View, gateway *gatewayv1.Gateway, namespace string) bool {
	allowed := gateway.Spec.AllowedListeners
	if allowed == nil || allowed.Namespaces == nil || allowed.Namespaces.From == nil {
		return false
	}
	switch *allowed.Namespaces.From {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == gateway.Namespace
	case gatewayv1.NamespacesFromSelector:
		return selects(v, allowed.Namespaces.Selector, namespace)
	}
	return false
}

// selects reports whether the labels of a namespace match. An invalid selector, or none, selects nothing.
func selects(v *memo.View, selector *metav1.LabelSelector, namespace string) bool {
	match, err := metav1.LabelSelectorAsSelector(selector)
	object := memo.Read[*corev1.Namespace](v, memo.Key{Kind: "Namespace", Name: namespace})
	return err == nil && object != nil && match.Matches(labels.Set(object.Labels))
}

// level is an object, or a section of one, at which policies are attached.
type level struct {
	key     memo.Key
	section string
}

// levels lists where policies of a listener are attached, the nearest first. Those of a whole Gateway
// apply to the listeners that a ListenerSet adds: to be added by somebody else is no way around them.
func levels(policyKind string, l *Listener) []level {
	gateway := targetKey(policyKind, "Gateway", l.Namespace, l.Gateway)
	if l.Owner.Kind == "ListenerSet" {
		set := targetKey(policyKind, "ListenerSet", l.Owner.Namespace, l.Owner.Name)
		return []level{{set, l.Name}, {set, ""}, {gateway, ""}}
	}
	return []level{{gateway, l.Name}, {gateway, ""}}
}
