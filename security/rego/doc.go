// Package rego decides about requests with Open Policy Agent's language, inside the process.
//
// A policy written for opa-envoy-plugin finds the input it knows:
//
//	input.attributes.request.http   id, method, path, host, scheme, protocol, size, headers, body
//	input.attributes.request.time   RFC 3339
//	input.attributes.source         address.socketAddress.{address,portValue}: the client; principal
//	input.attributes.destination    address.socketAddress.{address,portValue}
//	input.attributes.contextExtensions
//	input.parsed_path, input.parsed_query, input.parsed_body, input.truncated_body, input.version
//
// and two things more:
//
//	input.identity   method, username, provider, claims: what was verified; {} for an anonymous caller
//	input.peer       address, port: the TCP peer, perhaps another proxy
//
// Header names are lower case; repeated ones are joined by "," (cookie: "; "). parsed_path always is
// the normalised path: a request whose path somebody could read differently is denied before a policy
// that reads the path sees it.
//
// Only the parts that the modules mention are built. The decision is a boolean or an object, see
// [Decision]. Undefined is a denial; an error, a timeout or any other value is a fault, which denies too.
package rego
