package standalone

import (
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// locator finds the lines of fields. A translation knows only the line at which an object begins.
type locator struct {
	files map[string][]resource.Chunk
}

// locate moves a problem from the line of its object to that of its field, as far as the file has it.
func (l *locator) locate(p resource.Problem) resource.Problem {
	if p.Field == "" || p.Origin.Line == 0 {
		return p
	}
	chunks, known := l.files[p.Origin.File]
	if !known {
		if text, err := os.ReadFile(p.Origin.File); err == nil { // not so for standard input
			chunks = resource.Split(text)
		}
		l.files[p.Origin.File] = chunks
	}
	for i, chunk := range chunks {
		if chunk.Line > p.Origin.Line || i+1 < len(chunks) && chunks[i+1].Line <= p.Origin.Line {
			continue
		}
		var document yaml.Node
		if yaml.Unmarshal(chunk.Text, &document) != nil {
			return p
		}
		if object := beginsAt(&document, p.Origin.Line-chunk.Line+1); object != nil {
			p.Origin.Line = lineOf(object, fieldSteps(p.Field)) + chunk.Line - 1
		}
	}
	return p
}

// beginsAt finds the object at a line: the document's, or an item of a list.
func beginsAt(node *yaml.Node, line int) *yaml.Node {
	if node.Kind == yaml.MappingNode && node.Line == line {
		if _, kind := entry(node, "kind"); kind != nil && kind.Value != "List" {
			return node
		}
	}
	for _, inner := range node.Content {
		if found := beginsAt(inner, line); found != nil {
			return found
		}
	}
	return nil
}

// fieldSteps splits spec.listeners[http].tls into spec, listeners, http, tls.
func fieldSteps(field string) []string {
	return strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// lineOf follows the steps: keys of objects, indexes or names of elements. It stops where the text is
// spelt otherwise.
func lineOf(node *yaml.Node, steps []string) int {
	line := node.Line
	for _, step := range steps {
		var next *yaml.Node
		switch node.Kind {
		case yaml.MappingNode:
			key, value := entry(node, step)
			if value == nil {
				return line
			}
			line, next = key.Line, value
		case yaml.SequenceNode:
			if next = element(node, step); next == nil {
				return line
			}
			line = next.Line
		default:
			return line
		}
		node = next
	}
	return line
}

func entry(node *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}

func element(node *yaml.Node, step string) *yaml.Node {
	if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
		return node.Content[i]
	}
	for _, e := range node.Content {
		if e.Kind != yaml.MappingNode {
			continue
		}
		if _, name := entry(e, "name"); name != nil && name.Value == step {
			return e
		}
	}
	return nil
}
