package rego

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// isGet and isPost are true for some that anyRequest makes.
const (
	isGet  = `input.attributes.request.http.method == "GET"`
	isPost = `input.attributes.request.http.method == "POST"`
)

// TestADirectDecisionIsTheWholeQuerys: for decisions that only say true, whatever their bodies are, over
// requests of all kinds.
func TestADirectDecisionIsTheWholeQuerys(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	for name, module := range map[string]string{
		"one rule":                      `default allow := false` + "\nallow if { " + isGet + "; input.identity.claims.role == \"x\" }",
		"undefined without a default":   `allow if { ` + isGet + ` }`,
		"a default that allows":         "default allow := true\nallow if " + isPost,
		"only a default":                "default allow := false",
		"several rules":                 "default allow := false\nallow if " + isGet + "\nallow if " + isPost + "\nallow if input.parsed_path[0] == \"a\"",
		"always":                        "default allow := false\nallow := true",
		"never":                         "default allow := false\nallow if false",
		"iteration":                     "default allow := false\nallow if { some x in input.parsed_path; x == \"a\" }\nallow if input.parsed_path[_] == \"b\"",
		"every":                         "default allow := false\nallow if { count(input.parsed_path) > 0; every x in input.parsed_path { x != \"a\" } }",
		"negation":                      "default allow := false\nallow if not input.identity.claims",
		"other rules":                   "default allow := false\nallow if reader\nallow if { " + isPost + "; roles[\"x\"] }\nreader if { " + isGet + "; roles[\"y\"] }\nroles contains input.identity.claims.role",
		"a function":                    "default allow := false\nallow if is(input.attributes.request.http.method)\nis(m) if m == \"GET\"\nis(m) if startswith(m, \"P\")",
		"data":                          "default allow := false\nallow if data.methods[input.attributes.request.http.method]\nallow if data.open",
		"with another input":            "default allow := false\nallow if inner with input.attributes.request.http.method as \"GET\"\ninner if { " + isGet + "; input.identity.username == \"a\" }",
		"comprehension":                 "default allow := false\nallow if count([x | some x in input.parsed_path; x == \"a\"]) == 1",
		"a fault behind a comparison":   "default allow := false\nallow if { " + isPost + "; to_number(input.attributes.request.http.path) > 1 }\nallow if " + isGet,
		"a fault before a comparison":   "default allow := false\nallow if { to_number(input.attributes.request.http.path) > 1; " + isPost + " }\nallow if " + isGet,
		"a fault where another allows":  "default allow := false\nallow if to_number(input.attributes.request.http.host) > 1\nallow if " + isGet,
		"a fault behind an allowance":   "default allow := false\nallow if " + isGet + "\nallow if to_number(input.attributes.request.http.host) > 1",
		"a rule that says true by name": "default allow := false\nallow := true if { x := input.attributes.request.http.method; x in {\"GET\", \"PUT\"} }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Compile(&config.OPA{
				Modules:   []config.Module{{Name: "m", Source: config.Source{Inline: "package envoy.authz\nimport rego.v1\n" + module}}},
				Documents: []config.Source{{Inline: `{"methods": {"GET": true, "PUT": false}}`}},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.direct == nil {
				t.Fatal("not evaluated directly")
			}
			r := rand.New(rand.NewPCG(seed, 1))
			said := map[string]int{}
			for range 400 {
				request, caller := anyRequest(r), callers()[r.IntN(len(callers()))]
				input, err := p.input(request, caller)
				if err != nil {
					continue
				}
				now := time.Now()
				limit := &deadline{start: now, limit: time.Minute}
				got, gotErr := p.evaluate(t.Context(), input, now, limit)
				want, wantErr := p.whole(t.Context(), input, now, limit)
				switch {
				case wantErr != nil:
					if !errors.Is(gotErr, ErrFault) {
						t.Fatalf("seed %d: %v: %v, %v instead of a fault: %v", seed, input, got, gotErr, wantErr)
					}
				case want == nil:
					if !errors.Is(gotErr, ErrUndefined) {
						t.Fatalf("seed %d: %v: %v, %v instead of undefined", seed, input, got, gotErr)
					}
				case gotErr != nil || ast.Compare(got, want) != 0:
					t.Fatalf("seed %d: %v: %v, %v instead of %v", seed, input, got, gotErr, want)
				}
				said[verdictOf(got, gotErr)]++
			}
			t.Log(said)
		})
	}
}

func verdictOf(value ast.Value, err error) string {
	if err != nil {
		return err.Error()
	}
	return value.String()
}

// TestWhatSaysMoreThanTrueIsAskedAsAWhole: nothing of such a decision is in a rule's body alone.
func TestWhatSaysMoreThanTrueIsAskedAsAWhole(t *testing.T) {
	t.Parallel()
	for name, module := range map[string]string{
		"an object":        `allow := {"allowed": true}`,
		"false":            "default allow := true\nallow := false if " + isGet,
		"a value":          "allow := input.identity.claims.role",
		"a set":            "allow contains x if some x in input.parsed_path",
		"else":             "allow if " + isGet + "\nelse := false if " + isPost,
		"a rule below":     "allow.read if " + isGet + "\nallow.write if " + isPost,
		"a variable below": "allow[x] if { some x in input.parsed_path }",
		"a default object": "default allow := {\"allowed\": false}\nallow := true if " + isGet,
	} {
		if compiled(t, module).direct != nil {
			t.Errorf("%s: evaluated directly", name)
		}
	}
}

// TestRulesThatMeetInADecisionAreAskedAsAWhole: OPA joins rules of several packages, and rules with variables in their
// names, under one path; what one of them says isn't in the others' bodies.
func TestRulesThatMeetInADecisionAreAskedAsAWhole(t *testing.T) {
	t.Parallel()
	request := exchange.NewRequest(exchange.Head{Method: "GET", Path: "/", Authority: "a.example", Scheme: "https"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
	for name, c := range map[string]struct {
		modules  []string
		v0       bool
		document string
		want     string
	}{
		"a variable beside it says false":          {modules: []string{"package envoy\nauthz.allow if " + isGet + "\nauthz[x] := false if { some x in [\"allow\"]; " + isGet + " }"}, want: ErrFault.Error()},
		"a variable beside it says true":           {modules: []string{"package envoy\nauthz.allow if " + isPost + "\nauthz[x] := true if { some x in [\"allow\"]; " + isGet + " }"}, want: "true"},
		"a variable in the package above":          {modules: []string{"package envoy\nauthz[x] := false if { some x in [\"allow\"] }", "package envoy.authz\nallow if " + isGet}, want: ErrFault.Error()},
		"a variable above that":                    {modules: []string{"package envoy\nauthz[x] := y if { some x in [\"other\"]; y := 1 }", "package envoy.authz\nallow if " + isGet}, want: "true"},
		"several packages":                         {modules: []string{"package envoy\nauthz.allow if " + isPost, "package envoy.authz\ndefault allow := false\nallow if " + isGet}, want: "true"},
		"several modules of a package":             {modules: []string{"package envoy.authz\nallow if " + isPost, "package envoy.authz\ndefault allow := false", "package envoy.authz\nallow if " + isGet}, want: "true"},
		"false in another module":                  {modules: []string{"package envoy.authz\nallow := false if " + isGet, "package envoy.authz\nallow if " + isGet}, want: ErrFault.Error()},
		"Rego v0":                                  {v0: true, modules: []string{"package envoy.authz\ndefault allow = false\nallow { " + isGet + " }\nallow = true { " + isPost + " }"}, want: "true"},
		"else of Rego v0":                          {v0: true, modules: []string{"package envoy.authz\nallow { " + isPost + " } else = false { " + isGet + " }"}, want: "false"},
		"two bodies of Rego v0":                    {v0: true, modules: []string{"package envoy.authz\nallow { " + isPost + " } { " + isGet + " }"}, want: "true"},
		"a document beside it":                     {modules: []string{"package envoy.authz\nallow if data.envoy.authz.open"}, document: `{"envoy": {"authz": {"open": true}}}`, want: "true"},
		"a draw that several rules see":            {modules: []string{"package envoy.authz\nallow if rand.intn(\"coin\", 1000000) >= 500000\nallow if rand.intn(\"coin\", 1000000) < 500000"}, want: "true"},
		"another package's rule, replaced":         {modules: []string{"package envoy.authz\nimport data.other\nallow if other.is with data.other.is as true\nallow if { other.is; " + isGet + " }", "package other\nis if " + isPost}, want: "true"},
		"another package's rule, replaced for one": {modules: []string{"package envoy.authz\nimport data.other\nallow if { other.is with data.other.is as true; not other.is; other.is }", "package other\nis if " + isPost}, want: ErrUndefined.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := &config.OPA{RegoV0: c.v0}
			for _, module := range c.modules {
				spec.Modules = append(spec.Modules, config.Module{Name: "m", Source: config.Source{Inline: module}})
			}
			if c.document != "" {
				spec.Documents = []config.Source{{Inline: c.document}}
			}
			p, err := Compile(spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			input, err := p.input(request, nil)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			for range 20 {
				if got := verdictOf(p.evaluate(t.Context(), input, now, &deadline{start: now, limit: time.Minute})); got != c.want {
					t.Fatalf("%s instead of %s", got, c.want)
				}
			}
		})
	}
}
