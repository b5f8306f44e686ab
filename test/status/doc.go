// Package status holds the tests that run the cases of translator/kubestatus through `gatehouse run` and a
// real Envoy: what the statuses say is what the traffic does.
package status
