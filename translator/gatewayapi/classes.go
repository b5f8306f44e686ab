package gatewayapi

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// ForeignKind is the kind of whether a Gateway is another controller's.
const ForeignKind memo.Kind = "foreign Gateway"

// Classes decides which Gateways are ours.
type Classes struct {
	Controllers []string
	// Only, as namespace/name, leaves out every other Gateway; "" takes all.
	Only string
}

// ForeignRule reports whether a Gateway belongs to another controller; one that isn't there belongs to nobody.
func (c Classes) ForeignRule(v *memo.View, key memo.Key) any {
	gateway := memo.Read[*gatewayv1.Gateway](v, memo.Key{Kind: "Gateway", Namespace: key.Namespace, Name: key.Name})
	if gateway == nil {
		return false
	}
	class := memo.Read[*gatewayv1.GatewayClass](v, memo.Key{Kind: "GatewayClass", Name: string(gateway.Spec.GatewayClassName)})
	return !c.serve(gateway, class)
}

// Serves reports whether the Gateway is ours.
func (c Classes) Serves(set *resource.Set, gateway *gatewayv1.Gateway) bool {
	class, _ := set.GatewayClasses.Get("", string(gateway.Spec.GatewayClassName))
	return c.serve(gateway, class)
}

// serve accepts a class that isn't there, nil: stand-alone configurations may leave it out.
func (c Classes) serve(gateway *gatewayv1.Gateway, class *gatewayv1.GatewayClass) bool {
	if c.Only != "" && c.Only != gateway.Namespace+"/"+gateway.Name {
		return false
	}
	return class == nil || slices.Contains(c.Controllers, string(class.Spec.ControllerName))
}
