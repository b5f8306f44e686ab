// Package proxy finds, checks and runs Envoy as a child process.
//
// A [Process] keeps one Envoy alive: it restarts one that ends, and stops it without cutting off
// requests. It is built so that no Envoy is ever left behind, whatever ends the program: a second
// Envoy on the same ports starts without an error and silently takes half of the traffic
// (SO_REUSEPORT), with a configuration nobody updates any more.
//
//	Run ──▶ start ──▶ running ──ctx ends──▶ drain ──▶ SIGTERM ──▶ wait ──▶ SIGKILL ──▶ Run returns
//	          ▲          │
//	          └─back-off─┘ Envoy ended by itself
package proxy
