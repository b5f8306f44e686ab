package dialect

import (
	"maps"
	"slices"
	"strings"
)

// Row is one other spelling that is accepted.
type Row struct {
	// Kind of the objects that it is for.
	Kind string
	// At is the path of the maps that it looks at, such as "spec.extProc[].processingMode"; "[]" stands
	// for every element of a list.
	At string
	// Field is the other spelling's path below At.
	Field string
	// Canonical is the path below At where the value belongs, for documentation.
	Canonical string
	// rewrite changes the map found at At in place, and says what it did, or nothing.
	rewrite func(object map[string]any) []note
}

// note is a Finding relative to the map at At.
type note struct {
	field   []any
	message string
	fault   bool
}

// Finding tells about one place of a document that isn't canonical.
type Finding struct {
	// Path leads to the field in the document as it was given: strings are keys, ints are indexes.
	Path []any
	// Message names the canonical form.
	Message string
	// Fault means that the value could not be understood, or contradicts the canonical field, so that
	// the document must not be used.
	Fault bool
}

// Rows returns the table for one kind, in the order of application.
func Rows(kind string) []Row { return slices.Clone(table()[kind]) }

// Kinds returns the kinds that the table has rows for, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(table())) }

// Rewrite returns the document in canonical spelling, and what was changed for it. The document is
// made of map[string]any, []any, string, bool, int64, float64 and nil; it isn't changed, and the result
// shares no map or list with it.
func Rewrite(kind string, document map[string]any) (map[string]any, []Finding) {
	canonical, _ := clone(document).(map[string]any)
	var findings []Finding
	for _, row := range table()[kind] {
		visit(canonical, split(row.At), nil, func(object map[string]any, path []any) {
			for _, n := range row.rewrite(object) {
				findings = append(findings, Finding{
					Path: slices.Concat(path, n.field), Message: n.message, Fault: n.fault,
				})
			}
		})
	}
	return canonical, findings
}

func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, element := range v {
			copied[key] = clone(element)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, element := range v {
			copied[i] = clone(element)
		}
		return copied
	default:
		return value
	}
}

func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}

// visit calls found for every map that the pattern leads to.
func visit(value any, pattern []string, path []any, found func(map[string]any, []any)) {
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	if len(pattern) == 0 {
		found(object, path)
		return
	}
	key, isList := strings.CutSuffix(pattern[0], "[]")
	next, ok := object[key]
	if !ok {
		return
	}
	path = append(slices.Clip(path), key)
	if !isList {
		visit(next, pattern[1:], path, found)
		return
	}
	elements, _ := next.([]any)
	for i, element := range elements {
		visit(element, pattern[1:], append(slices.Clip(path), i), found)
	}
}

// take removes a nested field and the maps that become empty by that.
func take(object map[string]any, path []string) (any, bool) {
	value, ok := object[path[0]]
	if !ok {
		return nil, false
	}
	if len(path) == 1 {
		delete(object, path[0])
		return value, true
	}
	inner, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	value, ok = take(inner, path[1:])
	if ok && len(inner) == 0 {
		delete(object, path[0])
	}
	return value, ok
}

// put sets a nested field. It fails if the field is set, or if something on the way isn't a map.
func put(object map[string]any, path []string, value any) bool {
	if len(path) == 1 {
		if _, taken := object[path[0]]; taken {
			return false
		}
		object[path[0]] = value
		return true
	}
	if object[path[0]] == nil {
		object[path[0]] = map[string]any{}
	}
	inner, ok := object[path[0]].(map[string]any)
	return ok && put(inner, path[1:], value)
}

func steps(path string) []any {
	keys := split(path)
	all := make([]any, len(keys))
	for i, key := range keys {
		all[i] = key
	}
	return all
}
