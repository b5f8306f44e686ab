package policytest

import (
	"context"
	"net/http"
	"strconv"
	"strings"

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
	decided  map[string]bool // rules of spec.authorization
}

// NewEngine returns an Engine on a gateway, which stays the caller's.
func NewEngine(g *explain.Gateway) *Engine {
	return &Engine{gateway: g, policies: map[string]bool{}, rules: map[string]bool{}, decided: map[string]bool{}}
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
		Verdict: verdictOf(x.Verdict.Outcome == explain.Forwarded, x.Verdict.Status, grpc), Status: x.Verdict.Status, GRPCStatus: grpc,
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
	if x.Verdict.Rule != "" {
		e.decided[x.Verdict.Rule] = true
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

// Missed lists what no request has reached: security policies, rules of their authorization, and rules of
// routes.
func (e *Engine) Missed() []string {
	var all []string
	for _, name := range e.gateway.SecurityPolicies() {
		if !e.policies[name] {
			all = append(all, "SecurityPolicy "+name)
		}
	}
	for _, name := range e.gateway.AuthorizationRules() {
		policy, rule, _ := strings.Cut(name, "#")
		if e.policies[policy] && !e.decided[name] {
			all = append(all, "SecurityPolicy "+policy+" authorization "+rule)
		}
	}
	for _, r := range e.gateway.Rules() {
		if name := ruleName(&r); !e.rules[name] {
			all = append(all, name)
		}
	}
	return all
}
