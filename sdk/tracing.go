package sdk

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// scope names the instrumentation, as OpenTelemetry wants: by its package.
const scope = "github.com/gatehouse-proxy/gatehouse/sdk"

func provider(p trace.TracerProvider) trace.TracerProvider {
	if p == nil {
		return otel.GetTracerProvider()
	}
	return p
}

// propagator reads traceparent and tracestate, whatever the program's global propagator is: the proxy
// writes these.
var propagator propagation.TraceContext

// parent returns ctx with the remote span that a span of the exchange is a child of. Envoy puts its own
// into the gRPC metadata; it is nearer than the request's, which Envoy changes only later.
func parent(ctx context.Context, h *exchange.Header) context.Context {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		inner := propagator.Extract(ctx, incoming(md))
		if trace.SpanContextFromContext(inner).IsValid() {
			return inner
		}
	}
	return propagator.Extract(ctx, (*carrier)(h))
}

type incoming metadata.MD

func (m incoming) Get(key string) string {
	if v := metadata.MD(m).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (incoming) Set(string, string) {}
func (incoming) Keys() []string     { return nil }

type carrier exchange.Header

func (c *carrier) Get(key string) string { return (*exchange.Header)(c).Get(key) }
func (*carrier) Set(string, string)      {}
func (*carrier) Keys() []string          { return nil }

// begin starts a span. Attributes are what can't hold a credential: no path, no query.
func begin(ctx context.Context, t trace.Tracer, name string, r *exchange.Request) (context.Context, trace.Span) {
	ctx, span := t.Start(parent(ctx, &r.Header), name, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("http.request.method", r.Method()), attribute.String("server.address", r.Authority()))
	}
	return ctx, span
}

func (s *settings) trace() trace.Tracer { return s.tracer.Tracer(scope) }

// tracedProcessor makes a span for every exchange. It ends when the exchange is over, not with Process.
type tracedProcessor struct {
	exchange.Processor

	tracer trace.Tracer
}

// Process implements [exchange.Processor].
func (p tracedProcessor) Process(ctx context.Context, x *exchange.Exchange) error {
	ctx, span := begin(ctx, p.tracer, "ext_proc", x.Request)
	x.OnComplete(func(o exchange.Outcome) {
		if o.Status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", o.Status))
		}
		// The text of an error may quote what a client sent; its kind can't.
		switch {
		case o.Err != nil && !errors.Is(o.Err, exchange.ErrEnded), errors.Is(o.Err, exchange.ErrTooSlow):
			span.SetStatus(codes.Error, causeOf(o.Err))
		case o.Reply != nil && o.Reply.Status() >= http.StatusInternalServerError:
			span.SetStatus(codes.Error, "")
		}
		span.End()
	})
	return p.Processor.Process(ctx, x)
}

// ProcessLocalReply implements [exchange.LocalReplyProcessor]. There is no request to make a span of.
func (p tracedProcessor) ProcessLocalReply(ctx context.Context, resp *exchange.Response) error {
	return exchange.ProcessLocalReply(ctx, p.Processor, resp)
}

// Needs implements [exchange.NeedsProcessor].
func (p tracedProcessor) Needs() exchange.Needs { return exchange.NeedsOf(p.Processor) }

func causeOf(err error) string {
	for cause, name := range causes {
		if errors.Is(err, cause) {
			return name
		}
	}
	return "error"
}

// tracedAuthorizer makes a span for every check.
type tracedAuthorizer struct {
	exchange.Authorizer

	tracer trace.Tracer
}

// Check implements [exchange.Authorizer].
func (a tracedAuthorizer) Check(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	ctx, span := begin(ctx, a.tracer, "ext_authz", r)
	defer span.End()
	v, err := a.Authorizer.Check(ctx, r)
	span.SetAttributes(attribute.Bool("gatehouse.allowed", err == nil && v.Allow))
	if v.Reason != "" {
		span.SetAttributes(attribute.String("gatehouse.reason", v.Reason))
	}
	var reply *exchange.Reply
	if err != nil && !errors.As(err, &reply) {
		span.SetStatus(codes.Error, "error")
	}
	return v, err
}
