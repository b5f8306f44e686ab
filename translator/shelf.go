package translator

import (
	"cmp"
	"maps"
	"slices"
)

// shelf keeps what routes need, sorted by name, each for as long as one of them needs it.
type shelf[T any] struct {
	name    func(T) string
	held    map[string]*holding[T]
	touched map[string]bool // since the last call of all
	sorted  []T             // never changed once it was returned
}

type holding[T any] struct {
	item  T
	count int
}

func newShelf[T any](name func(T) string) *shelf[T] {
	return &shelf[T]{name: name, held: map[string]*holding[T]{}, touched: map[string]bool{}}
}

// put counts one more that needs an item. Items of one name are equal, but for an older one that those who
// need it are about to replace.
func (s *shelf[T]) put(item T) {
	name := s.name(item)
	s.touched[name] = true
	h := s.held[name]
	if h == nil {
		h = &holding[T]{}
		s.held[name] = h
	}
	h.item = item
	h.count++
}

// drop counts one less.
func (s *shelf[T]) drop(name string) {
	s.touched[name] = true
	if h := s.held[name]; h.count > 1 {
		h.count--
		return
	}
	delete(s.held, name)
}

// all returns the items by name, the same slice for as long as nothing changes.
func (s *shelf[T]) all() []T {
	if len(s.touched) == 0 {
		return s.sorted
	}
	out := make([]T, 0, len(s.held))
	rest := s.sorted
	for _, name := range slices.Sorted(maps.Keys(s.touched)) {
		at, known := slices.BinarySearchFunc(rest, name, func(item T, name string) int { return cmp.Compare(s.name(item), name) })
		out, rest = append(out, rest[:at]...), rest[at:]
		if known {
			rest = rest[1:]
		}
		if h := s.held[name]; h != nil {
			out = append(out, h.item)
		}
	}
	if out = append(out, rest...); len(out) == 0 {
		out = nil // as if nothing had ever been there
	}
	s.sorted = out
	clear(s.touched)
	return s.sorted
}
