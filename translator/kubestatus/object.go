package kubestatus

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Object is one object with its status, in the form of kubectl's JSON without spec.
type Object struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Status     Status   `json:"status"`
}

// Metadata names an object.
type Metadata struct {
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"`
	Generation int64  `json:"generation"`
}

// Status has the fields of every kind's status; those that the kind doesn't have are empty.
type Status struct {
	// Addresses and Listeners are a Gateway's, the latter a ListenerSet's too.
	Addresses []gatewayv1.GatewayStatusAddress `json:"addresses,omitempty"`
	Listeners []gatewayv1.ListenerStatus       `json:"listeners,omitempty"`
	// AttachedListenerSets is the number of ListenerSets that a Gateway takes.
	AttachedListenerSets *int32 `json:"attachedListenerSets,omitempty"`
	// Parents are a route's, in the order of spec.parentRefs.
	Parents []gatewayv1.RouteParentStatus `json:"parents,omitempty"`
	// Ancestors are a policy's, at most 16.
	Ancestors []gatewayv1.PolicyAncestorStatus `json:"ancestors,omitempty"`
	// Conditions are those of other kinds, of a Gateway itself, and of an object that couldn't be read.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Key names the object.
func (o Object) Key() resource.Key {
	return resource.Key{Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}
}

// Each calls visit with every list of conditions of the status, and what it is relative to: a
// listener, a parent or an ancestor, "" for the object itself.
func (s *Status) Each(visit func(relative string, conditions []metav1.Condition)) {
	visit("", s.Conditions)
	for i := range s.Listeners {
		visit(string(s.Listeners[i].Name), s.Listeners[i].Conditions)
	}
	for i := range s.Parents {
		visit(refText(s.Parents[i].ParentRef), s.Parents[i].Conditions)
	}
	for i := range s.Ancestors {
		visit(refText(s.Ancestors[i].AncestorRef), s.Ancestors[i].Conditions)
	}
}

// refText is "ns/name", with the section if there is one, and the kind if it isn't Gateway.
func refText(ref gatewayv1.ParentReference) string {
	text := string(ref.Name)
	if ref.Namespace != nil {
		text = string(*ref.Namespace) + "/" + text
	}
	if ref.SectionName != nil {
		text += "#" + string(*ref.SectionName)
	}
	if ref.Kind != nil && *ref.Kind != "Gateway" {
		text = string(*ref.Kind) + "/" + text
	}
	return text
}

// Faulty reports whether a condition says that something doesn't work as written.
func Faulty(objects []Object) bool {
	faulty := false
	for i := range objects {
		objects[i].Status.Each(func(_ string, conditions []metav1.Condition) {
			for _, c := range conditions {
				known := c.Status != metav1.ConditionUnknown
				faulty = faulty || known && status.Condition{Type: c.Type, True: c.Status == metav1.ConditionTrue}.Fault()
			}
		})
	}
	return faulty
}
