package translator

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// orphans tells of ListenerSets without a Gateway; about the others their Gateway tells.
func orphans(set *resource.Set) []status.Condition {
	var all []status.Condition
	for _, s := range set.ListenerSets.All() {
		parent := gatewayapi.GatewayOf(s)
		if _, ok := set.Gateways.Get(parent.Namespace, parent.Name); !ok {
			all = append(all, status.Condition{
				Object: resource.Key{Kind: "ListenerSet", Namespace: s.Namespace, Name: s.Name},
				Type:   "Accepted", Reason: string(gatewayv1.ListenerSetReasonParentNotAccepted),
				Message: "spec.parentRef: " + parent.String() + " doesn't exist; create it or correct the name",
			})
		}
	}
	return all
}
