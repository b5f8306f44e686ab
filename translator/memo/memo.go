// Package memo is a small incremental evaluator. A value is derived from other values by a rule, which
// reads them through a [View]; the reads are recorded. In the next [Graph] a derived value is reused,
// by identity, when everything that was read for it is identical. So an edit costs what depends on it,
// and a rule can't forget to declare a dependency.
package memo

// Key names a value: an object of the input, a list of an index, or something derived.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Kind says which leaf table or rule a Key belongs to.
type Kind string

// Rule derives the value of a key. It must be a pure function of what it reads through v, and should
// return a pointer: values are compared with ==.
type Rule func(v *View, key Key) any

// Graph holds the values of one input. It is used by one goroutine.
type Graph struct {
	leaf   func(Key) any
	moved  func(Key) bool
	rules  map[Kind]Rule
	prev   map[Key]*entry
	memo   map[Key]*entry
	reused int
}

type entry struct {
	value any
	reads []read
}

type read struct {
	key Key
	got any
}

// New returns a graph over leaf, which answers for every kind without a rule and returns nil for what
// doesn't exist. Values of prev, which may be nil, are reused where they still hold; prev itself is not
// kept. moved reports whether a leaf may be another than in prev; nil has every leaf compared.
func New(prev *Graph, leaf func(Key) any, moved func(Key) bool, rules map[Kind]Rule) *Graph {
	g := &Graph{leaf: leaf, moved: moved, rules: rules, memo: map[Key]*entry{}}
	if prev != nil {
		g.prev = prev.memo
	}
	return g
}

// Get returns the value of key.
func (g *Graph) Get(key Key) any {
	rule, derived := g.rules[key.Kind]
	if !derived {
		return g.leaf(key)
	}
	if e, ok := g.memo[key]; ok {
		return e.value
	}
	if old, ok := g.prev[key]; ok && g.holds(old) {
		g.memo[key] = old
		g.reused++
		return old.value
	}
	view := &View{graph: g}
	e := &entry{value: rule(view, key), reads: view.reads}
	g.memo[key] = e
	return e.value
}

// Done releases the previous graph's values; call it when the graph is complete.
func (g *Graph) Done() { g.prev = nil }

// Reused returns how many derived values were taken over from the previous graph.
func (g *Graph) Reused() int { return g.reused }

func (g *Graph) holds(e *entry) bool {
	for _, r := range e.reads {
		if g.moved != nil && g.rules[r.key.Kind] == nil && !g.moved(r.key) {
			continue
		}
		if g.Get(r.key) != r.got {
			return false
		}
	}
	return true
}

// View is a rule's way to read.
type View struct {
	graph *Graph
	reads []read
}

// Value is Get with a type: the zero T where there is no such value.
func Value[T any](g *Graph, key Key) T {
	value, _ := g.Get(key).(T)
	return value
}

// Get returns the value of key and records that it was read.
func (v *View) Get(key Key) any {
	got := v.graph.Get(key)
	v.reads = append(v.reads, read{key, got})
	return got
}

// Read is Get with a type: the zero T where there is no such value.
func Read[T any](v *View, key Key) T {
	value, _ := v.Get(key).(T)
	return value
}
