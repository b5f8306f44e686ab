package basic

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// The limits of a credential. They are those of Apache's htpasswd (MAX_STRING_LEN 256), and they bound
// the work of hashes whose cost grows with the length of the password.
const (
	MaxUser     = 255
	MaxPassword = 255
)

var (
	// ErrNotBasic indicates an Authorization value of another scheme, or none.
	ErrNotBasic = errors.New("no basic credentials")
	// ErrMalformed indicates Basic credentials that RFC 7617 doesn't allow, or that exceed the limits.
	ErrMalformed = errors.New("malformed basic credentials")
)

var strict = base64.StdEncoding.Strict()

// ParseAuthorization takes an Authorization value apart (RFC 7617 section 2). The scheme's case is
// free; the user ends at the first colon, the password may hold more of them. Both must be UTF-8,
// which is what the challenge asks for, without control characters. The error is [ErrNotBasic] or
// [ErrMalformed] and holds nothing of the value.
func ParseAuthorization(value string) (user, password string, err error) {
	scheme, rest, found := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", ErrNotBasic
	}
	rest = strings.Trim(rest, " ")
	// The decoder skips line breaks even in strict mode.
	if !found || rest == "" || len(rest) > base64.StdEncoding.EncodedLen(MaxUser+1+MaxPassword) || strings.ContainsAny(rest, "\r\n") {
		return "", "", ErrMalformed
	}
	var room [MaxUser + 1 + MaxPassword + 2]byte
	plain, err := strict.AppendDecode(room[:0], []byte(rest))
	if err != nil {
		return "", "", ErrMalformed
	}
	user, password, found = strings.Cut(string(plain), ":")
	if !found || len(user) > MaxUser || len(password) > MaxPassword || !printable(user) || !printable(password) {
		return "", "", ErrMalformed
	}
	return user, password, nil
}

// printable reports whether s is UTF-8 without control characters (RFC 7617: "user-id and password
// MUST NOT contain any control characters").
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
