package gatewayapi

import (
	"maps"
	"slices"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

const (
	groupGateway = "gateway.networking.k8s.io"
	groupEnvoy   = "gateway.envoyproxy.io"
)

// selection is a policy's targetSelectors, compiled.
type selection struct {
	policy resource.Key
	all    []selector
}

// selector is one of them. What a faulty one would have selected isn't known: everything may be meant.
type selector struct {
	kinds      []string
	labels     labels.Selector
	own        bool            // of the policy's own namespace only
	namespaces labels.Selector // otherwise: by the labels of the target's namespace
}

// selection returns the compiled selectors of a policy, without any if it has none.
func (p found) selection() selection {
	s := selection{policy: p.key()}
	for _, one := range p.refs.TargetSelectors {
		c := selector{
			kinds: meantKinds(string(one.Kind)), own: true, namespaces: labels.Everything(),
			labels: compileSelector(&metav1.LabelSelector{MatchLabels: one.MatchLabels, MatchExpressions: one.MatchExpressions}),
		}
		if n := one.Namespaces; n != nil && n.From != "" && n.From != egv1alpha1.TargetNamespaceFromSame {
			c.own = false
			if n.From == egv1alpha1.TargetNamespaceFromSelector && n.Selector != nil {
				c.namespaces = compileSelector(n.Selector)
			}
		}
		s.all = append(s.all, c)
	}
	return s
}

func compileSelector(s *metav1.LabelSelector) labels.Selector {
	match, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Everything()
	}
	return match
}

// wide reports whether targets may be in other namespaces.
func (s selection) wide() bool {
	return slices.ContainsFunc(s.all, func(one selector) bool { return !one.own })
}

// selects reports whether an object of a kind is meant. One in another namespace is only if a ReferenceGrant
// there allows the policy's kind and namespace to refer to it (as Envoy Gateway's TargetSelector.namespaces
// demands); otherwise a stranger could put his policy in front of it.
func (s selection) selects(set *resource.Set, kind string, object resource.Object) bool {
	return slices.ContainsFunc(s.all, func(one selector) bool {
		return slices.Contains(one.kinds, kind) && one.labels.Matches(labels.Set(object.GetLabels())) &&
			s.reaches(set, one, kind, object)
	})
}

func (s selection) reaches(set *resource.Set, one selector, kind string, object resource.Object) bool {
	own := object.GetNamespace() == s.policy.Namespace
	if one.own {
		return own
	}
	namespace, ok := set.Namespaces.Get("", object.GetNamespace())
	if !ok || !one.namespaces.Matches(labels.Set(namespace.Labels)) {
		return false
	}
	from := Referrer{Group: groupEnvoy, Kind: s.policy.Kind, Namespace: s.policy.Namespace}
	return own || slices.ContainsFunc(set.ReferenceGrants.Namespace(object.GetNamespace()), func(grant *gatewayv1.ReferenceGrant) bool {
		return grantsFrom(grant, from) && grantsTo(grant, groupGateway, kind, object.GetName())
	})
}

// selectable are the kinds that targetSelectors may mean.
func selectable() []selectableKind {
	return []selectableKind{
		choosing("Gateway", func(s *resource.Set) resource.Table[*gatewayv1.Gateway] { return s.Gateways }),
		choosing("ListenerSet", func(s *resource.Set) resource.Table[*gatewayv1.ListenerSet] { return s.ListenerSets }),
		choosing("HTTPRoute", func(s *resource.Set) resource.Table[*gatewayv1.HTTPRoute] { return s.HTTPRoutes }),
		choosing("GRPCRoute", func(s *resource.Set) resource.Table[*gatewayv1.GRPCRoute] { return s.GRPCRoutes }),
		choosing("TLSRoute", func(s *resource.Set) resource.Table[*gatewayv1.TLSRoute] { return s.TLSRoutes }),
		choosing("TCPRoute", func(s *resource.Set) resource.Table[*gatewayv1.TCPRoute] { return s.TCPRoutes }),
		choosing("UDPRoute", func(s *resource.Set) resource.Table[*gatewayv1.UDPRoute] { return s.UDPRoutes }),
	}
}

type selectableKind struct {
	kind string
	// append adds the objects that a policy selects.
	append func(all []target, s selection, set *resource.Set) []target
	// reselect looks again at policies that choose by labels, where an object that they may choose has other
	// labels, is new or gone.
	reselect func(x *policyIndex, set, old *resource.Set, note func(memo.Key))
}

func choosing[T resource.Object](kind string, table func(*resource.Set) resource.Table[T]) selectableKind {
	return selectableKind{
		kind: kind,
		append: func(all []target, s selection, set *resource.Set) []target {
			objects := table(set).Namespace(s.policy.Namespace)
			if s.wide() {
				objects = table(set).All()
			}
			for _, object := range objects {
				if s.selects(set, kind, object) {
					all = append(all, target{kind: kind, namespace: object.GetNamespace(), name: object.GetName()})
				}
			}
			return all
		},
		reselect: func(x *policyIndex, set, old *resource.Set, note func(memo.Key)) {
			table(set).Changed(table(old), func(namespace, name string) {
				before, was := table(old).Get(namespace, name)
				after, is := table(set).Get(namespace, name)
				if was && is && maps.Equal(before.GetLabels(), after.GetLabels()) {
					return
				}
				for key, s := range x.selections {
					if (was && s.selects(old, kind, before)) != (is && s.selects(set, kind, after)) {
						x.enter(key, x.selecting[key].entries(set), note)
					}
				}
			})
		},
	}
}

// reselect looks again at the policies that choose by labels.
func (x *policyIndex) reselect(set, old *resource.Set, note func(memo.Key)) {
	if len(x.selecting) == 0 {
		return
	}
	for _, k := range selectable() {
		k.reselect(x, set, old, note)
	}
	moved := false
	other := func(string, string) { moved = true }
	set.Namespaces.Changed(old.Namespaces, other)
	set.ReferenceGrants.Changed(old.ReferenceGrants, other)
	if !moved {
		return
	}
	for key, s := range x.selections {
		if s.wide() {
			x.enter(key, x.selecting[key].entries(set), note)
		}
	}
}

// selectsNothing says what to look at.
func (s selection) selectsNothing() string {
	if s.wide() {
		return "spec.targetSelectors select no object; check the labels, those of the namespaces, and that each namespace but " +
			s.policy.Namespace + " has a ReferenceGrant from " + s.policy.Kind + " of that namespace to the kind that is selected"
	}
	return "spec.targetSelectors select no object of namespace " + s.policy.Namespace + "; check the labels"
}
