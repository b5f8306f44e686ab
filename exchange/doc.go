// Package exchange holds the types that every host and every extension share: a request and its
// response as a proxy sees them, the verdict about a request, and the two kinds of extension,
// [Processor] and [Authorizer]. It uses the standard library only and knows neither gRPC nor the
// process it lives in, so the same extension runs behind ext_authz, behind ext_proc, or inside a proxy.
//
// Authors of processors import package sdk, which has all of it under one name.
package exchange
