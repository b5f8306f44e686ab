// Package strictjson decodes JSON that somebody else wrote and a policy judges. What two parsers could
// read in two ways is refused: duplicate member names, invalid UTF-8, data after the value, numbers
// beyond a float64, and nesting without end.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrMalformed indicates text that isn't exactly one JSON value within the limits. It holds nothing of
// the text.
var ErrMalformed = errors.New("malformed JSON")

// decoder reads in one pass. jsontext refuses duplicate names and invalid UTF-8.
type decoder struct {
	bytes.Reader
	*jsontext.Decoder

	maxDepth int
}

var decoders = sync.Pool{New: func() any { return &decoder{Decoder: jsontext.NewDecoder(strings.NewReader(""))} }}

// Decode decodes one value into nil, bool, string, json.Number, []any and map[string]any. Arrays and
// objects may be nested maxDepth levels; a scalar is a level of its own.
func Decode(raw []byte, maxDepth int) (any, error) {
	d, _ := decoders.Get().(*decoder) // nothing else is put there
	defer d.release()
	d.maxDepth = maxDepth
	d.Reader.Reset(raw)
	d.Decoder.Reset(&d.Reader)
	value, err := d.value(1)
	if err != nil {
		return nil, ErrMalformed
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ErrMalformed
	}
	return value, nil
}

// release keeps the decoder, but not the text of a request.
func (d *decoder) release() {
	d.Reader.Reset(nil)
	decoders.Put(d)
}

// maxNumber bounds a number's text. Longer ones, and those beyond a float64 such as 1e999999999, exist
// only to keep big-number arithmetic busy.
const maxNumber = 64

// number checks by parsing only where the text could be out of range: up to 15 digits never are.
func number(text string) (any, error) {
	n := json.Number(text)
	if len(text) > maxNumber {
		return nil, ErrMalformed
	}
	if len(text) > 15 || strings.ContainsAny(text, "eE") {
		if _, err := n.Float64(); err != nil {
			return nil, ErrMalformed
		}
	}
	return n, nil
}

// value recurses no deeper than maxDepth, so that the stack is bounded by configuration and not by the
// text.
func (d *decoder) value(depth int) (any, error) {
	if depth > d.maxDepth {
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
		return number(token.String())
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
