package rules_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

func compileExpression(expression string) error {
	_, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Name: "a", CEL: expression}}}, rules.Options{})
	return err
}

// TestS43ExpressionsMakeNothingLarge: each of these would, in one step that no deadline ends, take gigabytes of memory or
// minutes of a processor.
func TestS43ExpressionsMakeNothingLarge(t *testing.T) {
	t.Parallel()
	chain := func(start, step, end string) string {
		return "[" + start + "]" + strings.Repeat(".map(x, "+step+")", 20) + end
	}
	for name, expression := range map[string]string{
		"format":                          chain("request.path", "'%s%s%s%s'.format([x,x,x,x])", ".all(x, x != 'a')"),
		"join":                            chain("['a']", "[x[0],x[0]]", ".all(x, x.join() != 'a')"),
		"join of what a client sent":      "request.path.split('').map(a, request.headers['x']).join() == ''",
		"lists added":                     chain("['a']", "x + x", ".all(x, 'b' in x)"),
		"lists of no known type added":    chain("dyn(['a'])", "x + x", ".all(x, x[0] == 'b')"),
		"a list replaced in itself":       "request.path.replace('', request.path).size() > 1",
		"a long replacement":              "request.path.replace('a', '" + strings.Repeat("b", 17) + "').size() > 1",
		"nested lists compared":           chain("['a']", "[x, x]", ".all(x, x == x)"),
		"nested lists unequal":            chain("['a']", "[x, x]", ".all(x, x != x)"),
		"nested lists in lists":           chain("['a']", "[x, x]", ".all(x, x in [x, [x]])"),
		"nested maps compared":            chain("{'a': 'b'}", "{'a': x, 'b': x}", ".all(x, x == x)"),
		"nested lists of no known type":   chain("dyn('a')", "dyn([x, x])", ".all(x, x == x)"),
		"nested by other comprehensions":  "[['a']].all(x, [[x, x]].exists(y, [[y, y]].exists_one(z, z == z)))",
		"behind a condition":              chain("['a']", "[x, x]", ".all(x, (true ? x : x) == (true ? x : x))"),
		"inside of an argument":           "size(['%s'.format(['a'])]) == 1",
		"inside of a map":                 "size({'a': '%s'.format(['a'])}) == 1",
		"inside of a comprehension":       "[1].exists(x, '%d'.format([x]) == '1')",
		"inside of a comprehension's own": "['%d'.format([1])].exists(x, x == '1')",
	} {
		if err := compileExpression(expression); err == nil || !strings.Contains(err.Error(), "cel: ") || !strings.Contains(err.Error(), "compar") && !strings.Contains(err.Error(), "any size") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, expression := range map[string]string{
		"claims compared":      "identity.claims.tenant == identity.claims.owner",
		"a claim in a claim":   "identity.claims.role in identity.claims['roles']",
		"claims of two lists":  "identity.claims.a.exists(x, identity.claims.b.exists(y, x == y))",
		"a claim as a list":    "identity.claims.roles == ['a', 'b'] || identity.claims.roles == []",
		"a claim as an object": "identity.claims.address == {'city': 'Bern'}",
		"parts of a path":      "request.url_path.split('/') == request.headers['x-parts'].split('/')",
		"texts added":          "request.host + ':' + string(identity.claims.port) == 'a:' + request.path",
		"mapped and filtered":  "request.path.split('/').map(x, x.lowerAscii()).filter(x, x != '').exists_one(x, x == 'a')",
		"a short replacement":  "request.path.replace('//', '/') == '/a'",
		"a header in a list":   "request.headers['x-team'] in ['a', 'b']",
		"metadata":             "metadata.filter_metadata['envoy.filters.http.jwt_authn'].provider.sub == identity.claims.sub",
		"a name in headers":    "'x-team' in request.headers && !('x-other' in request.headers)",
		"numbers":              "request.size + 1 > 2 && source.port == destination.port",
		"times":                "request.time + duration('1h') > timestamp('2020-01-01T00:00:00Z')",
		"a choice":             "(request.method == 'GET' ? identity.claims.a : identity.claims.b) == identity.claims.c",
	} {
		if err := compileExpression(expression); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
