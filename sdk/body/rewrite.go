package body

import (
	"encoding/json"
	"fmt"
	"io"
)

// RewriteJSON edits one JSON document (RFC 8259) as it passes. Everything else passes byte by byte as it
// came: white space, the order of members, numbers of any precision. Of a name that an object has twice
// both are edited, so that no reader sees the former value; names are compared with their escapes
// resolved. A pointer to what isn't there changes nothing.
//
// An empty body stays empty. Anything else but one document is [ErrSyntax]; so are values nested deeper than
// 1000. Strings that aren't UTF-8 pass. What passed before a fault was found has passed: hold a body that must
// be whole.
//
// Where something is removed the white space beside it goes too, and names there may have 64 KiB, past which is
// [exchange.ErrTooLarge]. Memory is that of the values that [MapJSON] takes, however large the document is. The
// error of RewriteJSON itself is about a pointer or a value.
func RewriteJSON(edits ...Edit) (Func, error) {
	root, err := plant(edits)
	if err != nil {
		return nil, err
	}
	return func(dst io.Writer, src io.Reader) error {
		buf := buffers.Get().(*[32 << 10]byte) //nolint:forcetypeassert // the pool holds nothing else
		defer buffers.Put(buf)
		r := rewriter{scanner: scanner{src: src, dst: dst, room: buf[:]}}
		return r.document(root)
	}, nil
}

// maxDepth is far above what documents have, and bounds the stack.
const maxDepth = 1000

// rewriter reads a document by recursive descent.
type rewriter struct {
	scanner

	depth int
	name  []byte // the begin of the member's name, escapes resolved
}

func (r *rewriter) document(root *node) error {
	if _, err := r.spaceOrEnd(); err != nil {
		if err == io.EOF && r.before == 0 { //nolint:errorlint // the scanner's own
			return nil
		}
		return r.unexpected(err)
	}
	if err := r.value(root); err != nil {
		return err
	}
	switch _, err := r.spaceOrEnd(); err {
	case io.EOF: //nolint:errorlint // the scanner's own
		return r.flush()
	case nil:
		return r.fault("something after the document")
	default:
		return err
	}
}

// value passes one value, edited if n says so. The scanner is at its first byte.
func (r *rewriter) value(n *node) error {
	if n != nil && n.edit != nil {
		return r.edit(n.edit)
	}
	c, err := r.peek()
	if err != nil {
		return r.unexpected(err)
	}
	switch {
	case c == '{':
		return r.nested(n, r.object)
	case c == '[':
		return r.nested(n, r.array)
	case c == '"':
		return r.text(nil)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	case c == 't':
		return r.literal("true")
	case c == 'f':
		return r.literal("false")
	case c == 'n':
		return r.literal("null")
	}
	return r.fault("a value is expected")
}

func (r *rewriter) nested(n *node, inside func(*node) error) error {
	if r.depth++; r.depth > maxDepth {
		return r.fault("nested too deeply")
	}
	defer func() { r.depth-- }()
	r.advance() // the bracket
	if err := r.space(); err != nil {
		return err
	}
	return inside(n)
}

func (r *rewriter) object(n *node) error {
	if n != nil && n.thins {
		return r.thin(n, '}')
	}
	if r.at('}') {
		return nil
	}
	for {
		child, err := r.member(n)
		if err != nil {
			return err
		}
		if err := r.value(child); err != nil {
			return err
		}
		if end, err := r.separator('}'); end || err != nil {
			return err
		}
	}
}

// member passes a name and the colon, and returns the node for the value.
func (r *rewriter) member(n *node) (child *node, err error) {
	if c, err := r.peek(); err != nil || c != '"' {
		if err != nil {
			return nil, r.unexpected(err)
		}
		return nil, r.fault("a name is expected")
	}
	switch {
	case n == nil:
		err = r.text(nil)
	case n.children == nil:
		err, child = r.text(nil), n.others
	default:
		r.name = r.name[:0]
		err = r.text(&capture{to: &r.name, most: n.longest + 1})
		child = n.member(r.name)
	}
	if err != nil {
		return nil, err
	}
	if err := r.space(); err != nil {
		return nil, err
	}
	if !r.at(':') {
		return nil, r.fault("a colon is expected")
	}
	return child, r.space()
}

func (r *rewriter) array(n *node) error {
	if n != nil && n.thins {
		return r.thin(n, ']')
	}
	if r.at(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := r.value(n.element(i)); err != nil {
			return err
		}
		if end, err := r.separator(']'); end || err != nil {
			return err
		}
	}
}

// separator passes a comma with the space around it, or the end of the value.
func (r *rewriter) separator(end byte) (bool, error) {
	if err := r.space(); err != nil {
		return false, err
	}
	if r.at(end) {
		return true, nil
	}
	if !r.at(',') {
		return false, r.fault("a comma or the end of the value is expected")
	}
	return false, r.space()
}

// edit takes the value out and puts another in.
func (r *rewriter) edit(e *Edit) error {
	most := nothingKept
	if e.fn != nil {
		most = e.limit
	}
	if err := r.divert(most); err != nil {
		return err
	}
	if err := r.value(nil); err != nil {
		return err
	}
	err := r.resume()
	if err != nil {
		return err
	}
	value := e.value
	if e.fn != nil {
		if value, err = e.fn(r.taken); err != nil {
			return err
		}
		if !json.Valid(value) {
			return fmt.Errorf("pointer %q: what was made of the value is no JSON", e.pointer)
		}
	}
	_, err = r.dst.Write(value)
	return err
}

// unexpected is the fault of a document that ends too early.
func (r *rewriter) unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // the scanner's own
		return r.fault("it ends too early")
	}
	return err
}
