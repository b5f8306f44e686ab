package translator

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// unsupported tells of objects that this version reads and doesn't serve: silence would pass for
// success. What must not be left out for security is refused where it would have applied.
func unsupported(set *resource.Set) []status.Condition {
	var all []status.Condition
	tell(&all, "GRPCRoute", set.GRPCRoutes)
	tell(&all, "TLSRoute", set.TLSRoutes)
	tell(&all, "TCPRoute", set.TCPRoutes)
	tell(&all, "UDPRoute", set.UDPRoutes)
	tell(&all, "BackendTLSPolicy", set.BackendTLSPolicies)
	tell(&all, "BackendTrafficPolicy", set.BackendTrafficPolicies)
	tell(&all, "EnvoyPatchPolicy", set.EnvoyPatchPolicies)
	tell(&all, "EnvoyProxy", set.EnvoyProxies)
	tell(&all, "HTTPRouteFilter", set.HTTPRouteFilters)
	for _, p := range set.ClientTrafficPolicies.All() {
		if fields := otherFields(reflect.ValueOf(p.Spec), "PolicyTargetReferences", "ClientIPDetection", "TLS"); len(fields) > 0 {
			all = append(all, status.Condition{
				Object: resource.Key{Kind: "ClientTrafficPolicy", Namespace: p.Namespace, Name: p.Name},
				Type:   "PartiallyInvalid", True: true, Reason: "UnsupportedValue",
				Message: "this version doesn't serve spec." + strings.Join(fields, ", spec.") + "; they have no effect",
			})
		}
	}
	return all
}

// otherFields lists the fields of a struct that are set and not known, by their JSON names.
func otherFields(spec reflect.Value, known ...string) []string {
	var names []string
	for field, value := range spec.Fields() {
		if !value.IsZero() && !slices.Contains(known, field.Name) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

func tell[T resource.Object](all *[]status.Condition, kind string, objects resource.Table[T]) {
	for _, o := range objects.All() {
		*all = append(*all, status.Condition{
			Object: resource.Key{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()},
			Type:   "Accepted", Reason: "UnsupportedKind",
			Message: fmt.Sprintf("this version doesn't serve %s objects; it has no effect", kind),
		})
	}
}
