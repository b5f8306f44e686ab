package standalone

import (
	"reflect"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// generations counts the changes of every object's spec, as the API server does. The first is 1. An
// object that went and came back starts anew.
type generations struct {
	last    *resource.Set
	numbers map[resource.Key]int64
}

func newGenerations() *generations {
	return &generations{last: &resource.Set{}, numbers: map[resource.Key]int64{}}
}

// next takes the next state of the input. An unchanged document gives the same pointer, so most objects
// cost no more than the comparison of pointers.
func (g *generations) next(set *resource.Set) {
	old := g.last
	g.last = set
	count(g, "GatewayClass", old.GatewayClasses, set.GatewayClasses)
	count(g, "Gateway", old.Gateways, set.Gateways)
	count(g, "ListenerSet", old.ListenerSets, set.ListenerSets)
	count(g, "HTTPRoute", old.HTTPRoutes, set.HTTPRoutes)
	count(g, "GRPCRoute", old.GRPCRoutes, set.GRPCRoutes)
	count(g, "TLSRoute", old.TLSRoutes, set.TLSRoutes)
	count(g, "TCPRoute", old.TCPRoutes, set.TCPRoutes)
	count(g, "UDPRoute", old.UDPRoutes, set.UDPRoutes)
	count(g, "BackendTLSPolicy", old.BackendTLSPolicies, set.BackendTLSPolicies)
	count(g, "ClientTrafficPolicy", old.ClientTrafficPolicies, set.ClientTrafficPolicies)
	count(g, "SecurityPolicy", old.SecurityPolicies, set.SecurityPolicies)
	count(g, "EnvoyExtensionPolicy", old.EnvoyExtensionPolicies, set.EnvoyExtensionPolicies)
	count(g, "BackendTrafficPolicy", old.BackendTrafficPolicies, set.BackendTrafficPolicies)
	count(g, "EnvoyPatchPolicy", old.EnvoyPatchPolicies, set.EnvoyPatchPolicies)
	count(g, "EnvoyProxy", old.EnvoyProxies, set.EnvoyProxies)
	count(g, "HTTPRouteFilter", old.HTTPRouteFilters, set.HTTPRouteFilters)
}

func count[T resource.Object](g *generations, kind string, old, now resource.Table[T]) {
	now.Changed(old, func(namespace, name string) {
		key := resource.Key{Kind: kind, Namespace: namespace, Name: name}
		before, was := old.Get(namespace, name)
		after, is := now.Get(namespace, name)
		switch {
		case !is:
			delete(g.numbers, key)
		case !was:
			g.numbers[key] = 1
		case !sameSpec(before, after):
			g.numbers[key]++
		}
	})
}

// sameSpec compares what the user wrote, without metadata. Policies have their own fields beside it.
func sameSpec(a, b any) bool {
	x, y := reflect.Indirect(reflect.ValueOf(a)), reflect.Indirect(reflect.ValueOf(b))
	for _, name := range []string{"Spec", "Own", "Invalid"} {
		p, q := x.FieldByName(name), y.FieldByName(name)
		if p.IsValid() && q.IsValid() && !reflect.DeepEqual(p.Interface(), q.Interface()) {
			return false
		}
	}
	return true
}
