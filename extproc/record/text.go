package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// spelt are the fields of bytes that are spelt out where they hold text.
var spelt = map[string]string{"rawValue": "raw", "body": "text"}

// marshal is protobuf's JSON, indented and always the same.
func marshal(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	tree, err := decode(text)
	if err != nil {
		return nil, err
	}
	spell(tree, func(key, value string) (string, string) {
		p, err := base64.StdEncoding.DecodeString(value)
		if as := spelt[key]; as != "" && err == nil && utf8.Valid(p) {
			return as, string(p)
		}
		return key, value
	})
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err = encoder.Encode(tree)
	return out.Bytes(), err
}

func unmarshal(text []byte, m proto.Message) error {
	tree, err := decode(text)
	if err != nil {
		return err
	}
	spell(tree, func(key, value string) (string, string) {
		for field, as := range spelt {
			if key == as {
				return field, base64.StdEncoding.EncodeToString([]byte(value))
			}
		}
		return key, value
	})
	back, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(back, m)
}

func decode(text []byte) (tree any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return tree, decoder.Decode(&tree)
}

// spell renames and rewrites the members of objects that are strings.
func spell(tree any, as func(key, value string) (string, string)) {
	switch tree := tree.(type) {
	case []any:
		for _, item := range tree {
			spell(item, as)
		}
	case map[string]any:
		for key, value := range tree {
			text, ok := value.(string)
			if !ok {
				spell(value, as)
				continue
			}
			if name, other := as(key, text); name != key {
				delete(tree, key)
				tree[name] = other
			}
		}
	}
}
