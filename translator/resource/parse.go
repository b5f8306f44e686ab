package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Chunk is the text of one YAML document of a stream, and the line of the stream at which it begins.
type Chunk struct {
	Text []byte
	Line int
}

// Split cuts a YAML stream at its document separators, without parsing it: a syntax error in one
// document leaves the others readable. A line that begins with "---" can't be inside any YAML scalar or
// JSON text (YAML 1.2 section 9.1.2), so that cutting there is exact. The chunks share memory with text.
func Split(text []byte) []Chunk {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	var chunks []Chunk
	start, startLine, line := 0, 1, 0
	cut := func(end int) {
		if chunk := text[start:end]; !blank(chunk) {
			chunks = append(chunks, Chunk{chunk, startLine})
		}
		start, startLine = end, line
	}
	for at := 0; at < len(text); {
		line++
		next := len(text)
		if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
			next = at + n + 1
		}
		if separator(text[at:next]) && !onlyDirectives(text[start:at]) {
			cut(at)
		}
		at = next
	}
	cut(len(text))
	return chunks
}

func separator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// blank reports whether a chunk holds nothing but its separator, space and comments.
func blank(chunk []byte) bool {
	for line := range bytes.Lines(chunk) {
		if separator(line) {
			line = line[len("---"):]
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// onlyDirectives reports whether text is the head of a document, such as "%YAML 1.2", to which the
// separator that follows belongs.
func onlyDirectives(text []byte) bool {
	found := false
	for line := range bytes.Lines(text) {
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 || line[0] == '#':
		case line[0] == '%':
			found = true
		default:
			return false
		}
	}
	return found
}

// parsed is one document as generic values, with the nodes that know the lines.
type parsed struct {
	value any
	node  *yaml.Node // nil if lines aren't known
	line  int        // of the node's first line, less one
	// faults of the structure: the value is a part of what was meant.
	faults []finding
	cut    bool // the text goes on behind a syntax error
}

var errorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse returns the documents of a text, and the fault that ended reading, if any.
func parse(text []byte) ([]parsed, *finding) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		if all, ok := parseJSON(text); ok {
			return all, nil
		}
	}
	var all []parsed
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, syntaxFault(err)
		}
		value, faults := generic(&document, len(text))
		// A structure that is readable but faulty, such as one with a key twice, is decoded all the same:
		// the targets of a policy must be known.
		all = append(all, parsed{value: value, node: &document, faults: faults})
	}
}

func syntaxFault(err error) *finding {
	text := err.Error()
	f := &finding{line: 1}
	if match := errorLine.FindStringSubmatch(text); match != nil {
		text = text[len(match[0]):]
		if line, err := strconv.Atoi(match[1]); err == nil {
			f.line = line
		}
	}
	f.message = "isn't valid YAML: " + text + "; correct the syntax; until then what it held before, if anything, stays in force"
	return f
}

// maxShortening is how many lines before a syntax error are given up to find a readable beginning.
const maxShortening = 20

// readablePart returns the beginning of a document before a syntax error, with the error as its fault.
// A policy names its targets first as a rule, and they must not be served without it because of a slip
// further down.
func readablePart(text []byte, syntax finding) (parsed, bool) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	end := min(syntax.line, len(lines))
	for least := max(1, end-maxShortening); end >= least; end-- {
		part := bytes.Join(lines[:end], nil)
		var node yaml.Node
		if yaml.Unmarshal(part, &node) != nil || node.Kind != yaml.DocumentNode {
			continue
		}
		value, faults := generic(&node, len(part))
		object, _ := value.(map[string]any)
		if object["apiVersion"] == nil || object["kind"] == nil || object["kind"] == "List" {
			return parsed{}, false
		}
		return parsed{value: value, node: &node, faults: append([]finding{syntax}, faults...), cut: true}, true
	}
	return parsed{}, false
}

// parseJSON reads a stream of JSON objects strictly (RFC 8259, unique names), and false if it isn't one.
// YAML's reader doesn't do: it refuses tabs for indentation and surrogate pairs.
func parseJSON(text []byte) ([]parsed, bool) {
	var all []parsed
	decoder := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		raw, err := decoder.ReadValue()
		if errors.Is(err, io.EOF) {
			return all, len(all) > 0
		}
		if err != nil {
			return nil, false
		}
		numbers := json.NewDecoder(bytes.NewReader(raw))
		numbers.UseNumber()
		var value any
		if err := numbers.Decode(&value); err != nil {
			return nil, false
		}
		one := parsed{value: plainNumbers(value)}
		one.line = bytes.Count(text[:int(decoder.InputOffset())-len(raw)], []byte("\n"))
		// Only lines are taken from the nodes. A tab can't be inside a JSON string, so that replacing all of
		// them moves no value.
		var node yaml.Node
		legible := escape.ReplaceAll(bytes.ReplaceAll(raw, []byte("\t"), []byte(" ")), []byte("?"))
		if yaml.Unmarshal(legible, &node) == nil {
			one.node = &node
		}
		all = append(all, one)
	}
}

// escape is an escape sequence of JSON; YAML refuses some of them.
var escape = regexp.MustCompile(`\\(["\\/bfnrt]|u[0-9a-fA-F]{4})`)

func plainNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, element := range v {
			v[key] = plainNumbers(element)
		}
	case []any:
		for i, element := range v {
			v[i] = plainNumbers(element)
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	}
	return value
}

// path leads to a value: strings are keys, ints are indexes.
type path []any

// String returns spec.jwt.providers[0].name, with keys that aren't words as ["a.b/c"].
func (p path) String() string {
	var text strings.Builder
	for i, step := range p {
		switch s := step.(type) {
		case int:
			fmt.Fprintf(&text, "[%d]", s)
		case string:
			switch {
			case strings.ContainsAny(s, ".[]/ \""):
				fmt.Fprintf(&text, "[%q]", s)
			case i > 0:
				text.WriteString("." + s)
			default:
				text.WriteString(s)
			}
		}
	}
	return text.String()
}

// lineOf returns the line of the value at a path, or of what encloses it if the document spells it
// otherwise.
func (d parsed) lineOf(to path) int {
	node := d.node
	if node == nil {
		return d.line + 1
	}
	line := node.Line
	for {
		switch {
		case node.Kind == yaml.DocumentNode && len(node.Content) > 0:
			node = node.Content[0]
			line = node.Line
			continue
		case node.Kind == yaml.AliasNode && node.Alias != nil:
			node = node.Alias
			continue
		case len(to) == 0:
			return d.line + line
		}
		key, value := child(node, to[0])
		if value == nil {
			if _, isIndex := to[0].(int); isIndex { // an object that the dialect made a list of
				to = to[1:]
				continue
			}
			return d.line + line
		}
		node, line, to = value, key.Line, to[1:]
	}
}

func child(node *yaml.Node, step any) (key, value *yaml.Node) {
	switch s := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && s < len(node.Content) {
			return node.Content[s], node.Content[s]
		}
	case string:
		if node.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == s {
					return node.Content[i], node.Content[i+1]
				}
			}
		}
	}
	return nil, nil
}
