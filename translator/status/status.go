// Package status is what a translation has to say about its objects, as data.
package status

import (
	"cmp"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Condition is one condition of one object, in the terms of the Gateway API.
type Condition struct {
	Object resource.Key
	// Ancestor is what the condition is relative to: "Gateway ns/name" for routes and policies, a
	// listener's name for a Gateway's listener, "" for the object itself.
	Ancestor string
	Type     string // Accepted, ResolvedRefs, Programmed, Conflicted, Overridden, Warning
	True     bool
	Reason   string // CamelCase, from the Gateway API where it has one
	Message  string // what is wrong and what to do
	// Parent is the parentRef of a route that the condition is about, counted from 1; 0 is every one.
	Parent int
	// Rule is the rule of a route that is at fault, counted from 1; 0 is the route as a whole.
	Rule int
}

// Fault reports whether the condition says that something doesn't work as written. Conditions named
// after a trouble are faults when true, the others when false.
func (c Condition) Fault() bool {
	switch c.Type {
	case "Conflicted", "PartiallyInvalid":
		return c.True
	case "Overridden", "Warning":
		return false
	}
	return !c.True
}

// Compare orders conditions by object, ancestor and type, then by all that is left.
func (c Condition) Compare(o Condition) int {
	if order := compareKeys(c.Object, o.Object); order != 0 {
		return order
	}
	return cmp.Or(
		cmp.Compare(c.Ancestor, o.Ancestor), cmp.Compare(c.Type, o.Type), cmp.Compare(c.Reason, o.Reason), cmp.Compare(c.Message, o.Message),
		cmp.Compare(c.Parent, o.Parent), cmp.Compare(c.Rule, o.Rule), compareBools(c.True, o.True))
}

func compareKeys(a, b resource.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Sort orders conditions and drops repetitions.
func Sort(all []Condition) []Condition {
	slices.SortFunc(all, Condition.Compare)
	return slices.Compact(all)
}
