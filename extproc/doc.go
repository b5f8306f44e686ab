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
// # The filter it expects
//
// Any body mode but GRPC works. Request headers must be sent (the default), since a processor begins
// with them; response headers too, else [exchange.Exchange.Next] ends with ErrEnded. A stream whose first message is a
// response passes unchanged: an earlier filter answered the request. Recommended: body modes NONE,
// trailers SKIP, message_timeout of at least 1 s.
package extproc
