package rules

import (
	"errors"
	"fmt"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// maxReplacement is in bytes: every byte of a text may become one.
const maxReplacement = 16

// bounds refuses, before any request, what makes or compares large values in one step (S43). The cost of such a step is
// known only after it, and no deadline ends it: ten levels of '%s%s…'.format([x, x, …]) make gigabytes of a path.
type bounds struct {
	ast *celast.AST
	// small are the variables of comprehensions at hand, by whether they stand for parts of the request.
	small map[string]bool
}

func checkBounds(ast *celast.AST) error {
	b := bounds{ast: ast, small: map[string]bool{}}
	return b.check(ast.Expr())
}

func (b *bounds) check(e celast.Expr) error {
	if e.Kind() == celast.ComprehensionKind {
		return b.comprehension(e.AsComprehension())
	}
	for _, part := range parts(e) {
		if err := b.check(part); err != nil {
			return err
		}
	}
	if e.Kind() == celast.CallKind {
		return b.call(e)
	}
	return nil
}

// parts are the expressions directly below another one.
func parts(e celast.Expr) (all []celast.Expr) {
	switch e.Kind() {
	case celast.CallKind:
		call := e.AsCall()
		if all = append(all, call.Args()...); call.IsMemberFunction() {
			all = append(all, call.Target())
		}
	case celast.ListKind:
		all = e.AsList().Elements()
	case celast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			all = append(all, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
	case celast.SelectKind:
		all = append(all, e.AsSelect().Operand())
	case celast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			all = append(all, field.AsStructField().Value())
		}
	}
	return all
}

func (b *bounds) comprehension(c celast.ComprehensionExpr) error {
	if err := b.check(c.IterRange()); err != nil {
		return err
	}
	outer, outer2 := b.small[c.IterVar()], b.small[c.IterVar2()]
	b.small[c.IterVar()] = b.isPart(c.IterRange())
	b.small[c.IterVar2()] = b.small[c.IterVar()]
	defer func() { b.small[c.IterVar()], b.small[c.IterVar2()] = outer, outer2 }()
	for _, part := range []celast.Expr{c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
		if err := b.check(part); err != nil {
			return err
		}
	}
	return nil
}

func (b *bounds) call(e celast.Expr) error {
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case "format", "join":
		return fmt.Errorf("%s can make a text of any size; compare the parts by themselves", call.FunctionName())
	case "replace":
		if with := args[1]; with.Kind() != celast.LiteralKind || len(fmt.Sprint(with.AsLiteral().Value())) > maxReplacement {
			return fmt.Errorf("replace can make a text of any size; replace by a constant of at most %d bytes", maxReplacement)
		}
	case operators.Add:
		// map and filter add to a list of their own.
		if own := args[0].Kind() == celast.IdentKind && args[0].AsIdent() == "@result"; !own && !scalar(b.ast.GetType(e.ID())) {
			return errors.New("+ of lists, or of parts whose type isn't known, can make a list of any size; write string(…) or int(…) around the parts")
		}
	case operators.Equals, operators.NotEquals, operators.In:
		if !b.isSmall(args[0]) && !b.isSmall(args[1]) {
			return errors.New("neither side of a comparison has a known size; compare with a text, a number or an attribute, or write string(…) around one side")
		}
	}
	return nil
}

// isSmall reports whether a value is no larger than the request or the expression.
func (b *bounds) isSmall(e celast.Expr) bool {
	composed := e.Kind() == celast.ListKind || e.Kind() == celast.MapKind || isCall(e, operators.Conditional)
	if !composed || flat(b.ast.GetType(e.ID())) {
		return b.isPart(e)
	}
	for _, part := range parts(e) {
		if !b.isSmall(part) {
			return false
		}
	}
	return true
}

// isPart reports whether a value is a part of the request, or a constant. One that is composed of others isn't: to
// compose what is composed, again and again, doubles it each time.
func (b *bounds) isPart(e celast.Expr) bool {
	switch {
	case flat(b.ast.GetType(e.ID())), e.Kind() == celast.LiteralKind:
		return true
	case e.Kind() == celast.IdentKind:
		small, bound := b.small[e.AsIdent()]
		return small || !bound
	case e.Kind() == celast.SelectKind:
		return b.isPart(e.AsSelect().Operand())
	}
	return isCall(e, operators.Index) && b.isPart(e.AsCall().Args()[0])
}

func isCall(e celast.Expr, function string) bool {
	return e.Kind() == celast.CallKind && e.AsCall().FunctionName() == function
}

// flat types are scalars, and lists and maps of them.
func flat(t *types.Type) bool {
	switch t.Kind() {
	case types.ListKind, types.MapKind:
		for _, p := range t.Parameters() {
			if !scalar(p) {
				return false
			}
		}
		return len(t.Parameters()) > 0
	}
	return scalar(t)
}

func scalar(t *types.Type) bool {
	switch t.Kind() {
	case types.BoolKind, types.BytesKind, types.DoubleKind, types.DurationKind, types.IntKind, types.NullTypeKind, types.StringKind, types.TimestampKind, types.UintKind:
		return true
	}
	return false
}
