package rego_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// doubling repeats a line n times, about the values with numbers i and i-1.
func doubling(n int, first, line, last string) string {
	var b strings.Builder
	b.WriteString(first)
	for i := 1; i <= n; i++ {
		b.WriteString(strings.NewReplacer("NEXT", fmt.Sprint("a", i), "LAST", fmt.Sprint("a", i-1)).Replace(line) + "\n")
	}
	return b.String() + strings.ReplaceAll(last, "LAST", fmt.Sprint("a", n))
}

// hoards are ways to a value of 2ⁿ terms in n lines.
func hoards(n int) map[string]string {
	const begin = "allow if {\na0 := input.attributes.request.http.path\n"
	return map[string]string{
		"variables":            doubling(n, begin, "NEXT := [LAST, LAST]", "count(LAST) == 2\n}"),
		"objects":              doubling(n, begin, `NEXT := {"a": LAST, "b": LAST}`, "count(LAST) == 2\n}"),
		"sets":                 doubling(n, begin, "NEXT := {[LAST, 1], [LAST, 2]}", "count(LAST) == 2\n}"),
		"keys":                 doubling(n, begin, "NEXT := {LAST: LAST}", "count(LAST) == 1\n}"),
		"constants":            doubling(n, "allow if {\na0 := [1, 2]\n", "NEXT := [LAST, LAST]", "LAST == LAST\n}"),
		"unification":          doubling(n, begin, "[NEXT, _] = [[LAST, LAST], 1]", "count(LAST) == 2\n}"),
		"a part of it":         doubling(n, begin, "NEXT := [[LAST, LAST]][0]", "count(LAST) == 2\n}"),
		"iteration":            doubling(n, begin, "some NEXT in [[LAST, LAST]]", "count(LAST) == 2\n}"),
		"array comprehensions": doubling(n, begin, "NEXT := [[LAST, LAST] | true]", "count(LAST) == 1\n}"),
		"set comprehensions":   doubling(n, begin, "NEXT := {[LAST, LAST] | true}", "count(LAST) == 1\n}"),
		"object of them":       doubling(n, begin, `NEXT := {"a": [LAST, LAST] | true}`, "count(LAST) == 1\n}"),
		"every":                doubling(n, begin, "every NEXT in [[LAST, LAST]] {", "count(LAST) == 2\n}"+strings.Repeat("}\n", n)),
		"a function":           doubling(n, "f(x) := [x, x]\n"+begin, "NEXT := f(LAST)", "count(LAST) == 2\n}"),
		"a function's pattern": doubling(n, "f([x, _]) := [[x, x], 1]\nallow if {\na0 := [input.attributes.request.http.path, 1]\n", "NEXT := f(LAST)", "count(LAST) == 2\n}"),
		"a function's else":    doubling(n, "f(x) := 1 if { x == 1 } else := [x, x]\n"+begin, "NEXT := f(LAST)", "count(LAST) == 2\n}"),
		"inside a function":    doubling(n, "f(a0) if {\n", "NEXT := [LAST, LAST]", "count(LAST) == 2\n}\nallow if f(input.attributes.request.http.path)"),
		"functions of others":  doubling(n, "a0(x) := [x]\n", "NEXT(x) := LAST([x, x])", "allow if count(LAST(1)) == 1"),
		"rules":                doubling(n, "a0 := input.attributes.request.http.path\n", "NEXT := [LAST, LAST]", "allow if count(LAST) == 2"),
		"partial rules":        doubling(n, "a0 contains input.attributes.request.http.path\n", "NEXT contains [LAST, LAST]", "allow if count(LAST) == 1"),
		"builtins":             doubling(n, begin, "NEXT := array.concat([LAST], [LAST])", "count(LAST) == 2\n}"),
		"a replaced function":  doubling(n, "f(x) := x\ng(x) := [x, x]\n"+begin, "NEXT := f(LAST) with f as g", "count(LAST) == 2\n}"),
	}
}

func module(text string) *config.OPA {
	return &config.OPA{Modules: []config.Module{{Name: "m", Source: config.Source{Inline: "package envoy.authz\nimport rego.v1\n" + text}}}}
}

// TestS43ValuesThatDoubleAreRefused: OPA itself would take hours to compile some of these, and all memory to
// evaluate the others, at one request.
func TestS43ValuesThatDoubleAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range hoards(40) {
		p, err := rego.Compile(module(text), nil)
		if err == nil || p != nil || !strings.Contains(err.Error(), "builds a value of more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestS43RulesThatDoubleAreRefused is the same with as few lines as OPA itself takes without harm.
func TestS43RulesThatDoubleAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := rego.Compile(module(hoards(13)["variables"]), nil); err == nil {
		t.Error("taken")
	}
}

// TestValuesOfCommonSizeAreTaken: nobody's policy is refused for its lists.
func TestValuesOfCommonSizeAreTaken(t *testing.T) {
	t.Parallel()
	modules := hoards(5)
	delete(modules, "a replaced function") // which copies, however seldom
	list := strings.TrimSuffix(strings.Repeat("\"name\", ", 20000), ", ")
	modules["a long list"] = "allow if { names := [" + list + "]; input.attributes.request.http.method in names }"
	modules["an object of lists"] = `roles := {"a": [` + list + `], "b": [` + list + "]}\nallow if input.attributes.request.http.method in roles[input.attributes.request.http.host]"
	modules["many rules"] = doubling(3000, "", "allow if input.attributes.request.http.path == \"/NEXT\"", "")
	modules["sums"] = doubling(40, "a0 := 1\n", "NEXT := LAST + LAST", "allow if LAST > 1")
	modules["texts"] = doubling(12, "a0 := \"a\"\n", `NEXT := concat("", [LAST, LAST])`, "allow if startswith(LAST, \"a\")")
	modules["a mocked function"] = "f(x) := x\ng(x) := [x]\nallow if f(1) == [1] with f as g"
	for name, text := range modules {
		if _, err := rego.Compile(module(text), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
