package gatewayapi

import (
	"cmp"
	"slices"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// policyReferences is what every policy of Envoy Gateway says of its targets.
type policyReferences = egv1alpha1.PolicyTargetReferences

// policyKind is one kind of policy in the form that the index needs.
type policyKind struct {
	kind    string
	each    func(set *resource.Set, yield func(found))
	get     func(set *resource.Set, namespace, name string) (found, bool)
	changed func(now, old *resource.Set, yield func(namespace, name string))
}

// policyKinds are those whose targets are looked up by rules.
var policyKinds = []policyKind{
	targeting("SecurityPolicy", func(s *resource.Set) resource.Table[*resource.SecurityPolicy] { return s.SecurityPolicies },
		func(p *resource.SecurityPolicy) policyReferences { return p.Spec.PolicyTargetReferences }),
	targeting("EnvoyExtensionPolicy", func(s *resource.Set) resource.Table[*resource.EnvoyExtensionPolicy] { return s.EnvoyExtensionPolicies },
		func(p *resource.EnvoyExtensionPolicy) policyReferences { return p.Spec.PolicyTargetReferences }),
	targeting("BackendTLSPolicy", func(s *resource.Set) resource.Table[*gatewayv1.BackendTLSPolicy] { return s.BackendTLSPolicies },
		func(p *gatewayv1.BackendTLSPolicy) policyReferences {
			return policyReferences{TargetRefs: p.Spec.TargetRefs}
		}),
	targeting("ClientTrafficPolicy", func(s *resource.Set) resource.Table[*egv1alpha1.ClientTrafficPolicy] { return s.ClientTrafficPolicies },
		func(p *egv1alpha1.ClientTrafficPolicy) policyReferences { return p.Spec.PolicyTargetReferences }),
}

func targeting[T resource.Object](kind string, table func(*resource.Set) resource.Table[T], refs func(T) policyReferences) policyKind {
	return policyKind{
		kind: kind,
		each: func(set *resource.Set, yield func(found)) {
			for _, p := range table(set).All() {
				yield(found{kind, p, refs(p)})
			}
		},
		get: func(set *resource.Set, namespace, name string) (found, bool) {
			p, ok := table(set).Get(namespace, name)
			if !ok {
				return found{}, false
			}
			return found{kind, p, refs(p)}, true
		},
		changed: func(now, old *resource.Set, yield func(namespace, name string)) {
			table(now).Changed(table(old), yield)
		},
	}
}

// found is a policy with what it says of its targets.
type found struct {
	kind   string
	object resource.Object
	refs   policyReferences
}

func (p found) key() resource.Key {
	return resource.Key{Kind: p.kind, Namespace: p.object.GetNamespace(), Name: p.object.GetName()}
}

// policyIndex lists the policies of every target, the one that prevails first: the older, then the lesser
// by namespace/name (Gateway API, "conflict resolution").
type policyIndex struct {
	lists map[memo.Key]*List[Targeting]
	// targets are what every policy of the lists is entered for.
	targets map[resource.Key][]entry
	// selecting are the policies that choose their targets by labels, selections how.
	selecting  map[resource.Key]found
	selections map[resource.Key]selection
}

// entry is a policy at one place of the index.
type entry struct {
	list memo.Key
	item Targeting
}

func newPolicyIndex() *policyIndex {
	return &policyIndex{
		lists: map[memo.Key]*List[Targeting]{}, targets: map[resource.Key][]entry{},
		selecting: map[resource.Key]found{}, selections: map[resource.Key]selection{},
	}
}

// update takes what has changed in a Set, and notes the lists that are others now.
func (x *policyIndex) update(set, old *resource.Set, note func(memo.Key)) {
	for _, k := range policyKinds {
		k.changed(set, old, func(namespace, name string) {
			key := resource.Key{Kind: k.kind, Namespace: namespace, Name: name}
			delete(x.selecting, key)
			delete(x.selections, key)
			p, exists := k.get(set, namespace, name)
			if !exists {
				x.enter(key, nil, note)
				return
			}
			if len(p.refs.TargetSelectors) > 0 {
				x.selecting[key], x.selections[key] = p, p.selection()
			}
			x.enter(key, p.entries(set), note)
		})
	}
	x.reselect(set, old, note)
}

// enter replaces the entries of a policy.
func (x *policyIndex) enter(policy resource.Key, now []entry, note func(memo.Key)) {
	old := x.targets[policy]
	if slices.Equal(old, now) {
		return
	}
	for _, e := range old {
		put(x.lists, e.list, x.lists[e.list].without(e.item, Targeting.compare))
		note(e.list)
	}
	for _, e := range now {
		put(x.lists, e.list, x.lists[e.list].with(e.item, Targeting.compare))
		note(e.list)
	}
	if len(now) == 0 {
		delete(x.targets, policy)
		return
	}
	x.targets[policy] = now
}

func (p found) entries(set *resource.Set) []entry {
	targets := p.targets(set)
	all := make([]entry, len(targets))
	for i, t := range targets {
		all[i] = entry{
			list: targetKey(p.kind, t.kind, t.namespace, t.name),
			item: Targeting{
				Kind: p.kind, Namespace: p.object.GetNamespace(), Name: p.object.GetName(), Section: t.section,
				created: p.object.GetCreationTimestamp().Unix(),
			},
		}
	}
	return all
}

func targetKey(policyKind, targetKind, namespace, name string) memo.Key {
	return memo.Key{Kind: policiesOf + memo.Kind(targetKind), Namespace: namespace, Name: policyKind + "/" + name}
}

type target struct{ kind, namespace, name, section string }

// targets lists what the policy names, each once: by reference in its own namespace, or by labels.
func (p found) targets(set *resource.Set) []target {
	refs := p.refs.TargetRefs
	if p.refs.TargetRef != nil { // both is a fault, and then neither may be served without the policy
		refs = append(slices.Clip(refs), *p.refs.TargetRef)
	}
	all := make([]target, 0, len(refs))
	for _, ref := range refs {
		t := target{namespace: p.object.GetNamespace(), name: string(ref.Name)}
		if ref.SectionName != nil {
			t.section = string(*ref.SectionName)
		}
		for _, t.kind = range meantKinds(string(ref.Kind)) {
			all = append(all, t)
		}
	}
	if s := p.selection(); len(s.all) > 0 {
		for _, k := range selectable() {
			all = k.append(all, s, set)
		}
	}
	slices.SortFunc(all, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.section, b.section))
	})
	return slices.Compact(all)
}

// meantKinds returns the kinds that a target may be of: its own or, of a policy with a fault there, both
// that are served, so that a slip leaves nothing unprotected.
func meantKinds(kind string) []string {
	switch kind {
	case "Gateway", "HTTPRoute", "Service", "Backend", "ListenerSet", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute":
		return []string{kind}
	}
	return []string{"Gateway", "HTTPRoute"}
}
