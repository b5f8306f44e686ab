// Package extproc serves Envoy's external processing protocol, envoy.service.ext_proc.v3.ExternalProcessor,
// over gRPC. It turns one stream of messages, in whatever order the filter's modes make Envoy send them,
// into one call of an [exchange.Processor].
//
//	server := grpc.NewServer()
//	extproc.NewServer(processor).Register(server)
//
// # What the engine owes Envoy
//
// Every message has one answer (in FULL_DUPLEX_STREAMED, every byte), in the order of arrival within
// its direction, and of a form that the direction's mode allows; anything else Envoy calls spurious and
// fails the request, or worse lets it pass. The engine owns these rules: a processor can't break them.
//
// A stream is closed as early as no byte can be lost by it. In FULL_DUPLEX_STREAMED Envoy drops the
// chunks it has sent when a stream closes, without an error, so there the engine goes on echoing until
// the direction has ended.
//
// # Failing closed
//
// An error, a panic or a passed deadline is answered by a reply (503, see [WithFailure]), as a gRPC
// error or an OK close would leave the decision to the filter's failure mode, or let the request pass
// unprocessed. Only when the response's headers are out is the stream closed with an error, which makes
// Envoy reset the exchange, provided that it still has a message to wait for: with response body mode
// NONE it has none.
//
// What a processor makes of an error doesn't matter where a body is concerned: a need that the modes
// don't meet, and a function over a body that fails, stay the verdict.
//
// # Bodies
//
// A body that is read is held: Envoy has not sent the headers on, so that a denial leaks nothing, and
// what was held is sent after them. Functions that watch or rewrite a body run as coroutines over the
// chunks as they pass. What a mode serves:
//
//	                        read   Observe   Transform   Set
//	NONE                    -      -         -           with the headers (request)
//	STREAMED                -      yes       (1)         with the headers (request)
//	BUFFERED                yes    yes       yes         yes
//	BUFFERED_PARTIAL        (2)    -         -           with the headers (request)
//	FULL_DUPLEX_STREAMED    yes    yes       yes         yes
//
// (1) where the filter is known to send trailers; a rewritten end that meets trailers is a failure, as
// there is no chunk left for it. (2) where the whole body fits Envoy's buffer, else 413.
//
// Where the filter allows overrides, each exchange gets the mode that it needs, and NONE if it needs
// none. The filter says so itself in initial metadata (x-gatehouse-extproc: v=1; override), or an option
// does ([WithFilter]). It can't be found out: Envoy ignores a forbidden override without a word.
//
// Where a processor declares what it needs ([exchange.Declare]), exchanges of a filter that is known to forbid
// it fail from the first one on, also those that wouldn't need it, and the log says what to change.
//
// In BUFFERED a body has ended before its trailers come. In observability mode bodies can be observed, if
// the filter tells its modes. Those of upgrades (CONNECT, WebSocket) can't be touched, and an upgrade that
// the modes would break is refused: any with FULL_DUPLEX_STREAMED, and one that is waited for
// ([exchange.Exchange.Next]) with a buffered request.
//
// # The filter it expects
//
// Any body mode but GRPC works. Request headers must be sent (the default), since a processor begins
// with them; response headers too, else [exchange.Exchange.Next] ends with ErrEnded. A stream whose first
// message is a response passes unchanged, as an earlier filter answered the request, but for an
// [exchange.LocalReplyProcessor]. Recommended: body modes NONE, trailers SKIP, allow_mode_override,
// message_timeout of at least 1 s. With those, messages that nobody touches keep their content-length and
// cost two messages.
//
// What the protocol leaves out the filter can say in initial metadata: x-gatehouse-extproc, "v=1", and then,
// each after a semicolon:
//
//	override               allow_mode_override is set, without a list of allowed modes
//	mutate-all             mutation_rules allow edits of every header
//	trailers               both trailer modes are SEND
//	timeout=2s             message_timeout: processors get three quarters of it
//	max-timeout=10s        max_message_timeout: what ExtendTimeout may ask for
//	keep-alive             a slow processor may be given max-timeout without asking for it
//	untyped=ns1,ns2        metadata_options.receiving_namespaces.untyped
//	typed=ns3              metadata_options.receiving_namespaces.typed
//	request-body=STREAMED  the body modes, in observability mode, also response-body
//
// What is not said is taken to be off, and what is said must be so.
package extproc
