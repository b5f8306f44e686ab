package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// decisionQuery is the form of a query that a policy's decision has.
var decisionQuery = regexp.MustCompile(`^data\.([a-zA-Z0-9_.]+) = ([a-z]+)$`)

func compliance(t *testing.T) []cases.TestCase {
	t.Helper()
	var all []cases.TestCase
	err := fs.WalkDir(testdata.V1, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		text, err := testdata.V1.ReadFile(name)
		if err != nil {
			return err
		}
		var set cases.Set
		if err := util.Unmarshal(text, &set); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, set.Cases...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// queries are the cases of other queries: a decision is one path below data.
const noDecision = "no decision: "

// unlike are the cases that end otherwise on purpose, by the head of their note, and why.
var unlike = []struct{ note, reason string }{
	// What reaches beyond the request, or can't be stopped, is not on the list of builtins (S41).
	{"invalidkeyerror/", "http.send"}, {"withkeyword/builtin: http.send example", "http.send"}, {"withkeyword/builtin: nested, multiple mocks", "http.send"},
	{"withkeyword/builtin-builtin: arity 0", "opa.runtime"}, {"json_match_schema/", "json.match_schema"}, {"json_verify_schema/", "json.verify_schema"},
	{"net.lookup_ip_addr/", "net.lookup_ip_addr"}, {"providers-aws-sign_req/", "providers.aws.sign_req"}, {"regoparsemodule/", "rego.parse_module"},
	{"rendertemplate/", "strings.render_template"}, {"time/time caching", "test.sleep"},
	// A rule beside a document of the same path would hide it.
	{"baseandvirtualdocs/base/virtual: conflicts", "conflicting rule"},
}

// strict says that a builtin's error is undefined to the case, and a fault here (S39): under a "not" an
// undefined expression is true.
func strict(c *cases.TestCase, said string) bool {
	return !c.StrictError && strings.Contains(said, ErrFault.Error())
}

// judge runs one of OPA's cases as a policy: compiled by Compile, evaluated as for a request but for the
// input, which is the case's own. "" is agreement.
func judge(t *testing.T, c *cases.TestCase) string {
	t.Helper()
	match := decisionQuery.FindStringSubmatch(c.Query)
	if match == nil || match[2] == "input" {
		return noDecision + c.Query
	}
	spec := &config.OPA{Decision: strings.ReplaceAll(match[1], ".", "/"), Timeout: MaxTimeout, BodyMaxBytes: 1}
	for i, module := range c.Modules {
		spec.Modules = append(spec.Modules, config.Module{Name: fmt.Sprintf("test-%d.rego", i), Source: config.Source{Inline: module}})
	}
	if c.Data != nil {
		text, err := json.Marshal(*c.Data)
		if err != nil {
			t.Fatal(err)
		}
		spec.Documents = []config.Source{{Inline: string(text)}}
	}
	p, err := Compile(spec, nil)
	if err != nil {
		return "doesn't compile: " + err.Error()
	}
	var input *ast.Term
	switch {
	case c.InputTerm != nil:
		input = ast.MustParseTerm(*c.InputTerm)
	case c.Input != nil:
		input = ast.NewTerm(ast.MustInterfaceToValue(*c.Input))
	}
	now := time.Now()
	value, err := p.evaluate(t.Context(), input, now, &deadline{start: now, limit: time.Minute})
	return agrees(c, match[2], value, err)
}

func agrees(c *cases.TestCase, name string, value ast.Value, err error) string {
	switch {
	case c.WantError != nil || c.WantErrorCode != nil:
		if err == nil || errors.Is(err, ErrUndefined) {
			return fmt.Sprintf("no error, but %v", value)
		}
		return ""
	case c.WantResult == nil:
		return "nothing is wanted"
	case len(*c.WantResult) == 0:
		if !errors.Is(err, ErrUndefined) {
			return fmt.Sprintf("%v (%v) instead of undefined", value, err)
		}
		return ""
	case err != nil:
		return "error: " + err.Error()
	}
	got, err := ast.JSON(value)
	if err != nil {
		return err.Error()
	}
	for _, want := range *c.WantResult {
		wanted := ast.MustInterfaceToValue(want[name])
		have := ast.MustInterfaceToValue(got)
		if c.SortBindings {
			wanted, have = asSet(wanted), asSet(have)
		}
		if ast.Compare(wanted, have) == 0 {
			return ""
		}
	}
	return fmt.Sprintf("%v instead of %v", got, *c.WantResult)
}

func asSet(value ast.Value) ast.Value {
	array, ok := value.(*ast.Array)
	if !ok {
		return value
	}
	set := ast.NewSet()
	array.Foreach(func(term *ast.Term) { set.Add(term) })
	return set
}

// TestOPAsOwnCases runs the cases that OPA tests its evaluators with through a policy's own path.
func TestOPAsOwnCases(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("2,400 policies take seconds")
	}
	used := map[string]bool{}
	agreed, others, faults := 0, 0, 0
	for _, c := range compliance(t) {
		said := judge(t, &c)
		listed := slices.IndexFunc(unlike, func(u struct{ note, reason string }) bool { return strings.HasPrefix(c.Note, u.note) })
		switch {
		case strings.HasPrefix(said, noDecision):
			others++
		case said == "":
			agreed++
		case listed >= 0 && strings.Contains(said+strings.Join(c.Modules, ""), unlike[listed].reason):
			used[unlike[listed].note] = true
		case strict(&c, said):
			faults++
		default:
			t.Errorf("%s: %s", c.Note, said)
		}
	}
	for _, u := range unlike {
		if !used[u.note] {
			t.Errorf("no case needs the exception %s any more", u.note)
		}
	}
	if agreed < 2200 {
		t.Errorf("only %d cases agree", agreed)
	}
	t.Logf("%d agree, %d with builtins that aren't allowed, %d fail strictly, %d are other queries", agreed, len(used), faults, others)
}
