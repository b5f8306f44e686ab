package body

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Edit is what [RewriteJSON] does to one value. It is made by [ReplaceJSON] or [MapJSON].
type Edit struct {
	pointer string
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

// node is a place that edits lie at or below.
type node struct {
	children map[string]*node
	elements map[int]*node // the children whose names are indexes
	longest  int           // of the children's names, in bytes
	edit     *Edit
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
		if e.fn == nil && !json.Valid(e.value) {
			return nil, fmt.Errorf("pointer %q: the value to put there is no JSON", e.pointer)
		}
		at := root
		for _, token := range tokens {
			at = at.child(token)
		}
		if at.edit != nil {
			return nil, fmt.Errorf("pointer %q is edited twice", e.pointer)
		}
		at.edit = e
	}
	return root, root.check("")
}

func (n *node) child(token string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if n.children[token] == nil {
		made := &node{}
		n.children[token] = made
		n.longest = max(n.longest, len(token))
		// Tokens like "01" and "-" name no element of an array (RFC 6901 section 4).
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && strconv.Itoa(i) == token {
			if n.elements == nil {
				n.elements = map[int]*node{}
			}
			n.elements[i] = made
		}
	}
	return n.children[token]
}

// check refuses edits within values that are replaced.
func (n *node) check(at string) error {
	if n.edit != nil && n.children != nil {
		return fmt.Errorf("pointer %q is edited, and values within it are too", at)
	}
	for name, child := range n.children {
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
	return n.elements[index]
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
