package wire

import (
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// AppendHeaderMap appends the lines of a config.core.v3.HeaderMap in wire order, pseudo-headers
// included, to dst. A line's value is its raw_value, or its value where raw_value is empty.
func AppendHeaderMap(dst []exchange.Field, msg string) ([]exchange.Field, error) {
	r := Read(msg)
	for r.Next() {
		if r.Tag == 1<<3|Len {
			line, err := headerValue(r.Bytes)
			if err != nil {
				return dst, err
			}
			dst = append(dst, line)
		}
	}
	return dst, r.Err()
}

// plainHeader reads a config.core.v3.HeaderValue as Envoy writes it: a short key and a raw_value, or a key
// alone. It leaves everything else to headerValue.
func plainHeader(msg string) (f exchange.Field, ok bool) {
	if len(msg) < 2 || msg[0] != 1<<3|byte(Len) || msg[1] >= 0x80 || int(msg[1]) > len(msg)-2 {
		return f, false
	}
	f.Name, msg = msg[2:2+msg[1]], msg[2+msg[1]:]
	if msg == "" {
		return f, utf8.ValidString(f.Name)
	}
	if len(msg) < 3 || msg[0] != 3<<3|byte(Len) {
		return f, false
	}
	prefix, size := 2, int(msg[1])
	if size >= 0x80 {
		prefix, size = 3, size&0x7f|int(msg[2])<<7
	}
	f.Value = msg[prefix:]
	return f, (prefix == 2 || msg[2] < 0x80) && size == len(f.Value) && utf8.ValidString(f.Name)
}

// headerValue reads a config.core.v3.HeaderValue.
func headerValue(msg string) (exchange.Field, error) {
	if f, ok := plainHeader(msg); ok {
		return f, nil
	}
	var name, value, raw string
	r := Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | Len:
			name = r.Text()
		case 2<<3 | Len:
			value = r.Text()
		case 3<<3 | Len:
			raw = r.Bytes
		}
	}
	if raw != "" {
		value = raw
	}
	return exchange.Field{Name: name, Value: value}, r.Err()
}

// MessageEntry reads an entry of a map field from strings to messages. Parts of a repeated value are
// one after the other, by which a decoder merges them.
func MessageEntry(msg string) (key, value string, err error) {
	r := Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | Len:
			key = r.Text()
		case 2<<3 | Len:
			value += r.Bytes
		}
	}
	return key, value, r.Err()
}

// MapEntry reads an entry of a map<string, string> field.
func MapEntry(msg string) (key, value string, err error) {
	r := Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | Len:
			key = r.Text()
		case 2<<3 | Len:
			value = r.Text()
		}
	}
	return key, value, r.Err()
}
