package rules

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// maxPathValue is Envoy Gateway's limit for the value of a path match.
const maxPathValue = 1024

// pathMatch is a comparison of paths. value is as written, plain with its escapes decoded.
type pathMatch struct {
	kind         string
	value, plain string
	expression   *regexp.Regexp
	invert       bool
}

func (c *compiler) path(spec *config.Rule) ([]condition, error) {
	if spec.Path == nil {
		return nil, nil
	}
	out, err := compilePath(spec.Path)
	if err != nil {
		return nil, fmt.Errorf("operation.path.%w", err)
	}
	return []condition{out}, nil
}

func compilePath(spec *config.PathMatch) (*pathMatch, error) {
	out := &pathMatch{kind: spec.Type, value: spec.Value, invert: spec.Invert}
	if len(spec.Value) > maxPathValue {
		return nil, fmt.Errorf("value: longer than %d bytes", maxPathValue)
	}
	switch spec.Type {
	case "RegularExpression":
		// S10: an expression that isn't anchored would allow what merely contains it.
		expression, err := regexp.Compile(`\A(?:` + spec.Value + `)\z`)
		if err == nil {
			// A value such as `a)|(?:b` is only an expression together with what is put around it.
			_, err = regexp.Compile(spec.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("value: %q is no RE2 expression", spec.Value)
		}
		out.expression = expression
		return out, nil
	case "Exact", "PathPrefix", "Suffix":
		return out, out.compileValue()
	}
	return nil, fmt.Errorf("type: %q is none of Exact, PathPrefix, Suffix and RegularExpression", spec.Type)
}

// compileValue refuses what a path that rules see can't hold: such a rule would never match.
func (m *pathMatch) compileValue() (err error) {
	if m.value == "" || strings.ContainsAny(m.value, `?#;\`) {
		return fmt.Errorf(`value: %q must be a path without ? # ; and \; rules never see the query or parameters`, m.value)
	}
	if m.plain, err = url.PathUnescape(m.value); err != nil {
		return fmt.Errorf("value: %q has an escape that is none", m.value)
	}
	if m.kind == "Suffix" {
		return nil
	}
	if p := readPath(m.value); !p.clear {
		return fmt.Errorf("value: %q must begin with / and have neither dot segments nor encoded slashes", m.value)
	}
	if m.kind == "PathPrefix" {
		// Gateway API: a trailing slash means nothing, and / is every path.
		m.value, m.plain = strings.TrimRight(m.value, "/"), strings.TrimRight(m.plain, "/")
	}
	return nil
}

// judge asks every reading of the path. An unclear one can't be judged, inverted or not.
func (m *pathMatch) judge(e *evaluation, allow bool) answer {
	p := e.path()
	if !p.clear {
		return unknown
	}
	for i, view := range p.views[:p.count] {
		value := m.plain
		if i == 0 {
			value = m.value
		}
		// One reading that matches settles it for a deny rule, one that doesn't for an allow rule.
		if matched := m.match(view, value) != m.invert; matched != allow {
			return answerOf(matched)
		}
	}
	return answerOf(allow)
}

func (m *pathMatch) match(path, value string) bool {
	switch m.kind {
	case "Exact":
		return path == value
	case "PathPrefix":
		rest, found := strings.CutPrefix(path, value)
		return found && (rest == "" || rest[0] == '/')
	case "Suffix":
		return strings.HasSuffix(path, value)
	}
	return m.expression.MatchString(path)
}

// paths are the ways in which servers behind the proxy may read one path.
type paths struct {
	read  bool
	clear bool
	count int
	// views are the path as the proxy routes it; decoded and without parameters (S4); the same with
	// empty segments merged. Later ones are left out where they would repeat the first.
	views [3]string
}

func (e *evaluation) path() *paths {
	if !e.paths.read {
		// S2, S6: cut at the first question mark, by hand. Rules never see the query.
		path, _, _ := strings.Cut(e.Request.Path(), "?")
		e.paths = readPath(path)
	}
	return &e.paths
}

var errUnclear = errors.New("unclear path")

// readPath takes a path apart. It isn't clear where a server may read another one than the proxy did:
// dot segments in any encoding and behind parameters, backslashes, encoded slashes, fragments, escapes
// that are none (S3, S4, S5), and where there is no path at all (S8). A proxy that normalises lets
// nothing of this through.
func readPath(path string) paths {
	out := paths{read: true, count: 1, views: [3]string{path}}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, `\#`) || !printable(path) {
		return out
	}
	var plain, merged strings.Builder
	if !strings.ContainsAny(path, "%;") && !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		out.clear = true
		return out
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		read, err := readSegment(segment)
		if err != nil {
			return out
		}
		plain.WriteString("/" + read)
		if read != "" {
			merged.WriteString("/" + read)
		}
	}
	if strings.HasSuffix(plain.String(), "/") {
		merged.WriteByte('/')
	}
	out.clear, out.count = true, 3
	out.views[1], out.views[2] = plain.String(), merged.String()
	return out
}

// readSegment decodes a segment and drops its parameters, which some servers look for only after they
// have decoded.
func readSegment(segment string) (string, error) {
	segment, _, _ = strings.Cut(segment, ";")
	decoded, err := url.PathUnescape(segment)
	if err != nil || !printable(decoded) || strings.ContainsAny(decoded, `/\`) {
		return "", errUnclear
	}
	decoded, _, _ = strings.Cut(decoded, ";")
	if decoded == "." || decoded == ".." {
		return "", errUnclear
	}
	return decoded, nil
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(text)
}
