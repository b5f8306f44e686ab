// Command bench compares Gatehouse's authorizer with a server that does nothing, by ext_authz, and then a
// processor of the SDK with generated code that does the same, by ext_proc: each through one Envoy and in
// one run, with a table:
//
//	go run ./test/bench [-rounds 15] [-round 1s] [-connections 32] [-ext-authz=false] [-ext-proc=false] [-timing=false] [-profiles folder]
//
// Each row is a process of its own, on a Unix socket, behind a listener of its own with the same filters.
// The rows take turns in rounds, in an order that rotates, so that what else the machine does falls on
// all of them. The same server is there twice: what these two differ by is noise. Throughput and latency are
// ratios within a round; the CPU time that a server's process takes for a request is the steadier figure. With
// -profiles each server also writes a CPU profile, for `go tool pprof`.
//
// Afterwards it compares, for each password hash, the time of an unknown user with that of a wrong password.
package main
