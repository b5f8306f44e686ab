package translator

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// unsupportedKinds are read and not served by this version.
var unsupportedKinds = map[memo.Kind]bool{
	"GRPCRoute": true, "TLSRoute": true, "TCPRoute": true, "UDPRoute": true, "BackendTLSPolicy": true,
	"BackendTrafficPolicy": true, "EnvoyPatchPolicy": true, "EnvoyProxy": true, "HTTPRouteFilter": true,
}

// unsupported tells of an object, or fields of it, that this version reads and doesn't serve: silence would
// pass for success. What must not be left out for security is refused where it would have applied.
func unsupported(key memo.Key, object any) []status.Condition {
	of := resource.Key{Kind: string(key.Kind), Namespace: key.Namespace, Name: key.Name}
	if proxy, ok := object.(*egv1alpha1.EnvoyProxy); ok && proxy.Spec.GeoIP != nil {
		return unsupportedOfProxy(of, proxy)
	}
	if unsupportedKinds[key.Kind] && object != nil {
		return []status.Condition{{
			Object: of, Type: "Accepted", Reason: "UnsupportedKind",
			Message: fmt.Sprintf("this version doesn't serve %s objects; it has no effect", key.Kind),
		}}
	}
	if p, ok := object.(*egv1alpha1.ClientTrafficPolicy); ok {
		return partially(of, reflect.ValueOf(p.Spec), "PolicyTargetReferences", "ClientIPDetection", "TLS")
	}
	return nil
}

// unsupportedOfProxy tells of an EnvoyProxy with databases, which alone are served.
func unsupportedOfProxy(of resource.Key, proxy *egv1alpha1.EnvoyProxy) []status.Condition {
	if fault := policy.GeoIPFault(proxy); fault != "" {
		return []status.Condition{{Object: of, Type: "Accepted", Reason: "Invalid", Message: fault}}
	}
	return partially(of, reflect.ValueOf(proxy.Spec), "GeoIP", "MergeType")
}

// partially tells of the fields of a spec that are set and not served.
func partially(of resource.Key, spec reflect.Value, served ...string) []status.Condition {
	fields := otherFields(spec, served...)
	if len(fields) == 0 {
		return nil
	}
	return []status.Condition{{
		Object: of, Type: "PartiallyInvalid", True: true, Reason: "UnsupportedValue",
		Message: "this version doesn't serve spec." + strings.Join(fields, ", spec.") + "; they have no effect",
	}}
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
