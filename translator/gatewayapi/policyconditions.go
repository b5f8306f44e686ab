package gatewayapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Serves reports whether the Gateway is ours. A class that isn't there is: see [Classes.Rule].
func (c Classes) Serves(set *resource.Set, gateway *gatewayv1.Gateway) bool {
	if c.Only != "" && c.Only != gateway.Namespace+"/"+gateway.Name {
		return false
	}
	class, ok := set.GatewayClasses.Get("", string(gateway.Spec.GatewayClassName))
	return !ok || slices.Contains(c.Controllers, string(class.Spec.ControllerName))
}

// PolicyConditions tells how policies and their targets fit: targets that don't exist, policies that
// lose against another of their kind, and policies of Gateways that are hidden at some routes. The
// Ancestor of such a condition is the target, as [Target.String] writes it.
func (in *Input) PolicyConditions(classes Classes) []status.Condition {
	c := &policyConditions{set: in.Set, classes: classes, hidden: map[hiding][]string{}}
	for key, list := range in.policies {
		policyKind, name, _ := strings.Cut(key.Name, "/")
		target := Target{Kind: strings.TrimPrefix(string(key.Kind), string(policiesOf)), Namespace: key.Namespace, Name: name}
		if c.foreign(target) {
			continue // another controller tells
		}
		c.list(policyKind, target, list.Items)
		c.hide(in, policyKind, target, list.Items)
	}
	c.unselective()
	c.overridden()
	return c.all
}

type policyConditions struct {
	set     *resource.Set
	classes Classes
	all     []status.Condition
	hidden  map[hiding][]string // what hides the policy at its target
}

// hiding is a policy at one of its targets.
type hiding struct {
	policy resource.Key
	target Target
}

func (c *policyConditions) foreign(target Target) bool {
	gateway, ok := c.set.Gateways.Get(target.Namespace, target.Name)
	return target.Kind == "Gateway" && ok && !c.classes.Serves(c.set, gateway)
}

func (c *policyConditions) refuse(policy resource.Key, target Target, reason gatewayv1.PolicyConditionReason, format string, args ...any) {
	c.all = append(c.all, status.Condition{
		Object: policy, Ancestor: target.String(), Type: "Accepted", Reason: string(reason), Message: fmt.Sprintf(format, args...),
	})
}

// list takes the policies of one kind for one object, the one that prevails first.
func (c *policyConditions) list(policyKind string, target Target, items []Targeting) {
	winners := map[string]Targeting{}
	for _, t := range items {
		at := target
		at.Section = t.Section
		switch fault := c.missing(policyKind, at); {
		case fault != "":
			c.refuse(t.Key(), at, gatewayv1.PolicyReasonTargetNotFound, "%s", fault)
		default:
			if winner, taken := winners[t.Section]; taken {
				c.refuse(t.Key(), at, gatewayv1.PolicyReasonConflicted,
					"%s is attached to %s already and is used, since it is older or first by name; target something else or merge the two",
					winner.Key(), at)
				continue
			}
			winners[t.Section] = t
		}
	}
}

// missing says why a target isn't there, "" if it is.
func (c *policyConditions) missing(policyKind string, target Target) string {
	if policyKind == "ClientTrafficPolicy" && target.Kind != "Gateway" && target.Kind != "ListenerSet" {
		return fmt.Sprintf("a ClientTrafficPolicy can't be for a %s; target the Gateway", target.Kind)
	}
	sections, exists := sectionsOf(c.set, target)
	switch {
	case !exists:
		return fmt.Sprintf("%s %s/%s doesn't exist; a policy's target must be in its own namespace", target.Kind, target.Namespace, target.Name)
	case target.Section != "" && !slices.Contains(sections, target.Section):
		return fmt.Sprintf("%s %s/%s has no section %q%s", target.Kind, target.Namespace, target.Name, target.Section, known(sections))
	}
	return ""
}

func known(sections []string) string {
	if len(sections) == 0 {
		return "; leave sectionName out"
	}
	return "; it has " + strings.Join(sections, ", ")
}

// hide notes where policies don't apply because one of the same kind is nearer: a section's hides that of
// the whole object, a route's or ListenerSet's that of the Gateway.
func (c *policyConditions) hide(in *Input, policyKind string, target Target, items []Targeting) {
	nearest := items[:0:0]
	whole, ok := atSection(items, "")
	if ok {
		nearest = append(nearest, whole)
	}
	seen := map[string]bool{"": true}
	for _, t := range items {
		if seen[t.Section] {
			continue // of two in conflict the first prevails
		}
		seen[t.Section] = true
		if ok {
			c.hideBy(whole.Key(), target, target, t)
		} else {
			nearest = append(nearest, t)
		}
	}
	for _, outer := range outerTargets(c.set, target) {
		if c.foreign(outer) {
			continue
		}
		for _, hidden := range outer.policies(in, policyKind) {
			at := outer
			at.Section = hidden.Section
			for _, t := range nearest {
				c.hideBy(hidden.Key(), at, target, t)
			}
		}
	}
}

// hideBy notes that a policy at one of its targets doesn't apply where another one does.
func (c *policyConditions) hideBy(hidden resource.Key, at, where Target, by Targeting) {
	if hidden == by.Key() || c.merges(by) {
		return
	}
	where.Section = by.Section
	key := hiding{hidden, at}
	c.hidden[key] = append(c.hidden[key], fmt.Sprintf("%s (%s)", where, by.Key()))
}

// outerTargets are the Gateways whose policies apply to a target unless it has its own.
func outerTargets(set *resource.Set, target Target) []Target {
	switch target.Kind {
	case "ListenerSet":
		kind := gatewayv1.Kind(target.Kind)
		return ParentTargets(set, target.Namespace, []gatewayv1.ParentReference{{Kind: &kind, Name: gatewayv1.ObjectName(target.Name)}})
	case "HTTPRoute":
		if route, ok := set.HTTPRoutes.Get(target.Namespace, target.Name); ok {
			return ParentTargets(set, route.Namespace, route.Spec.ParentRefs)
		}
	case "GRPCRoute":
		if route, ok := set.GRPCRoutes.Get(target.Namespace, target.Name); ok {
			return ParentTargets(set, route.Namespace, route.Spec.ParentRefs)
		}
	}
	return nil
}

// merges reports whether a policy takes up those further out instead of hiding them (mergeType).
func (c *policyConditions) merges(t Targeting) bool {
	switch t.Kind {
	case "SecurityPolicy":
		p, ok := c.set.SecurityPolicies.Get(t.Namespace, t.Name)
		return ok && p.Spec.MergeType != nil
	case "EnvoyExtensionPolicy":
		p, ok := c.set.EnvoyExtensionPolicies.Get(t.Namespace, t.Name)
		return ok && p.Spec.MergeType != nil
	}
	return false
}

func atSection(items []Targeting, section string) (Targeting, bool) {
	for _, t := range items {
		if t.Section == section {
			return t, true
		}
	}
	return Targeting{}, false
}

// policies lists those of the whole Gateway, and of its section if the parent names one.
func (t Target) policies(in *Input, policyKind string) []Targeting {
	list := in.policies[targetKey(policyKind, t.Kind, t.Namespace, t.Name)]
	if list == nil {
		return nil
	}
	var all []Targeting
	seen := map[string]bool{}
	for _, item := range list.Items {
		if !seen[item.Section] && (item.Section == "" || t.Section == "" || item.Section == t.Section) {
			seen[item.Section] = true
			all = append(all, item)
		}
	}
	return all
}

// named is how many of the objects that hide a policy are listed.
const named = 5

func (c *policyConditions) overridden() {
	for at, by := range c.hidden {
		slices.Sort(by)
		by = slices.Compact(by)
		rest := ""
		if len(by) > named {
			rest = fmt.Sprintf(" and %d more", len(by)-named)
			by = by[:named]
		}
		c.all = append(c.all, status.Condition{
			Object: at.policy, Ancestor: at.target.String(), Type: "Overridden", True: true, Reason: "Overridden",
			Message: "doesn't apply where a nearer policy does: " + strings.Join(by, ", ") + rest,
		})
	}
}

// unselective tells of selectors that select nothing.
func (c *policyConditions) unselective() {
	for _, table := range policyTables(c.set) {
		table.each(func(object resource.Object, refs policyReferences) {
			if len(refs.TargetSelectors) == 0 {
				return
			}
			if len((found{object, refs}).targets(c.set)) == 0 {
				c.all = append(c.all, status.Condition{
					Object: resource.Key{Kind: table.kind, Namespace: object.GetNamespace(), Name: object.GetName()},
					Type:   "Accepted", Reason: string(gatewayv1.PolicyReasonTargetNotFound),
					Message: "spec.targetSelectors select no object of namespace " + object.GetNamespace() + "; check the labels",
				})
			}
		})
	}
}

// ParentTargets lists the Gateways among parentRefs, each with the section that is named, sorted. A
// ListenerSet stands for its Gateway.
func ParentTargets(set *resource.Set, namespace string, refs []gatewayv1.ParentReference) []Target {
	var all []Target
	for _, ref := range refs {
		t := Target{Kind: "Gateway", Namespace: namespace, Name: string(ref.Name)}
		if ref.Kind != nil {
			t.Kind = string(*ref.Kind)
		}
		if ref.Namespace != nil {
			t.Namespace = string(*ref.Namespace)
		}
		if ref.SectionName != nil {
			t.Section = string(*ref.SectionName)
		}
		if t.Kind == "ListenerSet" {
			if of, ok := set.ListenerSets.Get(t.Namespace, t.Name); ok {
				gateway := GatewayOf(of)
				t = Target{Kind: gateway.Kind, Namespace: gateway.Namespace, Name: gateway.Name}
			}
		}
		if t.Kind == "Gateway" {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, compareTargets)
	return slices.Compact(all)
}

func compareTargets(a, b Target) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Section, b.Section))
}
