package jwt

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/claim"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/field"
)

// claimHeader copies one claim to a request header.
type claimHeader struct {
	header string
	path   claim.Path
	format string
}

// compileClaimHeader refuses unknown formats: to fall back to String would drop a list without a word.
func compileClaimHeader(spec config.ClaimToHeader) (claimHeader, error) {
	path, err := claim.Parse(spec.Claim)
	if err != nil {
		return claimHeader{}, err
	}
	if err := field.CheckName(spec.Header); err != nil {
		return claimHeader{}, err
	}
	switch spec.Format {
	case "", "String", "CSV", "JSON":
	default:
		return claimHeader{}, fmt.Errorf("format %q is none of String, CSV and JSON", spec.Format)
	}
	return claimHeader{header: strings.ToLower(spec.Header), path: path, format: spec.Format}, nil
}

// fields writes the claims' headers. A claim that isn't there, or whose type the format can't show,
// gives no header. One that can't be written without changing its meaning is an error: the token is
// refused rather than shortened.
func (p *provider) fields(claims map[string]any) ([]exchange.Field, error) {
	var fields []exchange.Field
	for i := range p.headers {
		h := &p.headers[i]
		value, found := h.path.Lookup(claims)
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
		if !field.ValidValue(text) {
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

// write gives a scalar for every format but JSON; shown is false where the format can't express the
// claim, and then the upstream gets no header at all.
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
