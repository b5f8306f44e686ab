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

// Outcome is a decision and how it came about.
type Outcome struct {
	Decision Decision
	// Input is what the policy saw, the parts that its modules mention; Result is what it made of it. Both
	// may be shared with other requests. They are nil where it didn't come so far.
	Input, Result ast.Value
	// Cached reports that an earlier request, equal in every part that the policy reads, was evaluated.
	Cached bool
}

// Decide evaluates the policy for one request. caller is nil for an anonymous one. The error is one of
// this package's, and denies.
func (p *Policy) Decide(ctx context.Context, r *exchange.Request, caller *identity.Identity) (Decision, error) {
	outcome, err := p.Evaluate(ctx, r, caller)
	return outcome.Decision, err
}

// Evaluate is Decide with what a log of decisions wants to know. The decision is the caller's own.
func (p *Policy) Evaluate(ctx context.Context, r *exchange.Request, caller *identity.Identity) (Outcome, error) {
	if p.cache == nil {
		return p.compute(ctx, r, caller)
	}
	var room [512]byte
	key, usable := p.key(room[:0], r, caller)
	if !usable {
		return p.compute(ctx, r, caller)
	}
	whose := caller
	if !p.readsClaims {
		whose = nil
	}
	if outcome, found := p.cache.get(key, whose); found {
		return outcome, nil
	}
	outcome, err := p.compute(ctx, r, caller)
	if err == nil {
		p.cache.put(key, whose, &outcome)
	}
	return outcome, err
}

func (p *Policy) compute(ctx context.Context, r *exchange.Request, caller *identity.Identity) (o Outcome, err error) {
	now := time.Now()
	limit := &deadline{start: now, limit: p.timeout}
	if end, ok := ctx.Deadline(); ok {
		limit.limit = min(limit.limit, end.Sub(now))
	}
	input, err := p.input(r, caller)
	if err != nil {
		return o, err
	}
	o.Input = input.Value
	if o.Result, err = p.evaluate(ctx, input, now, limit); err != nil {
		return o, err
	}
	o.Decision, err = decisionOf(o.Result)
	return o, err
}

// evaluate answers the decision. A builtin at work can't be stopped; what it found too late doesn't count either.
func (p *Policy) evaluate(ctx context.Context, input *ast.Term, now time.Time, limit *deadline) (ast.Value, error) {
	var decision ast.Value
	var err error
	if p.direct != nil && input != nil {
		decision, err = p.direct.evaluate(ctx, p, input, now, limit)
	} else {
		decision, err = p.whole(ctx, input, now, limit)
	}
	switch {
	case limit.Cancelled():
		return nil, ErrTimeout
	case err != nil:
		return nil, ErrFault
	case decision == nil:
		return nil, ErrUndefined
	}
	return decision, nil
}

// whole evaluates the query of the decision's path.
func (p *Policy) whole(ctx context.Context, input *ast.Term, now time.Time, limit *deadline) (ast.Value, error) {
	var decision ast.Value
	results := 0
	err := p.topdown(p.query, input, now, limit).Iter(ctx, func(result topdown.QueryResult) error {
		if term := result[decisionVar]; term != nil {
			decision = term.Value
		}
		results++
		return nil
	})
	if results > 1 || results == 1 && decision == nil {
		return nil, ErrFault
	}
	return decision, err
}

// topdown is called without rego.Eval, which would start a goroutine for each request to watch the context.
func (p *Policy) topdown(query ast.Body, input *ast.Term, now time.Time, limit *deadline) *topdown.Query {
	return topdown.NewQuery(query).
		WithCompiler(p.compiler).WithStore(p.store).WithTransaction(p.txn).
		WithInput(input).WithTime(now).WithCancel(limit).
		WithMetrics(metrics.NoOp()).WithStrictBuiltinErrors(true)
}
