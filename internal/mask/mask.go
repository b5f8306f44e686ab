// Package mask takes credentials out of what is kept of a request.
package mask

import (
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
// host. It takes what is no URL as well.
func Query(text string) string {
	text, _, _ = strings.Cut(text, "#")
	path, query, ok := strings.Cut(text, "?")
	path = withoutUser(path)
	if !ok {
		return path
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		// A pair without a name may be a token by itself, and one without a value a token in padded base64.
		if name, value, _ := strings.Cut(pair, "="); strings.Trim(value, "=") != "" {
			pairs[i] = name + "=" + Masked
		} else if pair != "" {
			pairs[i] = Masked
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}

// withoutUser masks what stands before the host of an authority, which two slashes begin.
func withoutUser(path string) string {
	before, rest, ok := strings.Cut(path, "//")
	if !ok {
		return path
	}
	authority, after, more := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = Masked + authority[at:]
	}
	if more {
		after = "/" + after
	}
	return before + "//" + authority + after
}
