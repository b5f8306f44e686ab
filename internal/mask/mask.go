// Package mask takes credentials out of what is kept of a request.
package mask

import (
	"net/url"
	"slices"
	"strings"
)

// Masked stands in place of what isn't kept.
const Masked = "REDACTED"

// headers are those whose values are credentials, or may hold one.
var headers = []string{
	"authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate", "authentication-info", "x-api-key", "x-auth-token",
	"x-csrf-token", "x-xsrf-token", "x-amz-security-token", "x-forwarded-client-cert", "grpc-metadata-authorization",
}

// Headers returns the names, in lower case, of headers whose values are never kept.
func Headers() []string { return slices.Clone(headers) }

// Query keeps the names in the query of a path or URL, and nothing of a fragment or of credentials before a
// host.
func Query(text string) string {
	text, _, _ = strings.Cut(text, "#")
	if u, err := url.Parse(text); err == nil && u.User != nil {
		u.User = url.User(Masked)
		text = u.String()
	}
	path, query, ok := strings.Cut(text, "?")
	if !ok {
		return path
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		// A pair without a name may be a token by itself.
		if name, _, named := strings.Cut(pair, "="); named {
			pairs[i] = name + "=" + Masked
		} else if pair != "" {
			pairs[i] = Masked
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}
