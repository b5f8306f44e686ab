package resource

import (
	"reflect"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/json"
)

// API groups of the kinds.
const (
	groupGateway   = "gateway.networking.k8s.io"
	groupEnvoy     = "gateway.envoyproxy.io"
	groupDiscovery = "discovery.k8s.io"
)

// kind knows how to decode one kind of object and where in a Set it belongs.
type kind struct {
	name     string
	group    string
	versions []string
	cluster  bool // cluster-scoped
	// targeted kinds stay in the set although they have a fault: leaving them out would serve their
	// targets without them.
	targeted bool
	// routing kinds stay too, as far as they can be decoded: leaving one out would hand its requests to a
	// wider route, whose policy may ask for less.
	routing bool
	// types are the Go types that together know every field of the document.
	types  []reflect.Type
	decode func(text []byte) (Object, error)
	// collect moves objects of this kind into their Table.
	collect func(*Set, []Object)
}

type pointer[T any] interface {
	*T
	Object
}

func kindOf[T any, P pointer[T]](name, group string, field func(*Set) *Table[P], versions ...string) *kind {
	return &kind{
		name: name, group: group, versions: versions,
		types: []reflect.Type{reflect.TypeFor[T]()},
		decode: func(text []byte) (Object, error) {
			object := P(new(T))
			return object, json.UnmarshalCaseSensitivePreserveInts(text, object)
		},
		collect: func(set *Set, objects []Object) {
			typed := make([]P, len(objects))
			for i, object := range objects {
				typed[i] = object.(P) //nolint:forcetypeassert // decode has made it
			}
			*field(set) = newTable(typed)
		},
	}
}

func (k *kind) clusterScoped() *kind { k.cluster = true; return k }

func (k *kind) withTargets() *kind { k.targeted = true; return k }

func (k *kind) withRoutes() *kind { k.routing = true; return k }

// kinds lists every kind that a gateway is made of. Gateway API kinds are decoded into their v1 types
// from every version that has the same fields.
var kinds = []*kind{
	kindOf("GatewayClass", groupGateway, func(s *Set) *Table[*gatewayv1.GatewayClass] { return &s.GatewayClasses }, "v1", "v1beta1").clusterScoped(),
	kindOf("Gateway", groupGateway, func(s *Set) *Table[*gatewayv1.Gateway] { return &s.Gateways }, "v1", "v1beta1"),
	kindOf("ListenerSet", groupGateway, func(s *Set) *Table[*gatewayv1.ListenerSet] { return &s.ListenerSets }, "v1"),
	kindOf("HTTPRoute", groupGateway, func(s *Set) *Table[*gatewayv1.HTTPRoute] { return &s.HTTPRoutes }, "v1", "v1beta1").withRoutes(),
	kindOf("GRPCRoute", groupGateway, func(s *Set) *Table[*gatewayv1.GRPCRoute] { return &s.GRPCRoutes }, "v1", "v1alpha2"),
	kindOf("TLSRoute", groupGateway, func(s *Set) *Table[*gatewayv1.TLSRoute] { return &s.TLSRoutes }, "v1", "v1alpha3", "v1alpha2"),
	kindOf("TCPRoute", groupGateway, func(s *Set) *Table[*gatewayv1.TCPRoute] { return &s.TCPRoutes }, "v1", "v1alpha2"),
	kindOf("UDPRoute", groupGateway, func(s *Set) *Table[*gatewayv1.UDPRoute] { return &s.UDPRoutes }, "v1", "v1alpha2"),
	kindOf("ReferenceGrant", groupGateway, func(s *Set) *Table[*gatewayv1.ReferenceGrant] { return &s.ReferenceGrants }, "v1", "v1beta1", "v1alpha2"),
	kindOf("BackendTLSPolicy", groupGateway, func(s *Set) *Table[*gatewayv1.BackendTLSPolicy] { return &s.BackendTLSPolicies }, "v1", "v1alpha3").withTargets(),

	kindOf("Namespace", "", func(s *Set) *Table[*corev1.Namespace] { return &s.Namespaces }, "v1").clusterScoped(),
	kindOf("Service", "", func(s *Set) *Table[*corev1.Service] { return &s.Services }, "v1"),
	kindOf("Secret", "", func(s *Set) *Table[*corev1.Secret] { return &s.Secrets }, "v1"),
	kindOf("ConfigMap", "", func(s *Set) *Table[*corev1.ConfigMap] { return &s.ConfigMaps }, "v1"),
	kindOf("EndpointSlice", groupDiscovery, func(s *Set) *Table[*discoveryv1.EndpointSlice] { return &s.EndpointSlices }, "v1"),

	securityPolicyKind(),
	extensionPolicyKind(),
	kindOf("ClientTrafficPolicy", groupEnvoy, func(s *Set) *Table[*egv1alpha1.ClientTrafficPolicy] { return &s.ClientTrafficPolicies }, "v1alpha1").withTargets(),
	kindOf("BackendTrafficPolicy", groupEnvoy, func(s *Set) *Table[*egv1alpha1.BackendTrafficPolicy] { return &s.BackendTrafficPolicies }, "v1alpha1").withTargets(),
	kindOf("EnvoyPatchPolicy", groupEnvoy, func(s *Set) *Table[*egv1alpha1.EnvoyPatchPolicy] { return &s.EnvoyPatchPolicies }, "v1alpha1"),
	kindOf("EnvoyProxy", groupEnvoy, func(s *Set) *Table[*egv1alpha1.EnvoyProxy] { return &s.EnvoyProxies }, "v1alpha1"),
	kindOf("Backend", groupEnvoy, func(s *Set) *Table[*egv1alpha1.Backend] { return &s.Backends }, "v1alpha1"),
	kindOf("HTTPRouteFilter", groupEnvoy, func(s *Set) *Table[*egv1alpha1.HTTPRouteFilter] { return &s.HTTPRouteFilters }, "v1alpha1"),
}

func securityPolicyKind() *kind {
	k := kindOf("SecurityPolicy", groupEnvoy, func(s *Set) *Table[*SecurityPolicy] { return &s.SecurityPolicies }, "v1alpha1").withTargets()
	k.types = []reflect.Type{reflect.TypeFor[egv1alpha1.SecurityPolicy](), reflect.TypeFor[SecurityPolicyOwn]()}
	k.decode = func(text []byte) (Object, error) { return unmarshalSecurityPolicy(text) }
	return k
}

func extensionPolicyKind() *kind {
	k := kindOf("EnvoyExtensionPolicy", groupEnvoy, func(s *Set) *Table[*EnvoyExtensionPolicy] { return &s.EnvoyExtensionPolicies }, "v1alpha1").withTargets()
	k.types = []reflect.Type{reflect.TypeFor[egv1alpha1.EnvoyExtensionPolicy](), reflect.TypeFor[EnvoyExtensionPolicyOwn]()}
	k.decode = func(text []byte) (Object, error) { return unmarshalExtensionPolicy(text) }
	return k
}

func unmarshalSecurityPolicy(text []byte) (*SecurityPolicy, error) {
	policy := &SecurityPolicy{JSON: text}
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &policy.SecurityPolicy); err != nil {
		return nil, err
	}
	return policy, json.UnmarshalCaseSensitivePreserveInts(text, &policy.Own)
}

func unmarshalExtensionPolicy(text []byte) (*EnvoyExtensionPolicy, error) {
	policy := &EnvoyExtensionPolicy{JSON: text}
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &policy.EnvoyExtensionPolicy); err != nil {
		return nil, err
	}
	return policy, json.UnmarshalCaseSensitivePreserveInts(text, &policy.Own)
}
