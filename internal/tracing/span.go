package tracing

import (
	"context"
	"net"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// The attributes beside those of OpenTelemetry's semantic conventions.
const (
	Allowed = attribute.Key("gatehouse.allowed")
	Reason  = attribute.Key("gatehouse.reason")
	Policy  = attribute.Key("gatehouse.policy")
	Rule    = attribute.Key("gatehouse.rule")
	Route   = attribute.Key("gatehouse.route")
	DryRun  = attribute.Key("gatehouse.dry_run")
	// Status is that of an answer, from the semantic conventions for HTTP.
	Status = attribute.Key("http.response.status_code")
)

// Start starts the span of an exchange or a check, which the caller ends. The context has it, and nothing
// of r is in it but the method and the host: paths and queries may hold credentials.
func Start(ctx context.Context, t trace.Tracer, name string, r *exchange.Request) (context.Context, trace.Span) {
	ctx, span := t.Start(parent(ctx, &r.Header), name, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("http.request.method", method(r.Method())))
		if name := host(r.Authority()); name != "" {
			span.SetAttributes(attribute.String("server.address", name))
		}
	}
	return ctx, span
}

// method leaves out what isn't HTTP's own, as the semantic conventions demand: a client may write any token.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// maxHost is the longest name that DNS knows (RFC 1035 section 2.3.4).
const maxHost = 253

// host is the name without a port. What comes before an @ is a credential (RFC 3986 section 3.2.1).
func host(authority string) string {
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if name, _, err := net.SplitHostPort(authority); err == nil {
		authority = name
	}
	if len(authority) > maxHost {
		return ""
	}
	return authority
}
