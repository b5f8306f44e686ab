package rego

import (
	"net/url"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// splitPath cuts at the first question mark, by hand: a URL parser would read `//host/x` as an authority
// and drop what it doesn't understand (S1, S2).
func splitPath(target string) (path, query string) {
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

// segments splits a path and decodes each segment. It refuses paths that the upstream may read as
// others: dot segments in any encoding, also with ;parameters behind which some servers still see them,
// backslashes, encoded slashes, fragments, and escapes that are none (S3, S4, S5). A proxy that
// normalises lets none of these through. Parameters are dropped; empty segments stay (S1), unless
// parameters made them so: servers that drop these merge the slashes then, and /a/;/b is /a/b to them.
func segments(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\#") {
		return nil, ErrAmbiguous
	}
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		part, parameters, parametrised := strings.Cut(part, ";")
		if parametrised && part == "" && i < len(parts)-1 {
			return nil, ErrAmbiguous
		}
		decoded, err := unescape(part)
		if err != nil || decoded == "." || decoded == ".." {
			return nil, ErrAmbiguous
		}
		if _, err := unescape(parameters); err != nil { // to some servers they are part of the segment
			return nil, err
		}
		// An encoded semicolon is decoded by some servers before they look for parameters.
		if before, _, found := strings.Cut(decoded, ";"); found && (before == "." || before == ".." || before == "" && i < len(parts)-1) {
			return nil, ErrAmbiguous
		}
		parts[i] = decoded
	}
	return parts, nil
}

// unescape decodes what is within a segment: neither a broken escape nor another segment hides in it.
func unescape(text string) (string, error) {
	decoded, err := url.PathUnescape(text)
	if err != nil || !printable(decoded) || strings.ContainsAny(decoded, `/\`) {
		return "", ErrAmbiguous
	}
	return decoded, nil
}

// parameters parses a query into every value of every name, in order.
func parameters(query string) (ast.Value, error) {
	names, values := []string{}, map[string][]*ast.Term{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, ErrAmbiguous
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || !validText(name) || !validText(value) {
			return nil, ErrAmbiguous
		}
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], ast.StringTerm(value))
	}
	object := ast.NewObjectWithCapacity(len(names))
	for _, name := range names {
		object.Insert(ast.StringTerm(name), ast.ArrayTerm(values[name]...))
	}
	return object, nil
}
