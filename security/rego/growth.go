package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// maxGrowth bounds how many terms one value may be made of that a body builds of its own variables. OPA copies
// such a value, in one step that no deadline stops, every time it is used; and where two are compared, its type
// checker walks both. Variables that hold the same twice each double it: thirty lines are a thousand million terms.
const maxGrowth = 4096

// growthStage is a stage of the compiler that refuses modules whose values could grow beyond maxGrowth. By then
// references are resolved, calls stand alone, bodies are in the order of their evaluation, and nothing recurs.
func growthStage() ast.CompilerStageDefinition {
	return ast.CompilerStageDefinition{Name: "CheckGrowth", MetricName: "compile_stage_check_growth", Stage: func(c *ast.Compiler) *ast.Error {
		g := &growths{compiler: c, rules: map[*ast.Rule]*grown{}}
		for _, module := range c.Modules {
			for _, rule := range module.Rules {
				if at := g.of(rule).peak; at.exceeds() {
					return ast.NewError(ast.CompileErr, rule.Location,
						"%s builds a value of more than %d terms out of its own variables, or copies an argument as often: have it refer to fewer of them", rule.Head.Ref(), maxGrowth)
				}
			}
		}
		return nil
	}}
}

// size is how many terms a value is made of: the first element, and for each parameter of the function that it is
// computed in, how often that is part of it.
type size []int

// one is the size of what is used as it is, however large: a constant, a part of the input.
var one = size{1}

func (s size) at(i int) int {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// plus returns s + n × other, no further than what exceeds by far.
func (s size) plus(n int, other size) size {
	const most = 1 << 24
	sum := make(size, max(len(s), len(other)))
	for i := range sum {
		sum[i] = min(most, s.at(i)+min(n, most)*other.at(i))
	}
	return sum
}

func (s size) or(other size) size {
	larger := make(size, max(len(s), len(other)))
	for i := range larger {
		larger[i] = max(s.at(i), other.at(i))
	}
	return larger
}

func (s size) exceeds() bool {
	for _, n := range s {
		if n > maxGrowth {
			return true
		}
	}
	return false
}

// of is the size where a function with this result is called.
func (s size) of(arguments []size) size {
	out := size{s.at(0)}
	for i, argument := range arguments {
		out = out.plus(s.at(i+1), argument)
	}
	return out
}

// grown is what is known of a rule: its value, and the largest on the way to it.
type grown struct{ value, peak size }

type growths struct {
	compiler *ast.Compiler
	rules    map[*ast.Rule]*grown
}

// of computes a rule with its else branches, once.
func (g *growths) of(rule *ast.Rule) *grown {
	if known := g.rules[rule]; known != nil {
		return known
	}
	out := &grown{value: one, peak: one}
	g.rules[rule] = out
	for branch := rule; branch != nil; branch = branch.Else {
		b := &body{growths: g, vars: map[ast.Var]size{}, peak: one}
		for i, argument := range branch.Head.Args {
			unit := make(size, i+2)
			unit[i+1] = 1
			b.bind(argument, unit)
		}
		b.run(branch.Body)
		value := one
		for _, term := range []*ast.Term{branch.Head.Key, branch.Head.Value} {
			if term != nil {
				value = value.or(b.size(term))
			}
		}
		out.value, out.peak = out.value.or(value), out.peak.or(b.peak)
	}
	return out
}

// named joins the rules that a reference may lead to.
func (g *growths) named(ref ast.Ref) *grown {
	out := &grown{value: one, peak: one}
	for _, rule := range g.compiler.GetRules(ref.ConstantPrefix()) {
		next := g.of(rule)
		out.value, out.peak = out.value.or(next.value), out.peak.or(next.peak)
	}
	return out
}

// body is the evaluation of one.
type body struct {
	*growths

	vars map[ast.Var]size
	peak size
}

func (b *body) run(expressions ast.Body) {
	for _, e := range expressions {
		for _, with := range e.With {
			b.replace(with)
		}
		switch terms := e.Terms.(type) {
		case *ast.Term:
			b.size(terms)
		case *ast.Every:
			domain := b.size(terms.Domain)
			if terms.Key != nil {
				b.bind(terms.Key, one)
			}
			b.bind(terms.Value, domain)
			b.run(terms.Body)
		case []*ast.Term:
			b.call(e, terms)
		}
	}
}

func (b *body) call(e *ast.Expr, terms []*ast.Term) {
	if e.IsEquality() && len(terms) == 3 {
		left, right := b.size(terms[1]), b.size(terms[2])
		b.bind(terms[1], right)
		b.bind(terms[2], left)
		return
	}
	arguments := make([]size, 0, len(terms)-1)
	for _, term := range terms[1:] {
		arguments = append(arguments, b.size(term))
	}
	ref, ok := terms[0].Value.(ast.Ref)
	if !ok || !ref.HasPrefix(ast.DefaultRootRef) {
		b.bind(terms[len(terms)-1], builtin(terms[0], arguments))
		return
	}
	called := b.named(ref)
	result := called.value.of(arguments)
	b.peak = b.peak.or(result).or(called.peak.of(arguments))
	b.bind(terms[len(terms)-1], result)
}

// builtin is the size of a result: its arguments may be parts of it, unless it is scalar.
func builtin(operator *ast.Term, arguments []size) size {
	if b := ast.BuiltinMap[operator.Value.String()]; b != nil {
		switch b.Decl.Result().(type) {
		case types.Boolean, types.Number, types.String, types.Null:
			return one
		}
	}
	s := one
	for _, argument := range arguments {
		s = s.plus(1, argument)
	}
	return s
}

// replace sees a function that takes another's place where an expression is evaluated: the calls there count as
// those of the other, so what it makes of its arguments is part of each value from then on.
func (b *body) replace(with *ast.With) {
	b.size(with.Value)
	ref, ok := with.Value.Value.(ast.Ref)
	if !ok || !ref.HasPrefix(ast.DefaultRootRef) {
		return
	}
	for _, rule := range b.compiler.GetRules(ref.ConstantPrefix()) {
		copies := 0
		for _, n := range b.of(rule).value[1:] {
			copies += n
		}
		if len(rule.Head.Args) > 0 && copies > 1 {
			b.peak = b.peak.or(size{maxGrowth + 1})
		}
	}
}

// bind gives the variables of a term that have no value yet that of what it is unified with, of which they are parts.
func (b *body) bind(term *ast.Term, s size) {
	if s.exceeds() {
		b.peak = b.peak.or(s)
	}
	ast.WalkVars(term, func(v ast.Var) bool {
		if _, known := b.vars[v]; !known {
			b.vars[v] = s
		}
		return false
	})
}

// size of a term.
func (b *body) size(term *ast.Term) size {
	s := one
	switch value := term.Value.(type) {
	case ast.Var:
		if known, ok := b.vars[value]; ok {
			s = known
		}
	case ast.Ref:
		s = b.reference(value)
	case *ast.Array:
		value.Foreach(func(t *ast.Term) { s = s.plus(1, b.part(t)) })
	case ast.Set:
		value.Foreach(func(t *ast.Term) { s = s.plus(1, b.part(t)) })
	case ast.Object:
		value.Foreach(func(k, v *ast.Term) { s = s.plus(1, b.part(k)).plus(1, b.part(v)) })
	case *ast.ArrayComprehension:
		b.run(value.Body)
		s = s.plus(1, b.size(value.Term))
	case *ast.SetComprehension:
		b.run(value.Body)
		s = s.plus(1, b.size(value.Term))
	case *ast.ObjectComprehension:
		b.run(value.Body)
		s = s.plus(1, b.size(value.Key)).plus(1, b.size(value.Value))
	}
	b.peak = b.peak.or(s)
	return s
}

// part leaves out what is constant: it is shared, never copied.
func (b *body) part(term *ast.Term) size {
	switch term.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
		return nil
	}
	return b.size(term)
}

func (b *body) reference(ref ast.Ref) size {
	for _, term := range ref[1:] {
		b.size(term)
	}
	if head, ok := ref[0].Value.(ast.Var); ok && ref.HasPrefix(ast.DefaultRootRef) {
		return b.named(ref).value
	} else if ok {
		if known, found := b.vars[head]; found {
			return known
		}
		return one
	}
	return b.size(ref[0])
}
