// Package tracing makes the OpenTelemetry spans of exchanges and checks: children of the proxy's, without
// anything in them that could be a credential.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// w3c reads traceparent and tracestate, whatever the program's global propagator is. Baggage is read by
// nobody: it is a client's text.
var w3c propagation.TraceContext

// fields looks a header up; a header that isn't there exactly once is "".
type fields func(name string) string

// parent returns ctx with the remote span that a span of the exchange is a child of. Envoy puts its own
// into the gRPC metadata, in the format of its tracer; it is nearer than the request's, which Envoy
// changes only later and which any client can write.
func parent(ctx context.Context, h *exchange.Header) context.Context {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if found := extract(ctx, func(name string) string { return single(md.Get(name)) }); found != nil {
			return found
		}
	}
	found := extract(ctx, func(name string) string {
		if value, lines := h.Lookup(name); lines == 1 {
			return value
		}
		return ""
	})
	if found != nil {
		return found
	}
	return ctx
}

// extract returns nil where there is no span.
func extract(ctx context.Context, get fields) context.Context {
	found := w3c.Extract(ctx, get)
	if trace.SpanContextFromContext(found).IsValid() {
		return found
	}
	if span := b3(get); span.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, span)
	}
	return nil
}

func single(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return ""
}

// Get implements [propagation.TextMapCarrier].
func (f fields) Get(name string) string { return f(name) }

// Set implements [propagation.TextMapCarrier]; nothing is written.
func (fields) Set(string, string) {}

// Keys implements [propagation.TextMapCarrier].
func (fields) Keys() []string { return nil }
