// Command quickstart runs a whole gateway on one machine and prints what to try.
//
// It starts three programs: the echo backend, the custom processor and `gatehouse run` with the
// manifests of this folder, which starts Envoy. It waits until the gateway is ready, prints curl lines
// with the answer to expect, and stops everything at Ctrl-C.
//
// The manifests are complete as they are. At each start the demo keys in tls.yaml and keys.yaml are
// replaced by fresh ones and the ports by free ones, in a temporary copy.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart --port 9080
package main
