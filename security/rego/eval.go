package rego

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// Decide evaluates the policy for one request. caller is nil for an anonymous one. The error is one of
// this package's, and denies.
func (p *Policy) Decide(ctx context.Context, r *exchange.Request, caller *identity.Identity) (Decision, error) {
	now := time.Now()
	limit := &deadline{at: now.Add(p.timeout)}
	if end, ok := ctx.Deadline(); ok && end.Before(limit.at) {
		limit.at = end
	}
	input, err := p.input(r, caller)
	if err != nil {
		return Decision{}, err
	}
	value, err := p.evaluate(ctx, input, now, limit)
	if err != nil {
		return Decision{}, err
	}
	return decisionOf(value)
}

// evaluate calls topdown itself: rego.Eval would start a goroutine for each request to watch the context.
func (p *Policy) evaluate(ctx context.Context, input *ast.Term, now time.Time, limit *deadline) (ast.Value, error) {
	var decision ast.Value
	results := 0
	err := topdown.NewQuery(p.query).
		WithCompiler(p.compiler).WithStore(p.store).WithTransaction(p.txn).
		WithInput(input).WithTime(now).WithCancel(limit).
		WithMetrics(metrics.NoOp()).WithStrictBuiltinErrors(true).
		Iter(ctx, func(result topdown.QueryResult) error {
			if term := result[decisionVar]; term != nil {
				decision = term.Value
			}
			results++
			return nil
		})
	switch {
	// A builtin at work can't be stopped; what it found too late doesn't count either.
	case limit.Cancelled():
		return nil, ErrTimeout
	case err != nil:
		return nil, ErrFault
	case results == 0:
		return nil, ErrUndefined
	case results > 1 || decision == nil:
		return nil, ErrFault
	}
	return decision, nil
}
