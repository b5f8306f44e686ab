package snapshot

import (
	"cmp"
	"reflect"
)

// PolicyChanges calls yield for every policy that is new (old is nil), gone (now is nil) or another, in the
// order of references. Slices are sorted as in a [Snapshot]. A policy that is the same in both costs a
// comparison of pointers.
func PolicyChanges(old, now []Policy, yield func(old, now *Policy)) {
	changes(old, now, func(a, b *Policy) int { return cmp.Compare(a.Ref, b.Ref) }, func(a, b *Policy) bool {
		return a.Spec == b.Spec && a.Seal == b.Seal && reflect.ValueOf(a.Data).Pointer() == reflect.ValueOf(b.Data).Pointer()
	}, yield)
}

// ResourceChanges does so for resources of one type, by name and version.
func ResourceChanges(old, now []Resource, yield func(old, now *Resource)) {
	changes(old, now, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) }, func(a, b *Resource) bool {
		return a.Version == b.Version
	}, yield)
}

func changes[T any](old, now []T, compare func(a, b *T) int, same func(a, b *T) bool, yield func(old, now *T)) {
	if len(old) == len(now) && (len(now) == 0 || &old[0] == &now[0]) {
		return
	}
	for len(old) > 0 || len(now) > 0 {
		order := -1 // old's is first
		switch {
		case len(old) == 0:
			order = 1
		case len(now) > 0:
			order = compare(&old[0], &now[0])
		}
		switch {
		case order < 0:
			yield(&old[0], nil)
			old = old[1:]
		case order > 0:
			yield(nil, &now[0])
			now = now[1:]
		default:
			if !same(&old[0], &now[0]) {
				yield(&old[0], &now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
}
