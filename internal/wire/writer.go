package wire

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendString appends a string or bytes field, also an empty one.
func AppendString(dst []byte, num Num, value string) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendString(dst, value)
}

// AppendBytes appends a bytes field, also an empty one.
func AppendBytes(dst []byte, num Num, value []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendBytes(dst, value)
}

// AppendVarint appends an integer, enum or bool field, also a zero.
func AppendVarint(dst []byte, num Num, value uint64) []byte {
	dst = protowire.AppendTag(dst, num, protowire.VarintType)
	return protowire.AppendVarint(dst, value)
}

// Open begins a sub-message; [Close] with the returned mark ends it. Sub-messages nest.
func Open(dst []byte, num Num) (out []byte, mark int) {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	// One byte is reserved for the length, which is enough for most messages.
	dst = append(dst, 0)
	return dst, len(dst)
}

// Close ends the sub-message that began at mark.
func Close(dst []byte, mark int) []byte {
	size := len(dst) - mark
	if size < 0x80 {
		dst[mark-1] = byte(size)
		return dst
	}
	var prefix [10]byte
	return slices.Replace(dst, mark-1, mark, protowire.AppendVarint(prefix[:0], uint64(size))...)
}

// HeaderAppendAction of config.core.v3.HeaderValueOption.
const (
	// Append adds a line and keeps those that exist.
	Append = 0
	// Overwrite replaces the lines that exist, or adds one.
	Overwrite = 2
)

// Which of a HeaderValue's two fields Envoy reads depends on the filter.
const (
	// Value is the field that ext_authz reads; it must be UTF-8.
	Value Num = 2
	// RawValue is the field that ext_proc reads.
	RawValue Num = 3
)

// AppendHeader appends a config.core.v3.HeaderValueOption as field num. Both ways of saying what
// becomes of existing lines are written, the deprecated append and append_action: ext_proc reads only
// the first, and what an absent one means differs from filter to filter.
func AppendHeader(dst []byte, num, field Num, name, value string, action uint64) []byte {
	dst, option := Open(dst, num)
	dst, header := Open(dst, 1)
	dst = AppendString(dst, 1, name)
	dst = AppendString(dst, field, value)
	dst = Close(dst, header)
	dst, wrapper := Open(dst, 2)
	if action == Append {
		dst = AppendVarint(dst, 1, 1)
	}
	dst = Close(dst, wrapper)
	dst = AppendVarint(dst, 3, action)
	return Close(dst, option)
}
