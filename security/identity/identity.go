// Package identity holds what authentication found out about a caller, in the one form that every
// later stage of a policy reads.
package identity

import "sync"

// The authentication methods, as Rego policies see them in input.identity.method.
const (
	Basic  = "basic"
	JWT    = "jwt"
	APIKey = "api_key"
)

// Identity is one verified caller. It is immutable once built and may be shared by requests, because
// a verified token's identity is kept with the token. A nil *Identity is an anonymous caller.
type Identity struct {
	// Method is [Basic], [JWT] or [APIKey]. When several had to pass it is JWT if that was one of them,
	// else Basic, and Username is the basic one's if that was.
	Method string
	// Username is the htpasswd user, or the token's sub claim if that is a string.
	Username string
	// ClientID is whose API key it was.
	ClientID string
	// Provider names the JWT provider that accepted the token.
	Provider string
	// Claims is the token's payload: nil, bool, string, json.Number, []any and map[string]any.
	// Numbers keep their text, so that a 64-bit account number isn't rounded.
	Claims map[string]any

	once sync.Once
	memo any
}

// Memo returns the result of the first build, so that a stage derives its own form of the claims once
// for each token and not for each request. An Identity belongs to one policy and has room for one
// such form. Safe for concurrent use.
func (i *Identity) Memo(build func() any) any {
	i.once.Do(func() { i.memo = build() })
	return i.memo
}
