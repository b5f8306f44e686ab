package gatewayapi

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	ancestor = fmt.Sprintf("Gateway %s/%s", namespace, parent.Name)
	if parent.Kind != nil && *parent.Kind != "Gateway" {
		return string(*parent.Kind) + " " + string(parent.Name), "InvalidKind", "parentRefs: only a Gateway can be a parent"
	}
	gateway := memo.Read[*Gateway](v, memo.Key{Kind: GatewayKind, Namespace: namespace, Name: string(parent.Name)})
	switch {
	case gateway.Foreign:
		return ancestor, "", ""
	case len(gateway.Listeners) == 0:
		return ancestor, "NoMatchingParent", "parentRefs: " + ancestor + " doesn't exist or has no usable address and listener"
	}
	matching, allowed, attached := 0, 0, false
	for _, listener := range gateway.Listeners {
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
		return namespace == l.Namespace
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
		return namespace == l.Namespace
	}
	switch *from.From {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == l.Namespace
	case gatewayv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(from.Selector)
		object := memo.Read[*corev1.Namespace](v, memo.Key{Kind: "Namespace", Name: namespace})
		return err == nil && object != nil && selector.Matches(labels.Set(object.Labels))
	}
	return false
}
