// Package jwt verifies bearer tokens (RFC 7519, RFC 7515, RFC 8725) the way a gateway needs it: strictly,
// in bounded time, and without waiting for the network.
//
//	fetcher := jwt.NewFetcher(jwt.FetcherOptions{})   // one for the process
//	verifier, err := jwt.Compile(spec, data, fetcher) // one for each policy
//	token, err := verifier.Verify(request)
//
// The verifier is small code of its own over Go's crypto packages. General-purpose libraries accept
// tokens that two readers may understand in two ways: duplicate members, unknown crit, an alg that isn't
// the key's, line breaks and padding in base64, data after the payload. Here each of these is refused.
//
// Key sets come inline or from a [Fetcher], which has them before the first request and keeps a good
// one while its source is down, up to a hard age.
package jwt
