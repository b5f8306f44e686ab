package sdk

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/tracing"
)

// scope names the instrumentation, as OpenTelemetry wants: by its package.
const scope = "github.com/gatehouse-proxy/gatehouse/sdk"

func provider(p trace.TracerProvider) trace.TracerProvider {
	if p == nil {
		return otel.GetTracerProvider()
	}
	return p
}

func (s *settings) trace() trace.Tracer { return s.tracer.Tracer(scope) }

// tracedProcessor makes a span for every exchange. It ends when the exchange is over, not with Process.
type tracedProcessor struct {
	exchange.Processor

	tracer trace.Tracer
}

// Process implements [exchange.Processor].
func (p tracedProcessor) Process(ctx context.Context, x *exchange.Exchange) error {
	ctx, span := tracing.Start(ctx, p.tracer, "ext_proc", x.Request)
	x.OnComplete(func(o exchange.Outcome) {
		if o.Status != 0 {
			span.SetAttributes(tracing.Status.Int(o.Status))
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
	ctx, span := tracing.Start(ctx, a.tracer, "ext_authz", r)
	defer span.End()
	v, err := a.Authorizer.Check(ctx, r)
	span.SetAttributes(tracing.Allowed.Bool(err == nil && v.Allow))
	if v.Reason != "" {
		span.SetAttributes(tracing.Reason.String(v.Reason))
	}
	var reply *exchange.Reply
	if err != nil && !errors.As(err, &reply) {
		span.SetStatus(codes.Error, "error")
	}
	return v, err
}
