package resource

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Object is any Kubernetes object.
type Object interface{ metav1.Object }

// Table holds the objects of one kind. The zero Table is empty. Immutable; any number of goroutines may
// read it.
type Table[T Object] struct {
	sorted []T // by namespace, then name
}

// newTable takes the slice over. Names are unique in it.
func newTable[T Object](objects []T) Table[T] {
	slices.SortFunc(objects, func(a, b T) int {
		return compareName(a, b.GetNamespace(), b.GetName())
	})
	return Table[T]{sorted: objects}
}

func compareName[T Object](object T, namespace, name string) int {
	return cmp.Or(cmp.Compare(object.GetNamespace(), namespace), cmp.Compare(object.GetName(), name))
}

// Get returns the object of that name. The namespace is "" for cluster-scoped kinds.
func (t Table[T]) Get(namespace, name string) (T, bool) {
	at, found := slices.BinarySearchFunc(t.sorted, name, func(object T, name string) int {
		return compareName(object, namespace, name)
	})
	if !found {
		var none T
		return none, false
	}
	return t.sorted[at], true
}

// All returns every object, sorted by namespace and name. The slice is the caller's own.
func (t Table[T]) All() []T { return slices.Clone(t.sorted) }

// Namespace returns the objects of one namespace, sorted by name. The slice is the caller's own.
func (t Table[T]) Namespace(namespace string) []T {
	from, _ := slices.BinarySearchFunc(t.sorted, namespace, func(object T, namespace string) int {
		return cmp.Compare(object.GetNamespace(), namespace)
	})
	to := from
	for to < len(t.sorted) && t.sorted[to].GetNamespace() == namespace {
		to++
	}
	return slices.Clone(t.sorted[from:to])
}

// Len returns the number of objects.
func (t Table[T]) Len() int { return len(t.sorted) }

// Changed calls yield with the name of every object that is new, gone or another pointer than in the
// previous Table. Unchanged Tables cost a comparison of pointers for each object.
func (t Table[T]) Changed(previous Table[T], yield func(namespace, name string)) {
	old, now := previous.sorted, t.sorted
	for len(old) > 0 || len(now) > 0 {
		var order int
		switch {
		case len(old) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		case Object(old[0]) == Object(now[0]):
			old, now = old[1:], now[1:]
			continue
		default:
			order = compareName(old[0], now[0].GetNamespace(), now[0].GetName())
		}
		if order <= 0 {
			yield(old[0].GetNamespace(), old[0].GetName())
			old = old[1:]
		}
		if order >= 0 {
			if order > 0 {
				yield(now[0].GetNamespace(), now[0].GetName())
			}
			now = now[1:]
		}
	}
}
