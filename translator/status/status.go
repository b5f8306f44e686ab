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

// Sort orders conditions by object, ancestor and type, and drops repetitions.
func Sort(all []Condition) []Condition {
	slices.SortFunc(all, func(a, b Condition) int {
		return cmp.Or(
			cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Namespace, b.Object.Namespace),
			cmp.Compare(a.Object.Name, b.Object.Name), cmp.Compare(a.Ancestor, b.Ancestor),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.Compact(all)
}
