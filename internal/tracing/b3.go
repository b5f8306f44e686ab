package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// b3 reads the headers of Zipkin's B3 propagation (github.com/openzipkin/b3-propagation), which Envoy's Zipkin
// tracer writes: the single one, else the several ones. The result is invalid where they name no span.
func b3(get fields) trace.SpanContext {
	if one := get("b3"); one != "" {
		parts := strings.SplitN(one, "-", 4)
		if len(parts) < 2 {
			return trace.SpanContext{} // a decision without a span
		}
		sampled := len(parts) > 2 && (parts[2] == "1" || parts[2] == "d")
		return remote(parts[0], parts[1], sampled)
	}
	sampled := get("x-b3-sampled")
	return remote(get("x-b3-traceid"), get("x-b3-spanid"), sampled == "1" || sampled == "true" || get("x-b3-flags") == "1")
}

// remote makes a span of ids in hexadecimal. Those of a trace may have 64 bits.
func remote(traceID, spanID string, sampled bool) trace.SpanContext {
	if len(traceID) == 16 {
		traceID = "0000000000000000" + traceID
	}
	config := trace.SpanContextConfig{Remote: true}
	var err error
	if config.TraceID, err = trace.TraceIDFromHex(traceID); err != nil {
		return trace.SpanContext{}
	}
	if config.SpanID, err = trace.SpanIDFromHex(spanID); err != nil {
		return trace.SpanContext{}
	}
	config.TraceFlags = config.TraceFlags.WithSampled(sampled)
	return trace.NewSpanContext(config)
}
