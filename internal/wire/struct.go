package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds nesting of values, so that a cyclic one is an error and no endless recursion.
const maxDepth = 64

var (
	errDepth = errors.New("value is nested too deeply")
	errUTF8  = errors.New("text is not UTF-8")
)

// AppendStruct appends the fields of a google.protobuf.Struct, in the order of their names so that equal
// maps give equal bytes. Values are strings, float64s, bools, nil, []any and map[string]any of these;
// any other type is an error, which names the type and not the value.
func AppendStruct(dst []byte, fields map[string]any) ([]byte, error) {
	return appendStruct(dst, fields, 0)
}

func appendStruct(dst []byte, fields map[string]any, depth int) ([]byte, error) {
	// Verdicts have a field or two, whose names need no allocation.
	var few [8]string
	names := few[:0]
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !utf8.ValidString(name) {
			return dst, errUTF8
		}
		var entry, value int
		dst, entry = Open(dst, 1)
		dst = AppendString(dst, 1, name)
		dst, value = Open(dst, 2)
		var err error
		if dst, err = appendValue(dst, fields[name], depth+1); err != nil {
			return dst, err
		}
		dst = Close(Close(dst, value), entry)
	}
	return dst, nil
}

// appendValue writes the content of a google.protobuf.Value.
func appendValue(dst []byte, value any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, errDepth
	}
	switch v := value.(type) {
	case nil:
		return AppendVarint(dst, 1, 0), nil
	case float64:
		dst = protowire.AppendTag(dst, 2, protowire.Fixed64Type)
		return protowire.AppendFixed64(dst, math.Float64bits(v)), nil
	case string:
		if !utf8.ValidString(v) {
			return dst, errUTF8
		}
		return AppendString(dst, 3, v), nil
	case bool:
		return AppendVarint(dst, 4, protowire.EncodeBool(v)), nil
	case map[string]any:
		dst, mark := Open(dst, 5)
		dst, err := appendStruct(dst, v, depth)
		return Close(dst, mark), err
	case []any:
		return appendList(dst, v, depth)
	default:
		return dst, fmt.Errorf("type %T can't be metadata", value)
	}
}

func appendList(dst []byte, values []any, depth int) ([]byte, error) {
	dst, list := Open(dst, 6)
	for _, v := range values {
		var mark int
		dst, mark = Open(dst, 1)
		var err error
		if dst, err = appendValue(dst, v, depth+1); err != nil {
			return dst, err
		}
		dst = Close(dst, mark)
	}
	return Close(dst, list), nil
}

// ReadStruct reads a google.protobuf.Struct into dst, with the types that [AppendStruct] takes.
func ReadStruct(dst map[string]any, msg string) error { return readStruct(dst, msg, 0) }

func readStruct(dst map[string]any, msg string, depth int) error {
	r := Read(msg)
	for r.Next() {
		if r.Tag != 1<<3|Len {
			continue
		}
		var name string
		var value any
		entry := Read(r.Bytes)
		for entry.Next() {
			switch entry.Tag {
			case 1<<3 | Len:
				name = entry.Text()
			case 2<<3 | Len:
				entry.Sub(func(msg string) (err error) {
					value, err = readValue(value, msg, depth+1)
					return err
				})
			}
		}
		if entry.Err() != nil {
			return ErrMalformed
		}
		dst[name] = value
	}
	return r.Err()
}

// readValue reads a google.protobuf.Value on top of what an earlier piece of the same field gave:
// pieces of one kind merge, another kind replaces.
func readValue(value any, msg string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	r := Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | Varint:
			value = nil
		case 2<<3 | Fixed64:
			value = math.Float64frombits(r.Number)
		case 3<<3 | Len:
			value = r.Text()
		case 4<<3 | Varint:
			value = r.Number != 0
		case 5<<3 | Len:
			fields, ok := value.(map[string]any)
			if !ok {
				fields = map[string]any{}
			}
			r.Sub(func(msg string) error { return readStruct(fields, msg, depth) })
			value = fields
		case 6<<3 | Len:
			list, _ := value.([]any)
			r.Sub(func(msg string) (err error) {
				list, err = readList(list, msg, depth)
				return err
			})
			value = list
		}
	}
	return value, r.Err()
}

func readList(list []any, msg string, depth int) ([]any, error) {
	if list == nil {
		list = []any{}
	}
	r := Read(msg)
	for r.Next() {
		if r.Tag == 1<<3|Len {
			value, err := readValue(nil, r.Bytes, depth+1)
			if err != nil {
				return list, err
			}
			list = append(list, value)
		}
	}
	return list, r.Err()
}
