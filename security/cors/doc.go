// Package cors is the server side of the CORS protocol (Fetch standard, section 3.3): which origins a
// policy allows, the answer to a preflight, and the headers of a simple response.
//
// The work may be divided with Envoy's cors filter. [OriginPattern] translates an entry of
// allowOrigins for that filter; the authorizer matches by the very same pattern.
package cors
