package exchange

import (
	"iter"
	"net/http"
	"slices"
)

// Field is one header line: a name and a value as they came on the wire. Several lines may share a
// name. Values may hold any byte but CR, LF and NUL.
type Field struct {
	Name  string
	Value string
}

// A FieldSource yields header lines on first use, so that a host need not decode headers nobody reads.
type FieldSource interface {
	// Fields appends the lines, in wire order and without pseudo-headers, to dst.
	Fields(dst []Field) []Field
}

// Header is a message's header lines with the edits made to them so far. Names are compared without
// regard to ASCII case, order and duplicates are kept. It is not a map: [Header.HTTP] makes an
// [http.Header] copy.
//
// Edits show at once in every reading method; a host sends them when the message is released. The
// zero Header is empty and ready to use. A Header is used by one goroutine at a time. The strings it
// returns may be kept.
type Header struct {
	source FieldSource
	fields []Field
	edited []string
}

// NewHeader returns a Header of the given lines and takes ownership of the slice.
func NewHeader(fields ...Field) Header { return Header{fields: fields} }

// Load makes src the Header's source. It is read once, at the first call that needs it. For hosts.
func (h *Header) Load(src FieldSource) { *h = Header{source: src, fields: h.fields[:0]} }

func (h *Header) lines() []Field {
	if h.source != nil {
		src := h.source
		h.source = nil
		h.fields = src.Fields(h.fields)
	}
	return h.fields
}

// Get returns the first value of name, or "".
func (h *Header) Get(name string) string {
	for i, lines := 0, h.lines(); i < len(lines); i++ {
		if equalFold(lines[i].Name, name) {
			return lines[i].Value
		}
	}
	return ""
}

// Lookup returns the first value of name and the number of lines that carry it, so that a caller for
// whom two values are one too many needs one call.
func (h *Header) Lookup(name string) (value string, lines int) {
	for _, f := range h.lines() {
		if !equalFold(f.Name, name) {
			continue
		}
		if lines == 0 {
			value = f.Value
		}
		lines++
	}
	return value, lines
}

// Values returns all values of name in wire order, nil if there is none.
func (h *Header) Values(name string) []string {
	var values []string
	for _, f := range h.lines() {
		if equalFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Lines yields what [Header.Values] returns, without making a slice of it. The Header must not be edited
// meanwhile.
func (h *Header) Lines(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range h.lines() {
			if equalFold(f.Name, name) && !yield(f.Value) {
				return
			}
		}
	}
}

// Has reports whether a line of that name exists, also one with an empty value.
func (h *Header) Has(name string) bool {
	_, n := h.Lookup(name)
	return n > 0
}

// Len returns the number of lines.
func (h *Header) Len() int { return len(h.lines()) }

// All yields the lines in order. The Header must not be edited meanwhile.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range h.lines() {
			if !yield(f.Name, f.Value) {
				return
			}
		}
	}
}

// Set replaces all lines of name by one line per value; without a value it is Del.
func (h *Header) Set(name string, value ...string) {
	h.Del(name)
	for _, v := range value {
		h.fields = append(h.fields, Field{Name: name, Value: v})
	}
}

// Add appends a line.
func (h *Header) Add(name, value string) {
	h.touch(name)
	h.fields = append(h.lines(), Field{Name: name, Value: value})
}

// Del removes every line of name.
func (h *Header) Del(name string) {
	h.touch(name)
	h.fields = slices.DeleteFunc(h.lines(), func(f Field) bool { return equalFold(f.Name, name) })
}

// Edited returns the names that Set, Add or Del were called with, each once, in the order of the first
// edit. Their present values are what the host has to send. For hosts.
func (h *Header) Edited() []string { return h.edited }

// NoteEditsIn gives the Header memory to note names in. For hosts.
func (h *Header) NoteEditsIn(memory []string) { h.edited = memory[:0] }

// HTTP returns a copy with canonical names.
func (h *Header) HTTP() http.Header {
	out := make(http.Header, h.Len())
	for _, f := range h.lines() {
		out.Add(f.Name, f.Value)
	}
	return out
}

func (h *Header) touch(name string) {
	if !slices.ContainsFunc(h.edited, func(n string) bool { return equalFold(n, name) }) {
		h.edited = append(h.edited, name)
	}
}

// equalFold compares ASCII case-insensitively: header names are tokens (RFC 9110 section 5.1), and
// strings.EqualFold would fold the Kelvin sign to k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
