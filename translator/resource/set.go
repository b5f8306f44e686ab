package resource

import (
	"slices"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/openid"
)

// Set is one consistent state of all objects, made by a [Builder]. Immutable; any number of goroutines
// may read it. Objects have no status: statuses are output.
type Set struct {
	GatewayClasses     Table[*gatewayv1.GatewayClass]
	Gateways           Table[*gatewayv1.Gateway]
	ListenerSets       Table[*gatewayv1.ListenerSet]
	HTTPRoutes         Table[*gatewayv1.HTTPRoute]
	GRPCRoutes         Table[*gatewayv1.GRPCRoute]
	TLSRoutes          Table[*gatewayv1.TLSRoute]
	TCPRoutes          Table[*gatewayv1.TCPRoute]
	UDPRoutes          Table[*gatewayv1.UDPRoute]
	ReferenceGrants    Table[*gatewayv1.ReferenceGrant]
	BackendTLSPolicies Table[*gatewayv1.BackendTLSPolicy]

	// Namespaces has every namespace that holds an object, whether the input has it or not, and each
	// has the label kubernetes.io/metadata.name, as from the API server.
	Namespaces     Table[*corev1.Namespace]
	Services       Table[*corev1.Service]
	Secrets        Table[*corev1.Secret] // stringData is folded into data
	ConfigMaps     Table[*corev1.ConfigMap]
	EndpointSlices Table[*discoveryv1.EndpointSlice]

	SecurityPolicies       Table[*SecurityPolicy]
	EnvoyExtensionPolicies Table[*EnvoyExtensionPolicy]
	ClientTrafficPolicies  Table[*egv1alpha1.ClientTrafficPolicy]
	BackendTrafficPolicies Table[*egv1alpha1.BackendTrafficPolicy]
	EnvoyPatchPolicies     Table[*egv1alpha1.EnvoyPatchPolicy]
	EnvoyProxies           Table[*egv1alpha1.EnvoyProxy]
	Backends               Table[*egv1alpha1.Backend]
	HTTPRouteFilters       Table[*egv1alpha1.HTTPRouteFilter]

	// Providers are descriptions of OpenID providers, by issuer. They are no manifests: who runs a translation
	// fetches them, see [Set.WithProviders].
	Providers map[string]*openid.Document

	facts  map[Key]facts
	warned []Warning // of all objects
	notes  []Warning
}

// facts is what is known about an object beside its text.
type facts struct {
	origin   Origin
	warnings []Warning
	invalid  string
	entry    *entry
	kept     bool // from Keep
}

// WithProviders returns the same objects beside other descriptions of OpenID providers. They must not be
// changed any more; an unchanged one is the same pointer.
func (s *Set) WithProviders(documents map[string]*openid.Document) *Set {
	out := *s
	out.Providers = documents
	return &out
}

// Origin tells where the object of that key was read, and false for one that isn't in the set or was
// made by the Builder (a Namespace that the input doesn't have).
func (s *Set) Origin(key Key) (Origin, bool) {
	known, ok := s.facts[key]
	return known.origin, ok
}

// Warnings returns what should be written otherwise in the object of that key.
func (s *Set) Warnings(key Key) []Warning { return slices.Clone(s.facts[key].warnings) }

// AllWarnings returns the warnings of all objects, sorted by origin.
func (s *Set) AllWarnings() []Warning { return slices.Clone(s.warned) }

// Invalid returns why the object of that key can't be trusted, and "" for one without fault. It is not
// empty only for kinds that have targets: SecurityPolicy, EnvoyExtensionPolicy, ClientTrafficPolicy,
// BackendTrafficPolicy and BackendTLSPolicy, and for HTTPRoute. Of such a policy only metadata and targets
// may be used, and its targets must not be served as if it weren't there; an HTTPRoute answers 500 where
// it would have served.
func (s *Set) Invalid(key Key) string { return s.facts[key].invalid }

// Notes tells what was skipped because it isn't a gateway's business, such as a Deployment, sorted by
// origin.
func (s *Set) Notes() []Warning { return slices.Clone(s.notes) }
