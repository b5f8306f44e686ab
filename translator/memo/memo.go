// Package memo is a small incremental evaluator. A value is derived from other values by a rule, which
// reads them through a [View]; the reads are recorded. When leaves change, [Graph.Update] walks from them
// to what was derived from them and to nothing else. So an edit costs what depends on it, however much
// else there is, and a rule can't forget to declare a dependency.
package memo

import "slices"

// Key names a value: an object of the input, a list of an index, or something derived.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Kind says which leaf table or rule a Key belongs to.
type Kind string

// Rule derives the value of a key. It must be a pure function of what it reads through v. Its result is
// compared with ==: a rule that returns a pointer counts as changed whenever it has run, one that returns
// a plain value only if that differs.
type Rule func(v *View, key Key) any

// Graph holds the derived values of one state of the leaves. It is used by one goroutine.
type Graph struct {
	leaf  func(Key) any
	rules map[Kind]Rule
	nodes map[Key]*node
	kept  int
	ran   int
	mark  uint64
}

// node is a leaf that was read, or a derived value. It exists while somebody reads or keeps it.
type node struct {
	key     Key
	rule    Rule // nil: a leaf
	value   any
	stale   bool // not derived yet, or something that was read for it may have changed
	kept    bool // asked for by Graph.Get
	reads   []read
	readers []*node // exactly those that have it among their reads
	pins    int     // reads by rules that are still running
	mark    uint64  // scratch of rewire
}

type read struct {
	node *node
	got  any
}

// New returns a graph over leaf, which answers for every kind without a rule and returns nil for what
// doesn't exist.
func New(leaf func(Key) any, rules map[Kind]Rule) *Graph {
	return &Graph{leaf: leaf, rules: rules, nodes: map[Key]*node{}}
}

// Get returns the value of key, and keeps it up to date until [Graph.Drop].
func (g *Graph) Get(key Key) any {
	n := g.node(key)
	if !n.kept && n.rule != nil {
		n.kept = true
		g.kept++
	}
	return g.value(n)
}

// Value is Get with a type: the zero T where there is no such value.
func Value[T any](g *Graph, key Key) T {
	value, _ := g.Get(key).(T)
	return value
}

// Drop ends what Get began. Values that nothing else is derived from are forgotten.
func (g *Graph) Drop(key Key) {
	if n, ok := g.nodes[key]; ok && n.kept {
		n.kept = false
		g.kept--
		g.release(n)
	}
}

// Update takes note of leaves that may have changed, and returns the kept values that may be others now:
// ask for them again. leaf stays as it was given to [New] and must answer with the new state.
func (g *Graph) Update(moved []Key) []Key {
	var suspects []Key
	g.ran = 0
	for _, key := range moved {
		n, known := g.nodes[key]
		if !known || n.rule != nil {
			continue
		}
		if now := g.leaf(key); now != n.value {
			n.value = now
			suspects = suspect(n, suspects)
		}
	}
	return suspects
}

// suspect marks everything derived from n.
func suspect(n *node, kept []Key) []Key {
	for _, reader := range n.readers {
		if reader.stale {
			continue
		}
		reader.stale = true
		if reader.kept {
			kept = append(kept, reader.key)
		}
		kept = suspect(reader, kept)
	}
	return kept
}

// Kept returns how many derived values are kept.
func (g *Graph) Kept() int { return g.kept }

// Len returns how many values there are, leaves that were read among them.
func (g *Graph) Len() int { return len(g.nodes) }

// Ran returns how many rules have run since the last Update.
func (g *Graph) Ran() int { return g.ran }

func (g *Graph) node(key Key) *node {
	n, known := g.nodes[key]
	if !known {
		n = &node{key: key, rule: g.rules[key.Kind]}
		if n.rule == nil {
			n.value = g.leaf(key)
		} else {
			n.stale = true
		}
		g.nodes[key] = n
	}
	return n
}

func (g *Graph) value(n *node) any {
	if n.stale && (n.reads == nil || !g.holds(n)) {
		g.derive(n)
	}
	n.stale = false
	return n.value
}

// holds reports whether everything that was read for n is what it was. Reads are looked at in their order:
// what an earlier one led to is not asked for once that has changed.
func (g *Graph) holds(n *node) bool {
	for _, r := range n.reads {
		if g.value(r.node) != r.got {
			return false
		}
	}
	return true
}

func (g *Graph) derive(n *node) {
	view := &View{graph: g}
	n.value = n.rule(view, n.key)
	g.ran++
	g.rewire(n, view.reads)
}

// rewire replaces the reads of n, each once, and tells those that were read.
func (g *Graph) rewire(n *node, reads []read) {
	g.mark += 2
	now, before := g.mark, g.mark+1
	for _, r := range reads {
		r.node.pins--
	}
	reads = slices.DeleteFunc(reads, func(r read) bool {
		again := r.node.mark == now
		r.node.mark = now
		return again
	})
	var gone []*node
	for _, r := range n.reads {
		if r.node.mark == now {
			r.node.mark = before
		} else {
			r.node.forget(n)
			gone = append(gone, r.node)
		}
	}
	for _, r := range reads {
		if r.node.mark == now {
			r.node.readers = append(r.node.readers, n)
		}
	}
	n.reads = slices.Clip(reads)
	for _, old := range gone {
		g.release(old)
	}
}

// forget removes a reader.
func (n *node) forget(reader *node) {
	at := slices.Index(n.readers, reader)
	last := len(n.readers) - 1
	n.readers[at] = n.readers[last]
	n.readers[last] = nil
	n.readers = n.readers[:last]
}

// release forgets a node that nobody reads or keeps, and what only it has read.
func (g *Graph) release(n *node) {
	if n.kept || n.pins > 0 || len(n.readers) > 0 || g.nodes[n.key] != n {
		return
	}
	delete(g.nodes, n.key)
	for _, r := range n.reads {
		r.node.forget(n)
		g.release(r.node)
	}
}

// View is a rule's way to read.
type View struct {
	graph *Graph
	reads []read
}

// Get returns the value of key and records that it was read.
func (v *View) Get(key Key) any {
	n := v.graph.node(key)
	n.pins++ // its last reader of before may let go of it while this rule runs
	got := v.graph.value(n)
	v.reads = append(v.reads, read{n, got})
	return got
}

// Read is Get with a type: the zero T where there is no such value.
func Read[T any](v *View, key Key) T {
	value, _ := v.Get(key).(T)
	return value
}
