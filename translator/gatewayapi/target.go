package gatewayapi

import (
	"cmp"
	"slices"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Targeting is one policy that names one target, perhaps only a section of it.
type Targeting struct {
	Kind            string // the policy's
	Namespace, Name string // the policy's
	Section         string // listener of a Gateway, rule of a route; "" is the whole
}

// Key names the policy.
func (t Targeting) Key() resource.Key {
	return resource.Key{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
}

// policyTable is one kind of policy in the form that the index needs.
type policyTable struct {
	kind string
	each func(yield func(object resource.Object, targets egv1alpha1.PolicyTargetReferences))
}

func policyTables(set *resource.Set) []policyTable {
	return []policyTable{
		{"SecurityPolicy", func(yield func(resource.Object, egv1alpha1.PolicyTargetReferences)) {
			for _, p := range set.SecurityPolicies.All() {
				yield(p, p.Spec.PolicyTargetReferences)
			}
		}},
		{"EnvoyExtensionPolicy", func(yield func(resource.Object, egv1alpha1.PolicyTargetReferences)) {
			for _, p := range set.EnvoyExtensionPolicies.All() {
				yield(p, p.Spec.PolicyTargetReferences)
			}
		}},
		{"BackendTLSPolicy", func(yield func(resource.Object, egv1alpha1.PolicyTargetReferences)) {
			for _, p := range set.BackendTLSPolicies.All() {
				yield(p, egv1alpha1.PolicyTargetReferences{TargetRefs: p.Spec.TargetRefs})
			}
		}},
		{"ClientTrafficPolicy", func(yield func(resource.Object, egv1alpha1.PolicyTargetReferences)) {
			for _, p := range set.ClientTrafficPolicies.All() {
				yield(p, p.Spec.PolicyTargetReferences)
			}
		}},
	}
}

// targetIndex lists the policies of every target, the one that prevails first: the older, then the
// lesser by namespace/name (Gateway API, "conflict resolution").
func targetIndex(set *resource.Set, prev map[memo.Key]*List[Targeting]) map[memo.Key]*List[Targeting] {
	lists := map[memo.Key]*List[Targeting]{}
	for _, table := range policyTables(set) {
		var all []found
		table.each(func(object resource.Object, refs egv1alpha1.PolicyTargetReferences) {
			all = append(all, found{object, refs})
		})
		slices.SortStableFunc(all, older)
		for _, p := range all {
			for _, target := range p.targets(set) {
				add(lists, targetKey(table.kind, target.kind, p.object.GetNamespace(), target.name), Targeting{
					Kind: table.kind, Namespace: p.object.GetNamespace(), Name: p.object.GetName(), Section: target.section,
				})
			}
		}
	}
	return intern(lists, prev)
}

func targetKey(policyKind, targetKind, namespace, name string) memo.Key {
	return memo.Key{Kind: policiesOf + memo.Kind(targetKind), Namespace: namespace, Name: policyKind + "/" + name}
}

type found struct {
	object resource.Object
	refs   egv1alpha1.PolicyTargetReferences
}

func older(a, b found) int {
	return cmp.Or(
		a.object.GetCreationTimestamp().Compare(b.object.GetCreationTimestamp().Time),
		cmp.Compare(a.object.GetNamespace(), b.object.GetNamespace()),
		cmp.Compare(a.object.GetName(), b.object.GetName()))
}

type target struct{ kind, name, section string }

// targets lists what the policy names, each once: by reference, or by labels in its own namespace.
func (p found) targets(set *resource.Set) []target {
	refs := p.refs.TargetRefs
	if p.refs.TargetRef != nil { // both is a fault, and then neither may be served without the policy
		refs = append(slices.Clip(refs), *p.refs.TargetRef)
	}
	all := make([]target, 0, len(refs))
	for _, ref := range refs {
		t := target{name: string(ref.Name)}
		if ref.SectionName != nil {
			t.section = string(*ref.SectionName)
		}
		for _, t.kind = range meantKinds(string(ref.Kind)) {
			all = append(all, t)
		}
	}
	for _, selector := range p.refs.TargetSelectors {
		all = append(all, selected(set, p.object.GetNamespace(), selector)...)
	}
	slices.SortFunc(all, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.section, b.section))
	})
	return slices.Compact(all)
}

func selected(set *resource.Set, namespace string, selector egv1alpha1.TargetSelector) []target {
	match, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: selector.MatchLabels, MatchExpressions: selector.MatchExpressions,
	})
	if err != nil { // a fault of the policy; what it would have selected isn't known
		match = labels.Everything()
	}
	var all []target
	for _, kind := range meantKinds(string(selector.Kind)) {
		switch kind {
		case "Gateway":
			all = appendMatching(all, kind, set.Gateways.Namespace(namespace), match)
		case "HTTPRoute":
			all = appendMatching(all, kind, set.HTTPRoutes.Namespace(namespace), match)
		}
	}
	return all
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

func appendMatching[T resource.Object](all []target, kind string, objects []T, match labels.Selector) []target {
	for _, object := range objects {
		if match.Matches(labels.Set(object.GetLabels())) {
			all = append(all, target{kind: kind, name: object.GetName()})
		}
	}
	return all
}

// Chain lists the policies of one kind that apply to a rule of a route below a listener, the most
// specific first: rule, route, listener, Gateway, at most one of each. The first is in force; the others
// matter where it merges.
func Chain(v *memo.View, policyKind string, route *gatewayv1.HTTPRoute, rule string, listener *Listener) []Targeting {
	onRoute := targetKey(policyKind, "HTTPRoute", route.Namespace, route.Name)
	var chain []Targeting
	for _, level := range append([]level{{onRoute, rule}, {onRoute, ""}}, levels(policyKind, listener)...) {
		if t, ok := prevailing(v, level.key, level.section); ok && !slices.ContainsFunc(chain, t.samePolicy) {
			chain = append(chain, t)
		}
	}
	return chain
}

// samePolicy reports whether both are targets of one object.
func (t Targeting) samePolicy(o Targeting) bool { return t.Key() == o.Key() }

// EffectiveOnListener finds the policy of one kind that applies to a listener.
func EffectiveOnListener(v *memo.View, policyKind string, listener *Listener) (Targeting, bool) {
	for _, level := range levels(policyKind, listener) {
		if t, ok := prevailing(v, level.key, level.section); ok {
			return t, true
		}
	}
	return Targeting{}, false
}

// demandsTLS reports whether a BackendTLSPolicy names the Service or Backend.
func demandsTLS(v *memo.View, kind, namespace, name string) bool {
	return memo.Read[*List[Targeting]](v, targetKey("BackendTLSPolicy", kind, namespace, name)) != nil
}

// prevailing finds the policy in force on exactly that section; "" is the whole object.
func prevailing(v *memo.View, key memo.Key, section string) (Targeting, bool) {
	list := memo.Read[*List[Targeting]](v, key)
	if list == nil {
		return Targeting{}, false
	}
	return atSection(list.Items, section)
}
