package gatewayapi

import (
	"cmp"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Targeting is one policy that names one target, perhaps only a section of it.
type Targeting struct {
	Kind            string // the policy's
	Namespace, Name string // the policy's
	Section         string // listener of a Gateway, rule of a route; "" is the whole

	created int64 // the policy's creation in Unix seconds
}

// compare sorts targetings of one object as conflicts are decided: that of the older policy first, then
// the lesser by namespace/name.
func (t Targeting) compare(o Targeting) int {
	return cmp.Or(cmp.Compare(t.created, o.created), cmp.Compare(t.Namespace, o.Namespace), cmp.Compare(t.Name, o.Name), cmp.Compare(t.Section, o.Section))
}

// Key names the policy.
func (t Targeting) Key() resource.Key {
	return resource.Key{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
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
