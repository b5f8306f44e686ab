package doctor

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"
)

type protoMessage = proto.Message

// withoutType drops the "@type" with which a typed_config says what it is.
func withoutType(text []byte) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	delete(object, "@type")
	return json.Marshal(object)
}
