package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Attachment is a listener under which a route serves, with the hostnames they have in common.
type Attachment struct {
	Listener  *Listener
	Hostnames []string
}

// Attach finds the listeners of a route. Conditions tell about parents that didn't take it.
func Attach(v *memo.View, route *gatewayv1.HTTPRoute) ([]Attachment, []status.Condition) {
	var attached []Attachment
	conditions := make([]status.Condition, 0, len(route.Spec.ParentRefs))
	object := resource.Key{Kind: "HTTPRoute", Namespace: route.Namespace, Name: route.Name}
	var hosts []string
	for i, h := range route.Spec.Hostnames {
		if host := normalHost(string(h)); host == "*" || validHostname(host) {
			hosts = append(hosts, host)
			continue
		}
		conditions = append(conditions, status.Condition{
			Object: object, Type: "Accepted", Reason: "UnsupportedValue",
			Message: fmt.Sprintf("spec.hostnames[%d]: %q is not a hostname; write a DNS name such as a.example or *.a.example", i, h),
		})
	}
	if len(hosts) == 0 && len(route.Spec.Hostnames) > 0 {
		return nil, conditions
	}
	seen := map[*Listener]bool{}
	for i, parent := range route.Spec.ParentRefs {
		name, reason, message := attachParent(v, route, parent, hosts, func(a Attachment) {
			if !seen[a.Listener] {
				seen[a.Listener] = true
				attached = append(attached, a)
			}
		})
		if reason == "" {
			continue // another controller answers for it
		}
		conditions = append(conditions, status.Condition{
			Object:   object,
			Parent:   i + 1,
			Ancestor: name, Type: "Accepted", True: message == "", Reason: reason, Message: message,
		})
	}
	return attached, conditions
}

func attachParent(v *memo.View, route *gatewayv1.HTTPRoute, parent gatewayv1.ParentReference, hosts []string, attach func(Attachment)) (ancestor, reason, message string) {
	namespace := route.Namespace
	if parent.Namespace != nil {
		namespace = string(*parent.Namespace)
	}
	owner := resource.Key{Kind: "Gateway", Namespace: namespace, Name: string(parent.Name)}
	if parent.Kind != nil {
		owner.Kind = string(*parent.Kind)
	}
	ancestor = owner.String()
	if owner.Kind != "Gateway" && owner.Kind != "ListenerSet" {
		return owner.Kind + " " + owner.Name, "InvalidKind", "parentRefs: only a Gateway or a ListenerSet can be a parent"
	}
	gateway := parentGateway(v, owner)
	if gateway.Foreign {
		return ancestor, "", ""
	}
	listeners := slices.DeleteFunc(slices.Clone(gateway.Listeners), func(l *Listener) bool { return l.Owner != owner })
	if len(listeners) == 0 {
		return ancestor, "NoMatchingParent", "parentRefs: " + ancestor + " doesn't exist or has no usable address and listener; create it, or see its own status"
	}
	matching, allowed, attached := 0, 0, false
	for _, listener := range listeners {
		if !parentMatches(parent, listener) {
			continue
		}
		matching++
		if !allows(v, listener, route.Namespace) {
			continue
		}
		allowed++
		if common := Intersect(listener.Hostname, hosts); len(common) > 0 {
			attached = true
			attach(Attachment{Listener: listener, Hostnames: common})
		}
	}
	switch {
	case attached:
		return ancestor, "Accepted", ""
	case matching == 0:
		return ancestor, "NoMatchingParent", "parentRefs: " + ancestor + " has no listener with that sectionName or port"
	case allowed == 0:
		return ancestor, "NotAllowedByListeners", "no listener of " + ancestor + " allows HTTPRoutes of namespace " + route.Namespace + "; see allowedRoutes"
	}
	return ancestor, "NoMatchingListenerHostname", "no listener of " + ancestor + " has a hostname in common with " + strings.Join(hosts, ", ")
}

func parentMatches(parent gatewayv1.ParentReference, l *Listener) bool {
	return (parent.SectionName == nil || string(*parent.SectionName) == l.Name) &&
		(parent.Port == nil || *parent.Port == gatewayv1.PortNumber(l.Port))
}

// allows reports whether HTTPRoutes of a namespace may attach to the listener (allowedRoutes).
func allows(v *memo.View, l *Listener, namespace string) bool {
	if l.Routes == nil {
		return namespace == l.Owner.Namespace
	}
	return allowsKind(l.Routes.Kinds) && allowsNamespace(v, l, l.Routes.Namespaces, namespace)
}

func allowsKind(kinds []gatewayv1.RouteGroupKind) bool {
	for _, k := range kinds {
		if k.Kind == "HTTPRoute" && (k.Group == nil || *k.Group == gatewayv1.GroupName) {
			return true
		}
	}
	return len(kinds) == 0
}

func allowsNamespace(v *memo.View, l *Listener, from *gatewayv1.RouteNamespaces, namespace string) bool {
	if from == nil || from.From == nil {
		return namespace == l.Owner.Namespace
	}
	switch *from.From {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == l.Owner.Namespace
	case gatewayv1.NamespacesFromSelector:
		return selects(v, from.Selector, namespace)
	}
	return false
}
