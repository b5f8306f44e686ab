package gatewayapi

import (
	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// leafKind is a kind of object that rules read by its name.
type leafKind struct {
	kind    memo.Kind
	lookup  func(set *resource.Set) func(namespace, name string) any
	changed func(now, old *resource.Set, yield func(namespace, name string))
}

// kinds are all of them. Objects that are read only by what they belong to have indexes instead.
var kinds = []leafKind{
	leaf("GatewayClass", func(s *resource.Set) resource.Table[*gatewayv1.GatewayClass] { return s.GatewayClasses }),
	leaf("Gateway", func(s *resource.Set) resource.Table[*gatewayv1.Gateway] { return s.Gateways }),
	leaf("ListenerSet", func(s *resource.Set) resource.Table[*gatewayv1.ListenerSet] { return s.ListenerSets }),
	leaf("HTTPRoute", func(s *resource.Set) resource.Table[*gatewayv1.HTTPRoute] { return s.HTTPRoutes }),
	leaf("GRPCRoute", func(s *resource.Set) resource.Table[*gatewayv1.GRPCRoute] { return s.GRPCRoutes }),
	leaf("TLSRoute", func(s *resource.Set) resource.Table[*gatewayv1.TLSRoute] { return s.TLSRoutes }),
	leaf("TCPRoute", func(s *resource.Set) resource.Table[*gatewayv1.TCPRoute] { return s.TCPRoutes }),
	leaf("UDPRoute", func(s *resource.Set) resource.Table[*gatewayv1.UDPRoute] { return s.UDPRoutes }),
	leaf("Namespace", func(s *resource.Set) resource.Table[*corev1.Namespace] { return s.Namespaces }),
	leaf("Service", func(s *resource.Set) resource.Table[*corev1.Service] { return s.Services }),
	leaf("Secret", func(s *resource.Set) resource.Table[*corev1.Secret] { return s.Secrets }),
	leaf("ConfigMap", func(s *resource.Set) resource.Table[*corev1.ConfigMap] { return s.ConfigMaps }),
	leaf("Backend", func(s *resource.Set) resource.Table[*egv1alpha1.Backend] { return s.Backends }),
	leaf("SecurityPolicy", func(s *resource.Set) resource.Table[*resource.SecurityPolicy] { return s.SecurityPolicies }),
	leaf("EnvoyExtensionPolicy", func(s *resource.Set) resource.Table[*resource.EnvoyExtensionPolicy] { return s.EnvoyExtensionPolicies }),
	leaf("ClientTrafficPolicy", func(s *resource.Set) resource.Table[*egv1alpha1.ClientTrafficPolicy] { return s.ClientTrafficPolicies }),
	leaf("BackendTrafficPolicy", func(s *resource.Set) resource.Table[*egv1alpha1.BackendTrafficPolicy] {
		return s.BackendTrafficPolicies
	}),
	leaf("BackendTLSPolicy", func(s *resource.Set) resource.Table[*gatewayv1.BackendTLSPolicy] { return s.BackendTLSPolicies }),
	leaf("EnvoyPatchPolicy", func(s *resource.Set) resource.Table[*egv1alpha1.EnvoyPatchPolicy] { return s.EnvoyPatchPolicies }),
	leaf("EnvoyProxy", func(s *resource.Set) resource.Table[*egv1alpha1.EnvoyProxy] { return s.EnvoyProxies }),
	leaf("HTTPRouteFilter", func(s *resource.Set) resource.Table[*egv1alpha1.HTTPRouteFilter] { return s.HTTPRouteFilters }),
}

func leaf[T resource.Object](kind memo.Kind, table func(*resource.Set) resource.Table[T]) leafKind {
	return leafKind{
		kind: kind,
		lookup: func(set *resource.Set) func(namespace, name string) any {
			objects := table(set)
			return func(namespace, name string) any {
				if object, ok := objects.Get(namespace, name); ok {
					return object
				}
				return nil
			}
		},
		changed: func(now, old *resource.Set, yield func(namespace, name string)) {
			table(now).Changed(table(old), yield)
		},
	}
}

func tables(set *resource.Set) map[memo.Kind]func(namespace, name string) any {
	all := make(map[memo.Kind]func(namespace, name string) any, len(kinds))
	for _, k := range kinds {
		all[k.kind] = k.lookup(set)
	}
	return all
}
