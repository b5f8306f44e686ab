package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowed are the builtins a policy may call: a list of what is known to be harmless, so that a new
// version of OPA can't bring a new way out (S41). Left out are those that reach the network, the
// process's environment or other keys than the policy's own: http.send, net.lookup_ip_addr,
// opa.runtime, providers.*, rego.parse_module, and json.match_schema and json.verify_schema, whose
// schemas can name URLs. So is strings.render_template: its loops know neither deadline nor size. A
// trailing * is a family.
var allowed = []string{
	// operators and the compiler's own
	"abs", "and", "assign", "ceil", "div", "eq", "equal", "floor", "gt", "gte", "internal.member_2", "internal.member_3",
	"internal.print", "internal.template_string", "internal.test_case", "lt", "lte", "minus", "mul", "neq", "or", "plus", "print",
	"rem", "rego.metadata.chain", "rego.metadata.rule", "round", "trace", "walk",
	// values
	"all", "any", "array.*", "bits.*", "cast_*", "count", "intersection", "is_*", "max", "min", "numbers.*", "object.*", "product",
	"rand.intn", "set_diff", "sort", "sum", "to_number", "type_name", "union", "graph.reachable", "graph.reachable_paths",
	// text
	"base64.*", "base64url.*", "concat", "contains", "endswith", "format_int", "glob.match", "glob.quote_meta", "hex.*", "indexof",
	"indexof_n", "lower", "re_match", "regex.*", "replace", "semver.*", "split", "sprintf", "startswith",
	"strings.any_*", "strings.count", "strings.replace_n", "strings.reverse", "strings.split_n", "substring",
	"trim", "trim_*", "units.*", "upper", "uri.*", "urlquery.*", "uuid.*",
	// documents
	"graphql.*", "json.filter", "json.is_valid", "json.marshal", "json.marshal_with_options", "json.patch", "json.remove", "json.unmarshal",
	"yaml.*",
	// time, addresses, cryptography
	"crypto.*", "io.jwt.*", "net.cidr_*", "time.*",
}

// capabilities also forbids every host, should a builtin on the list ever learn to fetch.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !mayCall(b.Name) })
	c.AllowNet = []string{}
	return c
}

func mayCall(name string) bool {
	return slices.ContainsFunc(allowed, func(entry string) bool {
		family, isFamily := strings.CutSuffix(entry, "*")
		return name == entry || isFamily && strings.HasPrefix(name, family)
	})
}
