// Package gatewayapi reads Gateway API objects as the specification tells: which routes attach to which
// listeners, what a reference may name, where a backend's endpoints are. Its results are plain structs;
// package envoy turns them into xDS.
package gatewayapi

import (
	"maps"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Input answers for the leaves of a [memo.Graph]: the objects of a Set by kind, and lists of them by
// what they belong to. It is used by one goroutine.
type Input struct {
	Set      *resource.Set
	tables   map[memo.Kind]func(namespace, name string) any
	slices   map[memo.Key]*List[*discoveryv1.EndpointSlice]
	grants   map[memo.Key]*List[*gatewayv1.ReferenceGrant]
	sets     map[memo.Key]*List[*gatewayv1.ListenerSet]
	policies map[memo.Key]*List[Targeting]
	reasons  map[string]*string
	moved    map[memo.Key]bool // leaves that are others than in the previous Input; nil: all may be
}

// List is an index entry. Equal lists of successive Inputs are one pointer, so that a rule that reads
// one isn't run again for nothing.
type List[T comparable] struct{ Items []T }

// The kinds of lists.
const (
	slicesOf   memo.Kind = "EndpointSlices of Service"
	grantsIn   memo.Kind = "ReferenceGrants in namespace"
	setsOf     memo.Kind = "ListenerSets of Gateway"
	policiesOf memo.Kind = "policies of "
)

// invalidKind is the kind of what is wrong with an object, by Kind/name; nil for a sound one.
const invalidKind memo.Kind = "invalid"

// Invalid returns what is wrong with an object of a kind that stays in the set all the same, "" for a sound
// one; see resource.Set.Invalid.
func Invalid(v *memo.View, kind, namespace, name string) string {
	if reason := memo.Read[*string](v, memo.Key{Kind: invalidKind, Namespace: namespace, Name: kind + "/" + name}); reason != nil {
		return *reason
	}
	return ""
}

// NewInput indexes a Set. prev, which may be nil, lends its unchanged lists.
func NewInput(set *resource.Set, prev *Input) *Input {
	if prev == nil {
		prev = &Input{}
	}
	in := &Input{Set: set, tables: tables(set), reasons: maps.Clone(prev.reasons)}
	if in.reasons == nil {
		in.reasons = map[string]*string{}
	}
	in.slices = group(set.EndpointSlices.All(), prev.slices, func(s *discoveryv1.EndpointSlice) memo.Key {
		return memo.Key{Kind: slicesOf, Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
	})
	in.grants = group(set.ReferenceGrants.All(), prev.grants, func(g *gatewayv1.ReferenceGrant) memo.Key {
		return memo.Key{Kind: grantsIn, Namespace: g.Namespace}
	})
	in.sets = group(byAge(set.ListenerSets.All()), prev.sets, func(s *gatewayv1.ListenerSet) memo.Key {
		return memo.Key{Kind: setsOf, Namespace: GatewayOf(s).Namespace, Name: GatewayOf(s).Name}
	})
	in.policies = targetIndex(set, prev.policies)
	if prev.Set != nil {
		in.moved = map[memo.Key]bool{}
		in.compare(prev)
	}
	return in
}

// Moved reports whether a leaf may be another than in the previous Input.
func (in *Input) Moved(key memo.Key) bool { return in.moved == nil || in.moved[key] }

// compare notes every leaf that changed.
func (in *Input) compare(prev *Input) {
	now, old := in.Set, prev.Set
	now.GatewayClasses.Changed(old.GatewayClasses, in.note("GatewayClass"))
	now.Gateways.Changed(old.Gateways, in.note("Gateway"))
	now.HTTPRoutes.Changed(old.HTTPRoutes, in.note("HTTPRoute"))
	now.ListenerSets.Changed(old.ListenerSets, in.note("ListenerSet"))
	now.Namespaces.Changed(old.Namespaces, in.note("Namespace"))
	now.Services.Changed(old.Services, in.note("Service"))
	now.Secrets.Changed(old.Secrets, in.note("Secret"))
	now.ConfigMaps.Changed(old.ConfigMaps, in.note("ConfigMap"))
	now.Backends.Changed(old.Backends, in.note("Backend"))
	now.SecurityPolicies.Changed(old.SecurityPolicies, in.note("SecurityPolicy"))
	now.EnvoyExtensionPolicies.Changed(old.EnvoyExtensionPolicies, in.note("EnvoyExtensionPolicy"))
	now.ClientTrafficPolicies.Changed(old.ClientTrafficPolicies, in.note("ClientTrafficPolicy"))
	changedLists(in.slices, prev.slices, in.moved)
	changedLists(in.grants, prev.grants, in.moved)
	changedLists(in.sets, prev.sets, in.moved)
	changedLists(in.policies, prev.policies, in.moved)
}

// note marks an object of a kind, and what is said to be wrong with it.
func (in *Input) note(kind memo.Kind) func(namespace, name string) {
	return func(namespace, name string) {
		in.moved[memo.Key{Kind: kind, Namespace: namespace, Name: name}] = true
		in.moved[memo.Key{Kind: invalidKind, Namespace: namespace, Name: string(kind) + "/" + name}] = true
	}
}

func changedLists[T comparable](now, old map[memo.Key]*List[T], moved map[memo.Key]bool) {
	for key, list := range now {
		if old[key] != list {
			moved[key] = true
		}
	}
	for key := range old {
		if now[key] == nil {
			moved[key] = true
		}
	}
}

// Leaf returns the object or list of a key, nil if there is none.
func (in *Input) Leaf(key memo.Key) any {
	if get, ok := in.tables[key.Kind]; ok {
		return get(key.Namespace, key.Name)
	}
	switch key.Kind {
	case slicesOf:
		return pointer(in.slices[key])
	case grantsIn:
		return pointer(in.grants[key])
	case setsOf:
		return pointer(in.sets[key])
	case invalidKind:
		return in.invalid(key)
	}
	return pointer(in.policies[key])
}

// invalid returns one pointer for one text, so that an unchanged fault is an unchanged value.
func (in *Input) invalid(key memo.Key) any {
	kind, name, _ := strings.Cut(key.Name, "/")
	reason := in.Set.Invalid(resource.Key{Kind: kind, Namespace: key.Namespace, Name: name})
	if reason == "" {
		return nil
	}
	if known, ok := in.reasons[reason]; ok {
		return known
	}
	in.reasons[reason] = &reason
	return &reason
}

// pointer makes a nil pointer a nil any.
func pointer[T any](p *T) any {
	if p == nil {
		return nil
	}
	return p
}

func tables(set *resource.Set) map[memo.Kind]func(namespace, name string) any {
	return map[memo.Kind]func(namespace, name string) any{
		"GatewayClass":         lookup(set.GatewayClasses),
		"Gateway":              lookup(set.Gateways),
		"HTTPRoute":            lookup(set.HTTPRoutes),
		"ListenerSet":          lookup(set.ListenerSets),
		"Namespace":            lookup(set.Namespaces),
		"Service":              lookup(set.Services),
		"Secret":               lookup(set.Secrets),
		"ConfigMap":            lookup(set.ConfigMaps),
		"Backend":              lookup(set.Backends),
		"SecurityPolicy":       lookup(set.SecurityPolicies),
		"EnvoyExtensionPolicy": lookup(set.EnvoyExtensionPolicies),
		"ClientTrafficPolicy":  lookup(set.ClientTrafficPolicies),
	}
}

func lookup[T resource.Object](table resource.Table[T]) func(namespace, name string) any {
	return func(namespace, name string) any {
		if object, ok := table.Get(namespace, name); ok {
			return object
		}
		return nil
	}
}

// group makes lists by key, in the order of items, and takes over the previous pointer of an equal list.
func group[T comparable](items []T, prev map[memo.Key]*List[T], key func(T) memo.Key) map[memo.Key]*List[T] {
	lists := map[memo.Key]*List[T]{}
	for _, item := range items {
		add(lists, key(item), item)
	}
	return intern(lists, prev)
}

func add[T comparable](lists map[memo.Key]*List[T], key memo.Key, item T) {
	list := lists[key]
	if list == nil {
		list = &List[T]{}
		lists[key] = list
	}
	list.Items = append(list.Items, item)
}

func intern[T comparable](lists, prev map[memo.Key]*List[T]) map[memo.Key]*List[T] {
	for key, list := range lists {
		if old := prev[key]; old != nil && same(old.Items, list.Items) {
			lists[key] = old
		}
	}
	return lists
}

func same[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
