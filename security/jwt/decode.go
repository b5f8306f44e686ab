package jwt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of a payload (S23); jsontext's own limit is far higher.
const maxDepth = 32

// decodeSegment is base64url as RFC 7515 section 2 has it: no padding, no other trailing bits. Go's
// decoder skips line breaks even in strict mode; the caller has refused them for the whole token.
func decodeSegment(segment string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, ErrMalformed
	}
	return raw, nil
}

// decoder reads one JSON object in one pass. jsontext refuses duplicate names and invalid UTF-8.
type decoder struct {
	bytes.Reader
	*jsontext.Decoder
}

var decoders = sync.Pool{New: func() any { return &decoder{Decoder: jsontext.NewDecoder(strings.NewReader(""))} }}

// decodeObject decodes a JSON object into nil, bool, string, json.Number, []any and map[string]any.
func decodeObject(raw []byte) (map[string]any, error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.Reader.Reset(raw)
	d.Decoder.Reset(&d.Reader)
	if d.PeekKind() != '{' {
		return nil, ErrMalformed
	}
	value, err := d.value(1)
	if err != nil {
		return nil, ErrMalformed
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, ErrMalformed
	}
	return value.(map[string]any), nil
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, ErrMalformed
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '{':
		return d.object(depth)
	case '[':
		return d.array(depth)
	case '"':
		return token.String(), nil
	case '0':
		return json.Number(token.String()), nil
	case 't', 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

func (d *decoder) object(depth int) (any, error) {
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func (d *decoder) array(depth int) (any, error) {
	array := []any{}
	for d.PeekKind() != ']' {
		element, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		array = append(array, element)
	}
	_, err := d.ReadToken()
	return array, err
}
