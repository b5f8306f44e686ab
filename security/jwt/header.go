package jwt

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// maxHeaderValue bounds one emitted header (S18), well below what upstreams take for all together.
const maxHeaderValue = 8 << 10

// claimHeader copies one claim to a request header.
type claimHeader struct {
	header string
	text   string
	path   []string
	format string
}

func compileClaimHeader(spec config.ClaimToHeader) (claimHeader, error) {
	path, err := parsePath(spec.Claim)
	if err != nil {
		return claimHeader{}, err
	}
	if err := CheckHeaderName(spec.Header); err != nil {
		return claimHeader{}, err
	}
	switch spec.Format {
	case "", "String", "CSV", "JSON":
	default:
		return claimHeader{}, fmt.Errorf("format %q is none of String, CSV and JSON", spec.Format)
	}
	return claimHeader{header: strings.ToLower(spec.Header), text: spec.Claim, path: path, format: spec.Format}, nil
}

// CheckHeaderName refuses names that aren't tokens (RFC 9110 section 5.1) and those by which a verdict
// would change how the message is framed or routed.
func CheckHeaderName(name string) error {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return fmt.Errorf("header %q is no valid name", name)
		}
	}
	switch lower := strings.ToLower(name); lower {
	case "":
		return fmt.Errorf("empty header name")
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "proxy-connection":
		return fmt.Errorf("header %q can't be written by a policy", name)
	default:
		if strings.HasPrefix(lower, "x-gatehouse-") {
			return fmt.Errorf("header %q: x-gatehouse- is reserved", name)
		}
	}
	return nil
}

// ValidHeaderValue reports whether a value may be emitted: UTF-8 without control characters but tab,
// and not too large (S18).
func ValidHeaderValue(value string) bool {
	for i := range len(value) {
		if value[i] < 0x20 && value[i] != '\t' || value[i] == 0x7f {
			return false
		}
	}
	return len(value) <= maxHeaderValue && utf8.ValidString(value)
}

// fields writes the claims' headers. A claim that isn't there, or whose type the format can't show,
// gives no header. One that can't be written without changing its meaning is an error: the token is
// refused rather than shortened.
func (p *provider) fields(claims map[string]any) ([]exchange.Field, error) {
	var fields []exchange.Field
	for i := range p.headers {
		h := &p.headers[i]
		value, found := lookup(claims, h.path, h.text)
		if !found || written(fields, h.header) {
			continue
		}
		text, shown, err := h.write(value)
		if err != nil {
			return nil, err
		}
		if !shown {
			continue
		}
		if !ValidHeaderValue(text) {
			return nil, ErrClaim
		}
		fields = append(fields, exchange.Field{Name: h.header, Value: text})
	}
	return fields, nil
}

func written(fields []exchange.Field, name string) bool {
	for i := range fields {
		if fields[i].Name == name {
			return true
		}
	}
	return false
}

func (h *claimHeader) write(value any) (text string, shown bool, err error) {
	switch h.format {
	case "JSON":
		raw, err := json.Marshal(value)
		if err != nil {
			return "", false, ErrClaim
		}
		return string(raw), true, nil
	case "CSV":
		if array, ok := value.([]any); ok {
			return joinScalars(array)
		}
	}
	text, shown = scalar(value)
	return text, shown, nil
}

// joinScalars refuses an element that holds a comma: it would read as two, and whoever may choose one
// role's name could so give himself another.
func joinScalars(array []any) (text string, shown bool, err error) {
	parts := make([]string, 0, len(array))
	for _, element := range array {
		part, ok := scalar(element)
		if !ok {
			return "", false, nil
		}
		if strings.Contains(part, ",") {
			return "", false, ErrClaim
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ","), true, nil
}

func scalar(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case bool:
		return strconv.FormatBool(value), true
	case json.Number:
		return value.String(), true
	}
	return "", false
}
