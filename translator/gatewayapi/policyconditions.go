package gatewayapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// FitKind is the kind of [Fit] values.
const FitKind memo.Kind = "fit of policies"

// Fit tells how the policies of one kind fit one object that they target: a target that doesn't exist,
// policies that lose against another one, and where they hide those of Gateways. Immutable.
type Fit struct {
	// Conditions' Ancestor is the target, as [Target.String] writes it.
	Conditions []status.Condition
	// Hides are the policies that don't apply where one of these does.
	Hides []Hide
}

// Hide says that a policy at one of its targets doesn't apply where a nearer one does.
type Hide struct {
	Policy resource.Key
	At     Target
	By     string // the nearer one and its target
}

// FitOf returns the key of the [Fit] of an index's list, and false for a key of another kind.
func FitOf(list memo.Key) (memo.Key, bool) {
	kind, ok := strings.CutPrefix(string(list.Kind), string(policiesOf))
	return memo.Key{Kind: FitKind, Namespace: list.Namespace, Name: kind + "/" + list.Name}, ok
}

// FitRule makes a [Fit]. Of objects of other controllers there is nothing to tell.
func FitRule(v *memo.View, key memo.Key) any {
	targetKind, rest, _ := strings.Cut(key.Name, "/")
	policyKind, name, _ := strings.Cut(rest, "/")
	f := &fitting{view: v, fit: &Fit{}}
	target := Target{Kind: targetKind, Namespace: key.Namespace, Name: name}
	if f.foreign(target) {
		return f.fit
	}
	if list := f.list(policyKind, target); list != nil {
		f.compare(policyKind, target, list.Items)
		f.hide(policyKind, target, list.Items)
	}
	return f.fit
}

type fitting struct {
	view *memo.View
	fit  *Fit
}

func (f *fitting) list(policyKind string, target Target) *List[Targeting] {
	return memo.Read[*List[Targeting]](f.view, targetKey(policyKind, target.Kind, target.Namespace, target.Name))
}

func (f *fitting) foreign(target Target) bool {
	return target.Kind == "Gateway" && memo.Read[bool](f.view, memo.Key{Kind: ForeignKind, Namespace: target.Namespace, Name: target.Name})
}

func (f *fitting) refuse(policy resource.Key, target Target, reason gatewayv1.PolicyConditionReason, format string, args ...any) {
	f.fit.Conditions = append(f.fit.Conditions, status.Condition{
		Object: policy, Ancestor: target.String(), Type: "Accepted", Reason: string(reason), Message: fmt.Sprintf(format, args...),
	})
}

// compare takes the policies of one kind for one object, the one that prevails first.
func (f *fitting) compare(policyKind string, target Target, items []Targeting) {
	winners := map[string]Targeting{}
	for _, t := range items {
		at := target
		at.Section = t.Section
		switch fault := f.missing(policyKind, at); {
		case fault != "":
			f.refuse(t.Key(), at, gatewayv1.PolicyReasonTargetNotFound, "%s", fault)
		default:
			if winner, taken := winners[t.Section]; taken {
				f.refuse(t.Key(), at, gatewayv1.PolicyReasonConflicted,
					"%s is attached to %s already and is used, since it is older or first by name; target something else or merge the two",
					winner.Key(), at)
				continue
			}
			winners[t.Section] = t
		}
	}
}

// missing says why a target isn't there, "" if it is.
func (f *fitting) missing(policyKind string, target Target) string {
	if policyKind == "ClientTrafficPolicy" && target.Kind != "Gateway" && target.Kind != "ListenerSet" {
		return fmt.Sprintf("a ClientTrafficPolicy can't be for a %s; target the Gateway", target.Kind)
	}
	sections, exists := sectionsOf(f.view, target)
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
func (f *fitting) hide(policyKind string, target Target, items []Targeting) {
	nearest := items[:0:0]
	items = slices.DeleteFunc(slices.Clone(items), func(t Targeting) bool { // what isn't there hides nothing
		at := target
		at.Section = t.Section
		return f.missing(policyKind, at) != ""
	})
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
			f.hideBy(whole.Key(), target, target, t)
		} else {
			nearest = append(nearest, t)
		}
	}
	for _, outer := range f.outerTargets(target) {
		if f.foreign(outer.Target) {
			continue
		}
		for _, hidden := range f.policies(policyKind, outer.Target) {
			if outer.whole && hidden.Section != "" {
				continue
			}
			at := outer.Target
			at.Section = hidden.Section
			for _, t := range nearest {
				f.hideBy(hidden.Key(), at, target, t)
			}
		}
	}
}

// hideBy notes that a policy at one of its targets doesn't apply where another one does.
func (f *fitting) hideBy(hidden resource.Key, at, where Target, by Targeting) {
	if hidden == by.Key() || f.merges(by) {
		return
	}
	where.Section = by.Section
	f.fit.Hides = append(f.fit.Hides, Hide{Policy: hidden, At: at, By: fmt.Sprintf("%s (%s)", where, by.Key())})
}

// outerTarget is one whose policies apply to another target unless that has its own.
type outerTarget struct {
	Target
	whole bool // only those of the whole object: its listeners are not those of the other target
}

// outerTargets are the ListenerSets and Gateways further out.
func (f *fitting) outerTargets(target Target) []outerTarget {
	switch target.Kind {
	case "ListenerSet":
		return f.gatewayOf(target)
	case "HTTPRoute":
		if route := readTarget[*gatewayv1.HTTPRoute](f.view, target); route != nil {
			return f.parents(target.Namespace, route.Spec.ParentRefs)
		}
	case "GRPCRoute":
		if route := readTarget[*gatewayv1.GRPCRoute](f.view, target); route != nil {
			return f.parents(target.Namespace, route.Spec.ParentRefs)
		}
	}
	return nil
}

func (f *fitting) parents(namespace string, refs []gatewayv1.ParentReference) []outerTarget {
	var all []outerTarget
	for _, ref := range refs {
		parent := parentTarget(namespace, ref)
		switch parent.Kind {
		case "Gateway":
			all = append(all, outerTarget{Target: parent})
		case "ListenerSet":
			all = append(append(all, outerTarget{Target: parent}), f.gatewayOf(parent)...)
		}
	}
	return all
}

func (f *fitting) gatewayOf(listenerSet Target) []outerTarget {
	if set := readTarget[*gatewayv1.ListenerSet](f.view, listenerSet); set != nil {
		gateway := GatewayOf(set)
		return []outerTarget{{Target{Kind: gateway.Kind, Namespace: gateway.Namespace, Name: gateway.Name}, true}}
	}
	return nil
}

// merges reports whether a policy takes up those further out instead of hiding them (mergeType).
func (f *fitting) merges(t Targeting) bool {
	key := memo.Key{Kind: memo.Kind(t.Kind), Namespace: t.Namespace, Name: t.Name}
	switch t.Kind {
	case "SecurityPolicy":
		p := memo.Read[*resource.SecurityPolicy](f.view, key)
		return p != nil && p.Spec.MergeType != nil
	case "EnvoyExtensionPolicy":
		p := memo.Read[*resource.EnvoyExtensionPolicy](f.view, key)
		return p != nil && p.Spec.MergeType != nil
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

// policies lists those of a whole object, and of its section if the target names one.
func (f *fitting) policies(policyKind string, target Target) []Targeting {
	list := f.list(policyKind, target)
	if list == nil {
		return nil
	}
	var all []Targeting
	seen := map[string]bool{}
	for _, item := range list.Items {
		if !seen[item.Section] && (item.Section == "" || target.Section == "" || item.Section == target.Section) {
			seen[item.Section] = true
			all = append(all, item)
		}
	}
	return all
}

// Hidden collects what hides each policy at each of its targets.
type Hidden map[Hiding][]string // sorted

// Hiding is a policy at one of its targets.
type Hiding struct {
	Policy resource.Key
	At     Target
}

// Replace takes the hides of a [Fit] in place of those it had before, and calls yield for every policy and
// target about which there is something else to tell now.
func (h Hidden) Replace(old, now []Hide, yield func(Hiding)) {
	if slices.Equal(old, now) {
		return
	}
	for _, one := range old {
		key := Hiding{one.Policy, one.At}
		at, _ := slices.BinarySearch(h[key], one.By)
		h[key] = slices.Delete(h[key], at, at+1)
	}
	for _, one := range now {
		key := Hiding{one.Policy, one.At}
		at, _ := slices.BinarySearch(h[key], one.By)
		h[key] = slices.Insert(h[key], at, one.By)
	}
	for _, one := range slices.Concat(old, now) {
		key := Hiding{one.Policy, one.At}
		if by, known := h[key]; known && len(by) == 0 {
			delete(h, key)
		}
		yield(key)
	}
}

// named is how many of the objects that hide a policy are listed.
const named = 5

// Condition tells what hides a policy at a target; false if nothing does.
func (h Hidden) Condition(key Hiding) (status.Condition, bool) {
	by := slices.Compact(slices.Clone(h[key]))
	if len(by) == 0 {
		return status.Condition{}, false
	}
	rest := ""
	if len(by) > named {
		rest = fmt.Sprintf(" and %d more", len(by)-named)
		by = by[:named]
	}
	return status.Condition{
		Object: key.Policy, Ancestor: key.At.String(), Type: "Overridden", True: true, Reason: "Overridden",
		Message: "doesn't apply where a nearer policy does: " + strings.Join(by, ", ") + rest,
	}, true
}

// Unselective tells of policies whose selectors select nothing.
func (in *Input) Unselective() []status.Condition {
	var all []status.Condition
	for key, s := range in.policies.selections {
		if len(in.policies.targets[key]) == 0 {
			all = append(all, status.Condition{
				Object: key, Type: "Accepted", Reason: string(gatewayv1.PolicyReasonTargetNotFound), Message: s.selectsNothing(),
			})
		}
	}
	return all
}

// ParentTargets lists the Gateways among parentRefs, each with the section that is named, sorted. A
// ListenerSet, as listenerSets finds it, stands for its Gateway.
func ParentTargets(listenerSets func(namespace, name string) (*gatewayv1.ListenerSet, bool), namespace string, refs []gatewayv1.ParentReference) []Target {
	var all []Target
	for _, ref := range refs {
		t := parentTarget(namespace, ref)
		if t.Kind == "ListenerSet" {
			if of, ok := listenerSets(t.Namespace, t.Name); ok {
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

// parentTarget is what a parentRef of an object in a namespace means.
func parentTarget(namespace string, ref gatewayv1.ParentReference) Target {
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
	return t
}

func compareTargets(a, b Target) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Section, b.Section))
}
