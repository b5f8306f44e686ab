package translator

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// orphanKind is the kind of *telling values about ListenerSets.
const orphanKind memo.Kind = "orphaned ListenerSet"

// orphanRule tells of a ListenerSet without a Gateway; about the others their Gateway tells.
func orphanRule(v *memo.View, key memo.Key) any {
	out := &telling{}
	set := memo.Read[*gatewayv1.ListenerSet](v, memo.Key{Kind: "ListenerSet", Namespace: key.Namespace, Name: key.Name})
	if set == nil {
		return out
	}
	parent := gatewayapi.GatewayOf(set)
	if memo.Read[*gatewayv1.Gateway](v, memo.Key{Kind: "Gateway", Namespace: parent.Namespace, Name: parent.Name}) == nil {
		out.conditions = append(out.conditions, status.Condition{
			Object: resource.Key{Kind: "ListenerSet", Namespace: set.Namespace, Name: set.Name},
			Type:   "Accepted", Reason: string(gatewayv1.ListenerSetReasonParentNotAccepted),
			Message: "spec.parentRef: " + parent.String() + " doesn't exist; create it or correct the name",
		})
	}
	return out
}
