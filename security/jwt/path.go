package jwt

import (
	"errors"
	"fmt"
	"strings"
)

// parsePath reads a claim path: names joined by dots, any of which may be `["name with.dots"]`.
func parsePath(text string) ([]string, error) {
	var path []string
	for rest := text; ; {
		var name string
		var err error
		if name, rest, err = nextName(rest); err != nil {
			return nil, fmt.Errorf("claim %q: %w", text, err)
		}
		path = append(path, name)
		switch {
		case rest == "":
			return path, nil
		case len(path) == maxDepth:
			return nil, fmt.Errorf("claim %q is deeper than %d names", text, maxDepth)
		case rest[0] == '.':
			rest = rest[1:]
		case rest[0] != '[':
			return nil, fmt.Errorf("claim %q: after ] must come a dot or [", text)
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

// lookup follows a path. A claim whose whole name is the path's text with dots is found too, where no
// nested one is: many issuers write names with dots, and Envoy Gateway users can't quote them.
func lookup(claims map[string]any, path []string, text string) (any, bool) {
	var value any = claims
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			value = nil
			break
		}
		if value, ok = object[name]; !ok {
			value = nil
			break
		}
	}
	if value != nil {
		return value, true
	}
	if len(path) > 1 {
		value = claims[text]
	}
	return value, value != nil
}
