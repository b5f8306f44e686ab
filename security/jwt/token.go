package jwt

import (
	"encoding/base64"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/security/strictjson"
)

// maxDepth bounds the nesting of a header or payload (S23).
const maxDepth = 32

// maxToken is the largest token that is looked at (S23). Proxies limit all headers together to about
// four times that.
const maxToken = 16 << 10

// compact is a JWS in compact serialization, split and with its header read.
type compact struct {
	header

	signed    string // what the signature covers
	payload   string // still encoded
	signature string
	segment   string // the header, still encoded
}

// header is what of a JOSE header matters. Everything that would tell the verifier where to find a key
// (jwk, jku, x5u, x5c) is not even read: keys come from configuration only.
type header struct {
	alg    string
	kid    string
	hasKid bool
}

// split takes a token apart without decoding it.
func split(token string) (compact, error) {
	if len(token) > maxToken || strings.IndexByte(token, '\r') >= 0 || strings.IndexByte(token, '\n') >= 0 {
		return compact{}, ErrMalformed
	}
	first := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if first <= 0 || last <= first+1 || strings.IndexByte(token[first+1:last], '.') >= 0 {
		return compact{}, ErrMalformed
	}
	return compact{signed: token[:last], segment: token[:first], payload: token[first+1 : last], signature: token[last+1:]}, nil
}

// parseHeader reads a JOSE header. Members that change how the token must be read are refused, as RFC
// 7515 section 4.1.11 asks of everybody who doesn't implement them.
func parseHeader(segment string) (header, error) {
	raw, err := decodeSegment(segment)
	if err != nil {
		return header{}, err
	}
	members, err := decodeObject(raw)
	if err != nil {
		return header{}, err
	}
	for _, refused := range [...]string{"crit", "b64", "zip", "enc"} {
		if _, found := members[refused]; found {
			return header{}, ErrMalformed
		}
	}
	var h header
	var ok bool
	if h.alg, ok = members["alg"].(string); !ok {
		return header{}, ErrMalformed
	}
	if kid, found := members["kid"]; found {
		if h.kid, h.hasKid = kid.(string); !h.hasKid {
			return header{}, ErrMalformed
		}
	}
	return h, nil
}

// decodeSegment is base64url as RFC 7515 section 2 has it: no padding, no other trailing bits. Go's
// decoder skips line breaks even in strict mode; split has refused them for the whole token.
func decodeSegment(segment string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, ErrMalformed
	}
	return raw, nil
}

func decodeObject(raw []byte) (map[string]any, error) {
	value, err := strictjson.Decode(raw, maxDepth)
	if err != nil {
		return nil, ErrMalformed
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, ErrMalformed
	}
	return object, nil
}
