// Package handbook holds the tests that run the operator handbook's example manifests, as they are
// printed, through `gatehouse run` and a real Envoy.
//
// The examples listen on port 80 and name cluster addresses (7.7.7.7 and so on), so each test runs in a
// network namespace of its own, where port 80 is free and these addresses are on the loopback interface.
// That needs Linux and either root or user namespaces; without them the tests fail and say so.
package handbook
