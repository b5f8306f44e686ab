package wire

import (
	"errors"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed indicates bytes that are no valid protobuf message of the expected type.
var ErrMalformed = errors.New("malformed protobuf message")

// Num is a field number.
type Num = protowire.Number

// Wire types, to be combined with a field number as `number<<3 | type`, which is how a field's tag is
// encoded and what [Reader.Tag] holds.
const (
	Varint  = uint64(protowire.VarintType)
	Fixed64 = uint64(protowire.Fixed64Type)
	Len     = uint64(protowire.BytesType)
)

// Reader walks the fields of one message in wire order:
//
//	for r := wire.Read(msg); r.Next(); {
//		switch r.Tag {
//		case 1<<3 | wire.Len:
//			name = r.Text()
//		}
//	}
//
// The loop needs `r` outside of it to ask for [Reader.Err] afterwards. Fields that no case names are
// skipped. A Reader is used by one goroutine.
type Reader struct {
	// Tag is number<<3|type of the present field.
	Tag uint64
	// Bytes is the content of a field of type [Len].
	Bytes string
	// Number is the content of a field of type [Varint], or the bits of one of type [Fixed64].
	Number uint64

	rest string
	bad  bool
}

// Read returns a Reader before the first field of msg.
func Read(msg string) Reader { return Reader{rest: msg} }

// Next moves to the next field. It returns false at the end and at the first malformed byte.
func (r *Reader) Next() bool {
	in := r.rest
	if in == "" || r.bad {
		return false
	}
	// Nearly all fields of Envoy's messages have a tag of one byte and a length of one or two.
	if len(in) < 3 || in[0] >= 0x80 || in[0] < 1<<3 || uint64(in[0])&7 != Len {
		return r.next()
	}
	prefix, size := 2, int(in[1])
	if size >= 0x80 {
		if in[2] >= 0x80 {
			return r.next()
		}
		prefix, size = 3, size&0x7f|int(in[2])<<7
	}
	if size > len(in)-prefix {
		return r.fail()
	}
	r.Tag = uint64(in[0])
	r.Bytes = in[prefix : prefix+size]
	r.rest = in[prefix+size:]
	return true
}

// next is Next for every kind of field.
func (r *Reader) next() bool {
	in := view(r.rest)
	num, typ, n := protowire.ConsumeTag(in)
	if n < 0 {
		return r.fail()
	}
	in = in[n:]
	var size int
	switch typ {
	case protowire.VarintType:
		r.Number, size = protowire.ConsumeVarint(in)
	case protowire.Fixed64Type:
		r.Number, size = protowire.ConsumeFixed64(in)
	case protowire.BytesType:
		_, size = protowire.ConsumeBytes(in)
	default:
		size = protowire.ConsumeFieldValue(num, typ, in)
	}
	if size < 0 {
		return r.fail()
	}
	if typ == protowire.BytesType {
		_, prefix := protowire.ConsumeVarint(in)
		r.Bytes = r.rest[n+prefix : n+size]
	}
	r.Tag = uint64(num)<<3 | uint64(typ)
	r.rest = r.rest[n+size:]
	return true
}

// Text returns Bytes as a proto3 string: it makes the message malformed if they are not UTF-8.
func (r *Reader) Text() string {
	if !utf8.ValidString(r.Bytes) {
		r.bad = true
	}
	return r.Bytes
}

// Sub runs parse over the present field's sub-message and takes over its error.
func (r *Reader) Sub(parse func(msg string) error) {
	if parse(r.Bytes) != nil {
		r.bad = true
	}
}

// Err returns ErrMalformed if the message or a sub-message is malformed.
func (r *Reader) Err() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}

func (r *Reader) fail() bool {
	r.bad = true
	return false
}

// view lets protowire, which only reads, see a string's bytes.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) } //nolint:gosec // G103: nobody writes
