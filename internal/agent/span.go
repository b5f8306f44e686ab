package agent

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/tracing"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// beginSpan has each check run in a span of its own, which [Audit.Verdict] ends. name is the protocol.
func beginSpan(tracer trace.Tracer, name string) func(context.Context, *exchange.Request) context.Context {
	return func(ctx context.Context, r *exchange.Request) context.Context {
		ctx, span := tracing.Start(ctx, tracer, name, r)
		if !span.IsRecording() {
			return ctx
		}
		return policy.ObserveRule(ctx, func(rule string) {
			if rule != "" {
				span.SetAttributes(tracing.Rule.String(rule))
			}
		})
	}
}

// endSpan writes a verdict into the span of its check, if there is one. What it writes is the configuration's
// words and a status; nothing is the client's.
func endSpan(ctx context.Context, name, route string, v *exchange.Verdict) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(tracing.Allowed.Bool(v.Allow), tracing.Reason.String(v.Reason),
		tracing.DryRun.Bool(strings.HasPrefix(v.Reason, policy.DryRunPrefix)))
	if name != "" {
		span.SetAttributes(tracing.Policy.String(name))
	}
	if route != "" {
		span.SetAttributes(tracing.Route.String(route))
	}
	if !v.Allow {
		status := statusOf(v)
		span.SetAttributes(tracing.Status.Int(status))
		if status >= http.StatusInternalServerError { // a denial is an answer, not a fault
			span.SetStatus(codes.Error, v.Reason)
		}
	}
	span.End()
}
