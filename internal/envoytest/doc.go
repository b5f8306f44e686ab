// Package envoytest runs a real Envoy for tests. Gatehouse's behaviour is defined by what Envoy makes
// of it, so tests never stand in a fake proxy and never skip: without a binary they fail and say how
// to get one.
//
// A test writes a bootstrap (YAML or JSON) without an admin block; [Start] adds one on a Unix socket.
package envoytest
