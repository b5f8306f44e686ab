// Package claim reads claims of a verified token by the names that policies give them.
package claim

import (
	"errors"
	"fmt"
	"strings"
)

// maxDepth is that of tokens: a longer path could never find anything (S23).
const maxDepth = 32

// Path is where a claim is: names joined by dots, any of which may be `["name with.dots"]`. Immutable.
type Path struct {
	text  string
	names []string
}

// Parse reads a path. The error quotes it.
func Parse(text string) (Path, error) {
	path := Path{text: text}
	for rest := text; ; {
		var name string
		var err error
		if name, rest, err = nextName(rest); err != nil {
			return Path{}, fmt.Errorf("claim %q: %w", text, err)
		}
		path.names = append(path.names, name)
		switch {
		case rest == "":
			return path, nil
		case len(path.names) == maxDepth:
			return Path{}, fmt.Errorf("claim %q is deeper than %d names", text, maxDepth)
		case rest[0] == '.':
			rest = rest[1:]
		case rest[0] != '[':
			return Path{}, fmt.Errorf("claim %q: after ] must come a dot or [", text)
		}
	}
}

func nextName(text string) (name, rest string, err error) {
	if strings.HasPrefix(text, `["`) {
		end := strings.Index(text, `"]`)
		if end <= 2 {
			return "", "", errors.New(`write a name with dots as ["name"]`)
		}
		return text[2:end], text[end+2:], nil
	}
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		end = len(text)
	}
	if end == 0 {
		return "", "", errors.New("empty name")
	}
	return text[:end], text[end:], nil
}

// Lookup follows the path. A claim whose whole name is the path's text with dots is found too, where no
// nested one is: many issuers write names with dots, and Envoy Gateway users can't quote them. A claim
// that is null counts as absent.
func (p Path) Lookup(claims map[string]any) (value any, found bool) {
	if value = p.nested(claims); value == nil {
		value = p.Literal(claims)
	}
	return value, value != nil
}

// Literal returns the claim whose whole name is the path's text with dots, nil if there is none or the
// path has no dots.
func (p Path) Literal(claims map[string]any) any {
	if len(p.names) < 2 {
		return nil
	}
	return claims[p.text]
}

func (p Path) nested(claims map[string]any) any {
	var value any = claims
	for _, name := range p.names {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}
