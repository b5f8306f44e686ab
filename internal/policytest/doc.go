// Package policytest runs requests with expected verdicts through the policies of manifests: in process,
// by the real policy engine on the route that Envoy would take, and through a real Envoy.
package policytest
