package verdict

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// maxValue is Envoy's default limit for all headers of a request together.
const maxValue = 60 << 10

// The reasons why a verdict can't be expressed. They never quote a value, which may be a credential.
var (
	errBadName     = errors.New("not a header name")
	errBadValue    = errors.New("header value has CR, LF or NUL, isn't UTF-8, or is longer than 60 KiB")
	errSetAndGone  = errors.New("header is both set and removed")
	errAllowsReply = errors.New("the verdict allows and has a Reply")
)

// Check reports what makes a verdict that allows inexpressible in HTTP. One that denies is always
// expressible: what of its reply is not is left out, the denial stands.
func Check(v *exchange.Verdict) error {
	if !v.Allow {
		return nil
	}
	if v.Reply != nil {
		return errAllowsReply
	}
	for _, fields := range [...][]exchange.Field{v.Set, v.Add, v.ResponseSet} {
		for _, f := range fields {
			if !ValidName(f.Name) {
				return errBadName
			}
			if !ValidValue(f.Value) {
				return fmt.Errorf("%s: %w", f.Name, errBadValue)
			}
		}
	}
	for _, name := range v.Remove {
		if !ValidName(name) {
			return errBadName
		}
		// Envoy removes last: what an authorizer set would be gone.
		if Named(v.Set, name) || Named(v.Add, name) {
			return fmt.Errorf("%w: %s", errSetAndGone, name)
		}
	}
	return nil
}

// Named reports whether a field of that name is among fields.
func Named(fields []exchange.Field, name string) bool {
	return slices.ContainsFunc(fields, func(f exchange.Field) bool { return strings.EqualFold(f.Name, name) })
}

// ResponseLines yields what becomes of a [exchange.Verdict.ResponseSet], each name once but for those that
// add. Vary and Set-Cookie add to what the upstream says: every hop does (RFC 9110 section 12.5.5, RFC
// 6265 section 3). Of all others the lines are one, joined by commas (RFC 9110 section 5.3), as ext_authz
// can't overwrite a response's header by two.
func ResponseLines(fields []exchange.Field) iter.Seq2[exchange.Field, bool] {
	return func(yield func(f exchange.Field, add bool) bool) {
		for i, f := range fields {
			add := strings.EqualFold(f.Name, "vary") || strings.EqualFold(f.Name, "set-cookie")
			if !add && Named(fields[:i], f.Name) {
				continue
			}
			for _, more := range fields[i+1:] {
				if !add && strings.EqualFold(more.Name, f.Name) {
					f.Value += ", " + more.Value
				}
			}
			if !yield(f, add) {
				return
			}
		}
	}
}

// Forbidden is the reply of a denial that has none.
func Forbidden() *exchange.Reply { return exchange.Deny(http.StatusForbidden, "access denied") }

// ValidName accepts a token, with a colon before it for the pseudo-headers that Envoy lets an
// authorizer change.
func ValidName(name string) bool {
	return exchange.IsToken(strings.TrimPrefix(name, ":"))
}

// ValidValue accepts what Envoy and HTTP can carry.
func ValidValue(value string) bool {
	if len(value) > maxValue {
		return false
	}
	for i := range len(value) {
		if value[i] == '\r' || value[i] == '\n' || value[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(value)
}
