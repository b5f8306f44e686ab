package jwt

import "errors"

// What [Verifier.Verify] can find, and nothing of the token in it.
var (
	// ErrMissing indicates a request without any token.
	ErrMissing = errors.New("no token")
	// ErrInvalid indicates a token that no provider accepts. The errors below wrap it.
	ErrInvalid = errors.New("invalid token")
	// ErrUnavailable indicates a token that can't be judged, because its provider has no usable keys now.
	ErrUnavailable = errors.New("no keys to verify the token with")
)

// The ways a token can be invalid, for reasons in logs.
var (
	ErrMalformed = invalid("malformed token")
	ErrAmbiguous = invalid("several tokens where one may be")
	ErrAlgorithm = invalid("algorithm not allowed for the key")
	ErrUnknown   = invalid("unknown key")
	ErrSignature = invalid("bad signature")
	ErrIssuer    = invalid("wrong issuer")
	ErrAudience  = invalid("wrong audience")
	ErrExpired   = invalid("expired, or without a required expiry")
	ErrNotYet    = invalid("not valid yet")
	ErrClaim     = invalid("a claim can't be written as a header")
)

type invalid string

func (e invalid) Error() string { return "invalid token: " + string(e) }

func (invalid) Is(target error) bool { return target == ErrInvalid }
