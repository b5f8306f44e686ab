package body

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Edit is what [RewriteJSON] does to one value. It is made by [ReplaceJSON], [MapJSON] or [RemoveJSON].
type Edit struct {
	pointer string
	wild    bool
	remove  bool
	value   []byte
	limit   int
	fn      func(value []byte) ([]byte, error)
}

// ReplaceJSON puts value, which is JSON, in the place of the value at an RFC 6901 pointer such as
// "/users/0/e-mail". The former value may be of any size.
func ReplaceJSON(pointer string, value []byte) Edit {
	return Edit{pointer: pointer, value: slices.Clone(value)}
}

// MapJSON replaces the value at an RFC 6901 pointer by what fn makes of it, which must be JSON. value is
// as it stood, with its white space, and valid until fn returns. A value above limit bytes (0 is
// DefaultItem) is [exchange.ErrTooLarge], and fn's error is the body's. fn is called concurrently for
// different bodies.
func MapJSON(pointer string, limit int, fn func(value []byte) ([]byte, error)) Edit {
	if limit <= 0 {
		limit = DefaultItem
	}
	return Edit{pointer: pointer, limit: limit, fn: fn}
}

// RemoveJSON removes the member or the element at an RFC 6901 pointer. The elements after it move up, and
// pointers of other edits are to the places of before.
func RemoveJSON(pointer string) Edit { return Edit{pointer: pointer, remove: true} }

// Wildcards has each token of the edit's pointer that is "*" stand for every member of an object and every
// element of an array, as in "/customers/*/iban". RFC 6901 has no such thing, there it is the name "*".
// Where an edit without wildcards has the same place, that one counts.
func (e Edit) Wildcards() Edit {
	e.wild = true
	return e
}

// node is a place that edits lie at or below.
type node struct {
	others   *node // for the names that have no child of their own; may be nil
	children map[string]*node
	elements map[int]*node // the children whose names are indexes
	longest  int           // of the children's names, in bytes
	edit     *Edit
	thins    bool // a child may be removed
}

// plant makes a tree of the edits' pointers.
func plant(edits []Edit) (*node, error) {
	root := &node{}
	for i := range edits {
		e := &edits[i]
		tokens, err := parsePointer(e.pointer)
		if err != nil {
			return nil, err
		}
		if e.fn == nil && !e.remove && !json.Valid(e.value) {
			return nil, fmt.Errorf("pointer %q: the value to put there is no JSON", e.pointer)
		}
		at := root
		for _, token := range tokens {
			if e.wild && token == "*" {
				at = at.other()
			} else {
				at = at.child(token)
			}
		}
		if at.edit != nil {
			return nil, fmt.Errorf("pointer %q is edited twice", e.pointer)
		}
		at.edit = e
	}
	if root.removes() {
		return nil, errRoot
	}
	root.spread()
	return root, root.check("")
}

func (n *node) child(token string) *node {
	if n.children[token] == nil {
		n.put(token, &node{})
	}
	return n.children[token]
}

func (n *node) put(token string, child *node) {
	if n.children == nil {
		n.children, n.elements = map[string]*node{}, map[int]*node{}
	}
	n.children[token] = child
	n.longest = max(n.longest, len(token))
	// Tokens like "01" and "-" name no element of an array (RFC 6901 section 4).
	if i, err := strconv.Atoi(token); err == nil && i >= 0 && strconv.Itoa(i) == token {
		n.elements[i] = child
	}
}

func (n *node) other() *node {
	if n.others == nil {
		n.others = &node{}
	}
	return n.others
}

// spread adds what lies below a wildcard to the children beside it, so that one look-up finds all.
func (n *node) spread() {
	if n.others != nil {
		for token, child := range n.children {
			n.put(token, merge(child, n.others))
		}
		n.others.spread()
	}
	for _, child := range n.children {
		child.spread()
	}
}

// merge is a node with what lies at and below both; a's edit counts.
func merge(a, b *node) *node {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	both := &node{edit: cmp.Or(a.edit, b.edit), others: merge(a.others, b.others)}
	for token, child := range a.children {
		both.put(token, child)
	}
	for token, child := range b.children {
		both.put(token, merge(both.children[token], child))
	}
	return both
}

func (n *node) removes() bool { return n.edit != nil && n.edit.remove }

// check refuses edits within values that are edited, and notes where something may be removed.
func (n *node) check(at string) error {
	if n.edit != nil && (n.children != nil || n.others != nil) {
		return fmt.Errorf("pointer %q is edited, and values within it are too", at)
	}
	if n.others != nil {
		n.thins = n.others.removes()
		if err := n.others.check(at + "/*"); err != nil {
			return err
		}
	}
	for name, child := range n.children {
		n.thins = n.thins || child.removes()
		if err := child.check(at + "/" + name); err != nil {
			return err
		}
	}
	return nil
}

// element is the child for an index of an array. n may be nil.
func (n *node) element(index int) *node {
	if n == nil {
		return nil
	}
	if child := n.elements[index]; child != nil {
		return child
	}
	return n.others
}

// member is the child for a name of an object.
func (n *node) member(name []byte) *node {
	if child := n.children[string(name)]; child != nil {
		return child
	}
	return n.others
}

// parsePointer splits a pointer (RFC 6901 section 3); "" is the whole document.
func parsePointer(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, fmt.Errorf("pointer %q doesn't begin with a slash", pointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		unescaped, err := unescape(token)
		if err != nil {
			return nil, fmt.Errorf("pointer %q: %w", pointer, err)
		}
		tokens[i] = unescaped
	}
	return tokens, nil
}

func unescape(token string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '~' {
			i++
			switch {
			case i < len(token) && token[i] == '0':
			case i < len(token) && token[i] == '1':
				c = '/'
			default:
				return "", errors.New("a tilde stands for itself as ~0, and for a slash as ~1")
			}
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
