package standalone

import (
	"reflect"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// generations counts the changes of every object's spec, as the API server does. The first is 1. An
// object that went and came back starts anew.
type generations map[resource.Key]generation

type generation struct {
	object any
	number int64
}

// next takes the next state of the input.
func (g generations) next(set *resource.Set) {
	seen := make(map[resource.Key]bool, len(g))
	count(g, seen, "GatewayClass", set.GatewayClasses)
	count(g, seen, "Gateway", set.Gateways)
	count(g, seen, "ListenerSet", set.ListenerSets)
	count(g, seen, "HTTPRoute", set.HTTPRoutes)
	count(g, seen, "GRPCRoute", set.GRPCRoutes)
	count(g, seen, "TLSRoute", set.TLSRoutes)
	count(g, seen, "TCPRoute", set.TCPRoutes)
	count(g, seen, "UDPRoute", set.UDPRoutes)
	count(g, seen, "BackendTLSPolicy", set.BackendTLSPolicies)
	count(g, seen, "ClientTrafficPolicy", set.ClientTrafficPolicies)
	count(g, seen, "SecurityPolicy", set.SecurityPolicies)
	count(g, seen, "EnvoyExtensionPolicy", set.EnvoyExtensionPolicies)
	count(g, seen, "BackendTrafficPolicy", set.BackendTrafficPolicies)
	count(g, seen, "EnvoyPatchPolicy", set.EnvoyPatchPolicies)
	count(g, seen, "EnvoyProxy", set.EnvoyProxies)
	count(g, seen, "HTTPRouteFilter", set.HTTPRouteFilters)
	for key := range g {
		if !seen[key] {
			delete(g, key)
		}
	}
}

func count[T resource.Object](g generations, seen map[resource.Key]bool, kind string, table resource.Table[T]) {
	for _, object := range table.All() {
		key := resource.Key{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
		seen[key] = true
		old, known := g[key]
		number := max(old.number, 1)
		// An unchanged document gives the same pointer, so most objects are not compared field by field.
		if known && old.object != any(object) && !sameSpec(old.object, object) {
			number++
		}
		g[key] = generation{object: object, number: number}
	}
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

func (g generations) numbers() map[resource.Key]int64 {
	numbers := make(map[resource.Key]int64, len(g))
	for key, one := range g {
		numbers[key] = one.number
	}
	return numbers
}
