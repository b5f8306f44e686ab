package envoy

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

var misdirected = misdirectedEntry()

// Misdirected answers 421 to every request. It is one entry for all, so that configurations which hold it
// are recognised as unchanged.
func Misdirected() *Entry { return misdirected }

func misdirectedEntry() *Entry {
	r := &route.Route{Name: "misdirected", Match: pathMatch(nil)}
	respond(r, 421)
	entry := newEntry(order(&gatewayv1.HTTPRouteMatch{}, 0), marshal(r))
	return &entry
}
