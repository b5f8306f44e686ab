package gatewayapi

import (
	"cmp"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// List is an index entry. It is never changed: another content is another List, and an equal one the same
// pointer, so that a rule that reads one isn't run again for nothing.
type List[T any] struct{ Items []T }

// with returns the list with an item in its place. A nil List is empty.
func (l *List[T]) with(item T, compare func(a, b T) int) *List[T] {
	if l == nil {
		return &List[T]{Items: []T{item}}
	}
	at, _ := slices.BinarySearchFunc(l.Items, item, compare)
	return &List[T]{Items: slices.Insert(slices.Clone(l.Items), at, item)}
}

// without returns the list without an item, nil if no other is left.
func (l *List[T]) without(item T, compare func(a, b T) int) *List[T] {
	at, _ := slices.BinarySearchFunc(l.Items, item, compare)
	if len(l.Items) == 1 {
		return nil
	}
	return &List[T]{Items: slices.Delete(slices.Clone(l.Items), at, at+1)}
}

// put stores a list, or forgets it if it is nil.
func put[T any](lists map[memo.Key]*List[T], key memo.Key, list *List[T]) {
	if list == nil {
		delete(lists, key)
		return
	}
	lists[key] = list
}

// index lists objects by what they belong to, in an order in which no two are equal.
type index[T resource.Object] struct {
	lists   map[memo.Key]*List[T]
	compare func(a, b T) int
	owner   func(T) memo.Key
}

func newIndex[T resource.Object](compare func(a, b T) int, owner func(T) memo.Key) *index[T] {
	return &index[T]{lists: map[memo.Key]*List[T]{}, compare: compare, owner: owner}
}

// update takes what has changed in a table, and notes the lists that are others now.
func (x *index[T]) update(now, old resource.Table[T], note func(memo.Key)) {
	now.Changed(old, func(namespace, name string) {
		if object, ok := old.Get(namespace, name); ok {
			key := x.owner(object)
			put(x.lists, key, x.lists[key].without(object, x.compare))
			note(key)
		}
		if object, ok := now.Get(namespace, name); ok {
			key := x.owner(object)
			put(x.lists, key, x.lists[key].with(object, x.compare))
			note(key)
		}
	})
}

func byName[T resource.Object](a, b T) int {
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

// byAge sorts as conflicts are decided: the older first, then the lesser by namespace and name (Gateway
// API, "conflict resolution").
func byAge[T resource.Object](a, b T) int {
	return cmp.Or(a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time), byName(a, b))
}
