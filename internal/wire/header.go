package wire

import "github.com/gatehouse-proxy/gatehouse/exchange"

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

// headerValue reads a config.core.v3.HeaderValue.
func headerValue(msg string) (exchange.Field, error) {
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
