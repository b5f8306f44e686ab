package rego

import "github.com/open-policy-agent/opa/v1/ast"

// reads is the tree of input parts that modules mention. A nil *reads is a part nobody reads; one that
// is all stands for everything below it.
type reads struct {
	name  *ast.Term // as a key of the input
	all   bool
	parts map[string]*reads
}

// part returns what is read below a name, nil for nothing.
func (r *reads) part(name string) *reads {
	switch {
	case r == nil:
		return nil
	case r.all:
		return r
	}
	return r.parts[name]
}

// key is the term of a name: made once for those that modules mention, which are nearly all there are.
func (r *reads) key(name string) *ast.Term {
	if part := r.parts[name]; part != nil {
		return part.name
	}
	return ast.InternedTerm(name)
}

// path is part of part.
func (r *reads) path(names ...string) *reads {
	for _, name := range names {
		r = r.part(name)
	}
	return r
}

// readsOf collects the references to input after compilation, when imports and aliases are resolved. A
// reference counts up to its first part that isn't constant; what follows may be anything. A bare
// input, as in `f(input)`, is everything.
func readsOf(c *ast.Compiler) *reads {
	root := &reads{}
	for _, module := range c.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			if ref.HasPrefix(ast.InputRootRef) {
				root.add(ref.ConstantPrefix()[1:])
			}
			return false // dynamic parts hold references of their own
		})
	}
	return root
}

func (r *reads) add(path ast.Ref) {
	for _, term := range path {
		name, ok := term.Value.(ast.String)
		if r.all {
			return
		}
		if !ok {
			break
		}
		if r.parts == nil {
			r.parts = map[string]*reads{}
		}
		if r.parts[string(name)] == nil {
			r.parts[string(name)] = &reads{name: ast.StringTerm(string(name))}
		}
		r = r.parts[string(name)]
	}
	r.all, r.parts = true, nil
}

// mentions reports whether the modules name the part itself or something below it, not merely a whole
// of which it is a piece.
func (r *reads) mentions(names ...string) bool {
	for _, name := range names {
		if r == nil || r.all {
			return false
		}
		r = r.parts[name]
	}
	return r != nil
}
