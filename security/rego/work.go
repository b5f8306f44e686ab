package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// comparing are the builtins that hold each part of their first operand against each of the second, in one step that no
// deadline ends. The limits are of pairs, by what one costs: about a second's work at most.
var comparing = map[string]int{
	"net.cidr_contains_matches": 1 << 18,
	"object.subset":             maxProduct,
	"indexof":                   1 << 28, "indexof_n": 1 << 28,
	"trim": 1 << 28, "trim_left": 1 << 28, "trim_right": 1 << 28,
}

const (
	reachablePaths = "graph.reachable_paths"
	// maxSteps is how many edges the paths of a graph may have together: a graph of thirty vertices can have more
	// paths than anybody will ever count.
	maxSteps = 1 << 20
)

// endless reports whether a builtin would work for longer than anybody waits, before it begins.
func endless(name string, operands []*ast.Term) bool {
	if name == reachablePaths {
		return manyPaths(operands)
	}
	pairs, found := comparing[name]
	return found && extent(operands, 0)*extent(operands, 1) > pairs
}

// extent is the length of a text or the number of a collection's elements.
func extent(operands []*ast.Term, i int) int {
	return max(len(text(operands, i)), count(operands, i), 1)
}

// manyPaths walks the graph as the builtin does, without keeping anything, until it has gone too far.
func manyPaths(operands []*ast.Term) bool {
	if len(operands) < 2 {
		return false
	}
	graph, ok := operands[0].Value.(ast.Object)
	if !ok {
		return false
	}
	w := walk{graph: graph, left: maxSteps}
	vertices(operands[1], func(from *ast.Term) bool { return w.from(from, nil) })
	return w.left < 0
}

type walk struct {
	graph ast.Object
	left  int
}

// from follows all paths that begin with path and go on to a vertex. A step costs as much as the path is long, for
// the builtin copies it. It is false once there were too many.
func (w *walk) from(vertex *ast.Term, path []*ast.Term) bool {
	if w.left -= 1 + len(path); w.left < 0 {
		return false
	}
	edges := w.graph.Get(vertex)
	for _, before := range path {
		if before.Equal(vertex) {
			return true
		}
	}
	if edges == nil {
		return true
	}
	longer := append(slices.Clone(path), vertex)
	return vertices(edges, func(next *ast.Term) bool { return w.from(next, longer) })
}

// vertices calls yield for each element of a list or set until it returns false.
func vertices(of *ast.Term, yield func(*ast.Term) bool) bool {
	more := true
	each := func(vertex *ast.Term) {
		if more {
			more = yield(vertex)
		}
	}
	switch of := of.Value.(type) {
	case *ast.Array:
		of.Foreach(each)
	case ast.Set:
		of.Foreach(each)
	}
	return more
}
