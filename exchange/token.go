package exchange

import "strings"

// IsToken reports whether s is a token (RFC 9110 section 5.6.2): what the names of header fields and
// methods are made of. Pseudo-headers are none, for their colon.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
