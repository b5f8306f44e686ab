package rego

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// direct evaluates a decision whose rules all say true, by the bodies of those that OPA's index leaves: that
// spares the walk from data to the rule, and the collecting of values that can't differ, half of what a short
// rule costs. What it answers is what the whole query answers.
type direct struct {
	index ast.RuleIndex
}

// directOf returns nil for a decision that only the whole query answers. defined says that a document has the
// decision's path, too.
func directOf(compiler *ast.Compiler, decision ast.Ref, defined bool) *direct {
	node := compiler.RuleTree
	for _, name := range decision {
		// A rule further up has a variable for the names below it, and joins those of the decision.
		if node = node.Child(name.Value); node == nil || len(node.Values) > 0 && len(node.Children) > 0 {
			return nil
		}
	}
	if node.Index == nil || defined || draws(compiler) || slices.ContainsFunc(node.Values, differs) {
		return nil
	}
	return &direct{index: node.Index}
}

// draws reports whether the modules call what is remembered for a whole query, so that all of its rules see one
// result: topdown keeps nothing else.
func draws(compiler *ast.Compiler) bool {
	found := false
	for _, module := range compiler.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			found = found || slices.Contains(drawing, ref.String())
			return found
		})
	}
	return found
}

var drawing = []string{"rand.intn", "uuid.rfc4122"}

// differs reports whether a rule may say another thing than true, or than a constant by default.
func differs(rule *ast.Rule) bool {
	head := rule.Head
	if len(head.Args) > 0 || head.RuleKind() != ast.SingleValue || !head.Reference.IsGround() || rule.Else != nil {
		return true
	}
	said, ok := head.Value.Value.(ast.Boolean)
	return !ok || !rule.Default && !bool(said)
}

// inputOf resolves for the index what rules compare of the input. Of everything else it says that it doesn't
// know, and the index leaves the rule.
type inputOf struct{ input ast.Value }

// Resolve implements [ast.ValueResolver].
func (i inputOf) Resolve(ref ast.Ref) (ast.Value, error) {
	if !ref[0].Equal(ast.InputRootDocument) {
		return nil, ast.UnknownValueErr{}
	}
	value, err := i.input.Find(ref[1:])
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // undefined, as topdown's own resolver says it
	}
	return value, nil
}

var errFound = errors.New("one solution is enough")

// evaluate returns the decision, nil for undefined.
func (d *direct) evaluate(ctx context.Context, p *Policy, input *ast.Term, now time.Time, limit *deadline) (ast.Value, error) {
	rules, err := d.index.Lookup(inputOf{input.Value})
	defer ast.IndexResultPool.Put(rules)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules.Rules {
		err := p.topdown(rule.Body, input, now, limit).Iter(ctx, func(topdown.QueryResult) error { return errFound })
		if errors.Is(err, errFound) {
			return rule.Head.Value.Value, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if rules.Default != nil {
		return rules.Default.Head.Value.Value, nil
	}
	return nil, nil //nolint:nilnil // undefined
}
