package resource

import (
	"fmt"
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

const (
	// maxDepth of nested lists and maps; the deepest field of any kind is at about 30.
	maxDepth = 200
	// maxExpansion is how many nodes aliases may add to a document.
	maxExpansion = 100_000
)

// expander turns YAML nodes into generic values as kubectl does: every key is a string.
type expander struct {
	left   int // nodes that may still be made
	open   map[*yaml.Node]bool
	faults []finding
	full   bool
}

// generic returns maps, lists, strings, bools, int64, float64 and nil. size is that of the text: a
// document without aliases has fewer nodes than bytes.
func generic(node *yaml.Node, size int) (any, []finding) {
	e := &expander{left: size + maxExpansion, open: map[*yaml.Node]bool{}}
	value := e.value(node, 0)
	return value, e.faults
}

func (e *expander) fault(node *yaml.Node, format string, args ...any) {
	e.faults = append(e.faults, finding{line: node.Line, message: fmt.Sprintf(format, args...)})
}

func (e *expander) value(node *yaml.Node, depth int) any {
	if e.left--; e.left < 0 || depth > maxDepth {
		if !e.full {
			e.fault(node, "expands to too much by its aliases, or is nested too deep; write it out")
		}
		e.full = true
		return nil
	}
	switch node.Kind {
	case yaml.DocumentNode:
		return e.value(node.Content[0], depth)
	case yaml.AliasNode:
		return e.alias(node, depth)
	case yaml.MappingNode:
		return e.mapping(node, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, element := range node.Content {
			if e.full {
				break
			}
			list = append(list, e.value(element, depth+1))
		}
		return list
	case yaml.ScalarNode:
		return e.scalar(node)
	}
	return nil
}

func (e *expander) alias(node *yaml.Node, depth int) any {
	if e.open[node.Alias] {
		e.fault(node, "the alias *%s contains itself", node.Value)
		return nil
	}
	e.open[node.Alias] = true
	defer delete(e.open, node.Alias)
	return e.value(node.Alias, depth+1)
}

func (e *expander) mapping(node *yaml.Node, depth int) any {
	object := make(map[string]any, len(node.Content)/2)
	var merged []map[string]any
	for i := 0; i+1 < len(node.Content) && !e.full; i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, e.merge(value, depth)...)
			continue
		}
		// Ports and other numbers are keys too; kubectl takes their text.
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			e.fault(key, "a key must be a string")
			continue
		}
		// YAML forbids it (section 3.2.1.1), this reader of nodes doesn't; which of two specs of a policy
		// was meant can't be known.
		if _, twice := object[key.Value]; twice {
			e.fault(key, "the key %q is here twice; remove one of the two", key.Value)
			continue
		}
		object[key.Value] = e.value(value, depth+1)
	}
	for _, base := range merged {
		for key, value := range base {
			if _, own := object[key]; !own {
				object[key] = value
			}
		}
	}
	return object
}

// merge returns the maps that "<<" names, those that take precedence first.
func (e *expander) merge(node *yaml.Node, depth int) []map[string]any {
	switch value := e.value(node, depth+1).(type) {
	case map[string]any:
		return []map[string]any{value}
	case []any:
		var all []map[string]any
		for _, element := range value {
			if object, ok := element.(map[string]any); ok {
				all = append(all, object)
			}
		}
		return all
	}
	e.fault(node, "<< must name a map or a list of maps")
	return nil
}

func (e *expander) scalar(node *yaml.Node) any {
	switch tag := node.ShortTag(); tag {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if node.Decode(&b) == nil {
			return b
		}
	case "!!int", "!!float":
		return number(node)
	// A timestamp stays the text that it is: Kubernetes has its own reading of times.
	case "!!str", "!!timestamp", "!!binary":
	default:
		e.fault(node, "the tag %s isn't supported", tag)
	}
	return node.Value
}

func number(node *yaml.Node) any {
	var i int64
	if node.ShortTag() == "!!int" && node.Decode(&i) == nil {
		return i
	}
	var f float64
	if node.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	if f, err := strconv.ParseFloat(node.Value, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	return node.Value
}
