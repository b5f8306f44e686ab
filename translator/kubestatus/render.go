package kubestatus

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Input is what statuses are made of.
type Input struct {
	Set *resource.Set
	// Problems are those of reading; an object that isn't in Set because of one gets a status too.
	Problems []resource.Problem
	// Conditions are those of the translation and, of a running gateway, what it found out since.
	Conditions []status.Condition
	Listeners  []status.Listener
	// Controllers are the names of controllers whose classes are served. The first stands in statuses
	// where no class says another.
	Controllers []string
	// Generations are those of objects without metadata.generation; the default is 1.
	Generations map[resource.Key]int64
}

// Render returns every object that has a status, sorted by kind, each kind after what it refers to, then
// by namespace and name. Objects of other controllers have an empty one. The Input isn't changed.
func Render(in Input) []Object {
	r := &renderer{
		Input: in, classes: gatewayapi.Classes{Controllers: in.Controllers},
		conditions: map[resource.Key][]status.Condition{}, listeners: map[resource.Key]map[string]status.Listener{},
	}
	for _, c := range in.Conditions {
		r.conditions[c.Object] = append(r.conditions[c.Object], c)
	}
	for _, l := range in.Listeners {
		if r.listeners[l.Gateway] == nil {
			r.listeners[l.Gateway] = map[string]status.Listener{}
		}
		r.listeners[l.Gateway][l.Name] = l
	}
	r.gatewayObjects()
	r.listenerSets()
	r.routeObjects()
	r.policyObjects()
	r.plainObjects()
	r.unreadable()
	slices.SortStableFunc(r.out, func(a, b Object) int {
		return cmp.Or(
			cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	return r.out
}

type renderer struct {
	Input
	classes    gatewayapi.Classes
	conditions map[resource.Key][]status.Condition
	listeners  map[resource.Key]map[string]status.Listener
	out        []Object
}

const (
	groupGateway = "gateway.networking.k8s.io"
	groupEnvoy   = "gateway.envoyproxy.io"
)

// kinds that have a status, in the order in which they are shown, and their API versions.
var kinds = []struct{ kind, apiVersion string }{
	{"GatewayClass", groupGateway + "/v1"},
	{"Gateway", groupGateway + "/v1"},
	{"ListenerSet", groupGateway + "/v1"},
	{"HTTPRoute", groupGateway + "/v1"},
	{"GRPCRoute", groupGateway + "/v1"},
	{"TLSRoute", groupGateway + "/v1"},
	{"TCPRoute", groupGateway + "/v1"},
	{"UDPRoute", groupGateway + "/v1"},
	{"BackendTLSPolicy", groupGateway + "/v1"},
	{"ClientTrafficPolicy", groupEnvoy + "/v1alpha1"},
	{"SecurityPolicy", groupEnvoy + "/v1alpha1"},
	{"EnvoyExtensionPolicy", groupEnvoy + "/v1alpha1"},
	{"BackendTrafficPolicy", groupEnvoy + "/v1alpha1"},
	{"EnvoyPatchPolicy", groupEnvoy + "/v1alpha1"},
	{"EnvoyProxy", groupEnvoy + "/v1alpha1"},
	{"HTTPRouteFilter", groupEnvoy + "/v1alpha1"},
	{"Backend", groupEnvoy + "/v1alpha1"},
	{"ReferenceGrant", groupGateway + "/v1"},
	{"EndpointSlice", "discovery.k8s.io/v1"},
}

// rank orders kinds; those that aren't listed come last.
func rank(kind string) int {
	for i, k := range kinds {
		if k.kind == kind {
			return i
		}
	}
	return len(kinds)
}

func apiVersion(kind string) string {
	if i := rank(kind); i < len(kinds) {
		return kinds[i].apiVersion
	}
	return "v1"
}

func (r *renderer) add(key resource.Key, generation int64, s Status) {
	r.out = append(r.out, Object{
		APIVersion: apiVersion(key.Kind), Kind: key.Kind,
		Metadata: Metadata{Name: key.Name, Namespace: key.Namespace, Generation: generation},
		Status:   s,
	})
}

// generation of an object. Files rarely have one.
func (r *renderer) generation(key resource.Key, object metav1.Object) int64 {
	if g := object.GetGeneration(); g > 0 {
		return g
	}
	return max(r.Generations[key], 1)
}

func keyOf(kind string, object metav1.Object) resource.Key {
	return resource.Key{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}

// said returns the conditions about an object, with the warnings and the fault of its text.
func (r *renderer) said(key resource.Key) []status.Condition {
	all := slices.Clone(r.conditions[key])
	for _, w := range r.Set.Warnings(key) {
		message := w.Message
		if w.Field != "" {
			message = w.Field + ": " + message
		}
		all = append(all, status.Condition{Object: key, Type: typeWarning, True: true, Reason: reasonDeprecated, Message: message})
	}
	if fault := r.Set.Invalid(key); fault != "" {
		all = append(all, status.Condition{Object: key, Type: typeAccepted, Reason: reasonInvalid, Message: fault})
	}
	return all
}
