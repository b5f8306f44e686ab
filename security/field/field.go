// Package field checks the header lines that a policy is about to emit.
package field

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// maxValue bounds one emitted header (S18), well below what upstreams take for all together.
const maxValue = 8 << 10

// CheckName refuses names that aren't tokens (RFC 9110 section 5.1) and those by which a verdict
// would change how the message is framed or routed.
func CheckName(name string) error {
	if name == "" {
		return errors.New("empty header name")
	}
	if !exchange.IsToken(name) {
		return fmt.Errorf("header %q is no valid name", name)
	}
	switch lower := strings.ToLower(name); lower {
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "proxy-connection":
		return fmt.Errorf("header %q can't be written by a policy", name)
	default:
		if strings.HasPrefix(lower, "x-gatehouse-") {
			return fmt.Errorf("header %q: x-gatehouse- is reserved", name)
		}
	}
	return nil
}

// ValidValue reports whether a value may be emitted: UTF-8 without control characters but tab,
// and not too large (S18).
func ValidValue(value string) bool {
	for i := range len(value) {
		if value[i] < 0x20 && value[i] != '\t' || value[i] == 0x7f {
			return false
		}
	}
	return len(value) <= maxValue && utf8.ValidString(value)
}
