// Package gatewayapi reads Gateway API objects as the specification tells: which routes attach to which
// listeners, what a reference may name, where a backend's endpoints are. Its results are plain structs;
// package envoy turns them into xDS.
package gatewayapi

import (
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/openid"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Input answers for the leaves of a [memo.Graph]: the objects of a Set by kind, and lists of them by
// what they belong to. It is used by one goroutine.
type Input struct {
	set      *resource.Set
	tables   map[memo.Kind]func(namespace, name string) any
	slices   *index[*discoveryv1.EndpointSlice]
	grants   *index[*gatewayv1.ReferenceGrant]
	sets     *index[*gatewayv1.ListenerSet]
	policies *policyIndex
	reasons  map[string]*string
}

// The kinds of lists.
const (
	slicesOf   memo.Kind = "EndpointSlices of Service"
	grantsIn   memo.Kind = "ReferenceGrants in namespace"
	setsOf     memo.Kind = "ListenerSets of Gateway"
	policiesOf memo.Kind = "policies of "
)

// ProviderKind is the kind of descriptions of OpenID providers (*openid.Document); a key's Name is the issuer.
const ProviderKind memo.Kind = "description of OpenID provider"

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

// NewInput returns the Input of an empty Set.
func NewInput() *Input {
	empty := &resource.Set{}
	return &Input{
		set: empty, tables: tables(empty), policies: newPolicyIndex(), reasons: map[string]*string{},
		slices: newIndex(byName[*discoveryv1.EndpointSlice], func(s *discoveryv1.EndpointSlice) memo.Key {
			return memo.Key{Kind: slicesOf, Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		}),
		grants: newIndex(byName[*gatewayv1.ReferenceGrant], func(g *gatewayv1.ReferenceGrant) memo.Key {
			return memo.Key{Kind: grantsIn, Namespace: g.Namespace}
		}),
		sets: newIndex(byAge[*gatewayv1.ListenerSet], func(s *gatewayv1.ListenerSet) memo.Key {
			return memo.Key{Kind: setsOf, Namespace: GatewayOf(s).Namespace, Name: GatewayOf(s).Name}
		}),
	}
}

// Update takes the next Set, and returns the leaves that changed. It costs a comparison of pointers for
// every object, and work for those that changed.
func (in *Input) Update(set *resource.Set) []memo.Key {
	old := in.set
	in.set, in.tables = set, tables(set)
	var moved []memo.Key
	note := func(key memo.Key) { moved = append(moved, key) }
	for _, kind := range kinds {
		kind.changed(set, old, func(namespace, name string) {
			note(memo.Key{Kind: kind.kind, Namespace: namespace, Name: name})
			note(memo.Key{Kind: invalidKind, Namespace: namespace, Name: string(kind.kind) + "/" + name})
		})
	}
	providersMoved(set.Providers, old.Providers, note)
	in.slices.update(set.EndpointSlices, old.EndpointSlices, note)
	in.grants.update(set.ReferenceGrants, old.ReferenceGrants, note)
	in.sets.update(set.ListenerSets, old.ListenerSets, note)
	in.policies.update(set, old, note)
	return moved
}

func providersMoved(now, old map[string]*openid.Document, note func(memo.Key)) {
	for _, pair := range [][2]map[string]*openid.Document{{now, old}, {old, now}} {
		for issuer, document := range pair[0] {
			if pair[1][issuer] != document {
				note(memo.Key{Kind: ProviderKind, Name: issuer})
			}
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
		return pointer(in.slices.lists[key])
	case grantsIn:
		return pointer(in.grants.lists[key])
	case setsOf:
		return pointer(in.sets.lists[key])
	case invalidKind:
		return in.invalid(key)
	case ProviderKind:
		return pointer(in.set.Providers[key.Name])
	}
	return pointer(in.policies.lists[key])
}

// invalid returns one pointer for one text, so that an unchanged fault is an unchanged value.
func (in *Input) invalid(key memo.Key) any {
	kind, name, _ := strings.Cut(key.Name, "/")
	reason := in.set.Invalid(resource.Key{Kind: kind, Namespace: key.Namespace, Name: name})
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
