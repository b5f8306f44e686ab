package policytest

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
)

// Runner sends requests somewhere.
type Runner interface {
	Run(ctx context.Context, r *explain.Request) (*Result, error)
}

// Engine is the Runner in process. It notes what it passes, for [Engine.Missed].
type Engine struct {
	gateway  *explain.Gateway
	policies map[string]bool
	rules    map[string]bool
}

// NewEngine returns an Engine on a gateway, which stays the caller's.
func NewEngine(g *explain.Gateway) *Engine {
	return &Engine{gateway: g, policies: map[string]bool{}, rules: map[string]bool{}}
}

// Run implements [Runner].
func (e *Engine) Run(ctx context.Context, r *explain.Request) (*Result, error) {
	x, err := e.gateway.Explain(ctx, r)
	if err != nil {
		return nil, err
	}
	grpc := ""
	if x.Verdict.GRPCStatus != nil {
		grpc = strconv.Itoa(*x.Verdict.GRPCStatus)
	}
	out := &Result{
		Verdict: verdictOf(x.Verdict.Outcome == explain.Forwarded, x.Verdict.Status, grpc), Status: x.Verdict.Status,
		Reason: x.Verdict.Reason, Upstream: x.Upstream, Response: http.Header{},
		Uncertain: len(x.Processors) > 0 || len(x.Filters) > 0,
	}
	if x.Route != nil && x.Route.Kind != "" {
		out.Route = x.Route.Namespace + "/" + x.Route.Name
		e.rules[ruleName(x.Route)] = true
	}
	for _, p := range x.Policies {
		if p.Kind == "SecurityPolicy" && p.InForce {
			out.Policy = p.Namespace + "/" + p.Name
			e.policies[out.Policy] = true
		}
	}
	for name, value := range x.Verdict.ResponseHeaders {
		out.Response.Set(name, value)
	}
	if x.Verdict.Location != "" {
		out.Response.Set("Location", x.Verdict.Location)
	}
	return out, nil
}

func ruleName(r *explain.Route) string {
	return r.Kind + " " + r.Namespace + "/" + r.Name + " rule " + strconv.Itoa(r.Rule)
}

// Missed lists the security policies and the rules of routes that no request has reached.
func (e *Engine) Missed() (policies, rules []string) {
	for _, name := range e.gateway.SecurityPolicies() {
		if !e.policies[name] {
			policies = append(policies, name)
		}
	}
	for _, r := range e.gateway.Rules() {
		if name := ruleName(&r); !e.rules[name] {
			rules = append(rules, name)
		}
	}
	return policies, rules
}
