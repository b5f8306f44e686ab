package fetch

import (
	"cmp"
	"slices"
)

// States asks every source for its state, sorted by name. The caller holds the lock of sources.
func States[K comparable, S, T any](sources map[K]S, state func(S) T, name func(T) string) []T {
	states := make([]T, 0, len(sources))
	for _, s := range sources {
		states = append(states, state(s))
	}
	slices.SortFunc(states, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return states
}
