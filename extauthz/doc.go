// Package extauthz serves Envoy's external authorization protocol, envoy.service.auth.v3.Authorization,
// over gRPC: it turns a CheckRequest into an [exchange.Request], asks an [exchange.Authorizer], and turns
// its verdict into the CheckResponse that makes Envoy do what the verdict says.
//
//	server := grpc.NewServer()
//	extauthz.NewServer(extauthz.Always(authorizer)).Register(server)
//
// # Every doubt denies
//
// An error, a panic, a missing authorizer, a malformed request and a verdict that can't be expressed
// (a line break in a header value, say) are answered with 503, never with a gRPC error, which would
// leave the decision to the filter's failure mode, and never with an empty CheckResponse, which allows.
//
// # The filter it expects
//
// The Envoy filter should have encode_raw_headers: true. Without it Envoy joins repeated headers by
// commas, and a request in which that hides something (a comma in Authorization, Cookie or Origin) is
// refused. It should also have status_on_error 503 and an explicit timeout; Envoy's defaults are 403 and
// 200 ms. For [exchange.Verdict.RecomputeRoute] the filter needs clear_route_cache: true and
// clear_route_cache_headers naming [RecomputeHeader], and every route should remove that header again.
//
// # What this protocol can't say
//
// Several values of one request header reach the upstream as one line, joined by commas: Envoy has no
// way to add a second line. [exchange.Reply.GRPC] and Detail are not read; Envoy derives the grpc-status
// from the HTTP status (401 is 16, 403 is 7, 429 and 503 are 14).
//
// # The client's address
//
// Envoy sends the address of the TCP peer, which is another proxy wherever there is one in front. Only
// if the filter's context extensions say [ClientAddressKey]: header is [ClientIPHeader] believed, which
// Envoy must then overwrite itself ahead of this filter. In every other case that header is ignored;
// authorizers never see it.
package extauthz
