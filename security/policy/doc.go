// Package policy compiles a security policy and decides about requests with it. It runs in any Go
// program: it knows neither gRPC nor Kubernetes nor Envoy.
//
//	p, err := policy.Compile(spec, policy.Deps{Data: data, JWKS: fetcher})
//	if err != nil {
//		p = policy.Unusable(spec.Name, err.Error()) // denies everything with 503
//	}
//	defer p.Close()
//	verdict, err := p.Check(ctx, request)
//
// A request passes these stages; the first that objects ends it:
//
//	CORS preflight? ─▶ authenticate (basic, JWT, API key) ─▶ authorize (rules) ─▶ Rego ─▶ allow, with mutations
//
// Every doubt is a denial: 401 for credentials, 403 for a computed no, 503 for whatever can't be
// decided. Bodies and headers of a denial don't tell which check failed; [exchange.Verdict.Reason],
// which is for logs and metrics, does.
package policy
