// Package basic is HTTP Basic authentication (RFC 7617) against an htpasswd file.
//
//	users, err := basic.Parse(file, basic.Options{})
//	user, password, err := basic.ParseAuthorization(r.Header.Get("Authorization"))
//	ok, err := users.Verify(ctx, user, password)
//
// Supported hashes: bcrypt ($2a$, $2b$, $2y$), SHA-crypt ($5$, $6$), MD5-crypt ($apr1$, $1$), {SHA} and
// {SSHA}. Plaintext lines are refused unless asked for, DES crypt always: it reads 8 characters only.
//
// A wrong password and an unknown user cost the same, a success is remembered without the password,
// and at most a few hashes are computed at a time.
package basic
