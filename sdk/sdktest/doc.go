// Package sdktest runs a processor behind Envoy's ext_proc filter in a test: an emulated filter in the
// test's own process, or a real Envoy. Both speak the real gRPC protocol to the processor's real server.
//
//	func TestGuard(t *testing.T) {
//		r := sdktest.Run(t, sdk.ProcessorFunc(guard), sdktest.Recommended(), sdktest.Request{
//			Header: http.Header{"x-api-key": {"secret"}},
//			Body:   []string{"one,", "two"},
//		})
//		if r.Client.Status != 200 || r.Upstream.Header.Get("x-checked") != "yes" {
//			t.Error(r)
//		}
//	}
//
// A [Filter] is the filter's configuration, a [Request] is what client and upstream send and when, and a
// [Result] is what both of them saw. [Envoy] has the same Run, with equal results: each exchange of the
// conformance table (docs/conformance/extproc.md) runs both ways, and [Diff] must find nothing.
//
// # What is emulated
//
// All body modes but GRPC, header and trailer modes, mode overrides and their rules, header and body
// mutations with mutation rules and content-length handling, message timeouts and their extension, spurious
// and ignored answers, immediate and streamed replies, failure modes, early close, attributes, metadata of all
// kinds, configuration by route and virtual host, and the buffer limit. Client and upstream speak HTTP/2 or,
// both, HTTP/1.1, with upgrades and CONNECT; the route may try again, and what is under way is bounded as in
// Envoy.
//
// A second filter may stand behind the first ([Inner]), and Envoy's compressor and decompressor beside it
// ([Codec]). All of them share one message and one buffer, as in Envoy: where Envoy loses a body between two
// filters, the emulator does.
//
// # Timing
//
// What Envoy does with a body depends on whether it is there before the headers are answered. A test says so
// by a [Pace]; the default is that it is.
package sdktest
