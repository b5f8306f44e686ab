package translator

import (
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// state is everything that a translation leaves to the next one. A full translation is an incremental one
// from the state of an empty input. It is used by one goroutine.
//
//	Set ──▶ input: which objects and lists changed ──▶ graph: which values are others ──▶ assembly, conditions
type state struct {
	input      *gatewayapi.Input
	graph      *memo.Graph
	values     map[memo.Key]any // of the roots, as they were taken
	assembly   *assembly
	conditions *conditions
	hidden     gatewayapi.Hidden
}

func (t *Translator) newState() *state {
	input := gatewayapi.NewInput()
	return &state{
		input: input, graph: memo.New(input.Leaf, t.rules()), values: map[memo.Key]any{},
		assembly: newAssembly(t.builder), conditions: newConditions(), hidden: gatewayapi.Hidden{},
	}
}

func (s *state) translate(set *resource.Set) *Result {
	moved := s.input.Update(set)
	for _, key := range s.graph.Update(moved) {
		s.take(key, s.graph.Get(key))
	}
	for _, key := range moved {
		s.object(key)
	}
	unselective := status.Sort(s.input.Unselective())
	s.conditions.set(memo.Key{Kind: "policies that select nothing"}, unselective)
	s.assembly.settle()
	s.conditions.set(memo.Key{Kind: "listeners of shared sockets"}, s.assembly.conditions)
	result := &Result{
		Snapshot: s.assembly.snapshot(), Conditions: s.conditions.sorted(), Listeners: s.assembly.listenerFacts(),
		Providers: s.assembly.providers.all(),
		Reused:    max(0, s.graph.Kept()-s.graph.Ran()),
	}
	result.state.Store(s)
	return result
}

// object takes an object or list that is new, changed or gone, with what is derived from it by its name.
func (s *state) object(key memo.Key) {
	object := s.input.Leaf(key)
	s.conditions.set(key, unsupported(key, object))
	for _, root := range roots(key) {
		if object == nil {
			s.graph.Drop(root)
			s.take(root, nil)
		} else {
			s.take(root, s.graph.Get(root))
		}
	}
}

// roots are the values that exist because an object or list does.
func roots(leaf memo.Key) []memo.Key {
	named := func(kind memo.Kind) []memo.Key {
		return []memo.Key{{Kind: kind, Namespace: leaf.Namespace, Name: leaf.Name}}
	}
	switch leaf.Kind {
	case "Gateway":
		return named(gatewayapi.GatewayKind)
	case "HTTPRoute":
		return named(routeKind)
	case "SecurityPolicy": // also one that no route uses: its faults are told all the same
		return named(policy.SecurityKind)
	case "EnvoyExtensionPolicy":
		return named(policy.ExtensionKind)
	case "ListenerSet":
		return named(orphanKind)
	case "Backend":
		return named(deadEndKind)
	}
	if fit, ok := gatewayapi.FitOf(leaf); ok {
		return []memo.Key{fit}
	}
	return nil
}

// take puts the present value of a root in the place of the one before; nil is one that is gone.
func (s *state) take(key memo.Key, value any) {
	old := s.values[key]
	if value == old {
		return
	}
	if value == nil {
		delete(s.values, key)
	} else {
		s.values[key] = value
	}
	s.conditions.set(key, said(value))
	switch key.Kind {
	case gatewayapi.GatewayKind:
		gateway, _ := value.(*gatewayapi.Gateway)
		s.assembly.gateway(key, gateway)
	case routeKind:
		u, _ := value.(*unit)
		s.assembly.unit(key, u)
	case gatewayapi.FitKind:
		s.hidden.Replace(hides(old), hides(value), s.overridden)
	}
}

// overridden tells what hides a policy at one of its targets.
func (s *state) overridden(at gatewayapi.Hiding) {
	teller := memo.Key{Kind: "overridden", Namespace: at.Policy.String(), Name: at.At.String()}
	if condition, hidden := s.hidden.Condition(at); hidden {
		s.conditions.set(teller, []status.Condition{condition})
	} else {
		s.conditions.set(teller, nil)
	}
}

func hides(value any) []gatewayapi.Hide {
	if fit, ok := value.(*gatewayapi.Fit); ok {
		return fit.Hides
	}
	return nil
}

// telling is a value of nothing but conditions.
type telling struct{ conditions []status.Condition }

// said returns the conditions of a root's value.
func said(value any) []status.Condition {
	switch v := value.(type) {
	case *gatewayapi.Gateway:
		return v.Conditions
	case *unit:
		return v.conditions
	case *policy.Security:
		return v.Conditions
	case *policy.Extension:
		return v.Conditions
	case *gatewayapi.Fit:
		return v.Conditions
	case *telling:
		return v.conditions
	}
	return nil
}
