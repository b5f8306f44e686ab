package policy

import (
	"context"
	"net/http"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

var _ exchange.Authorizer = (*Policy)(nil)

// Check decides about one request. The error is always nil: whatever goes wrong is a verdict that
// denies. The verdict's slices and its metadata may be shared with other requests: they must not be changed
// in place.
func (p *Policy) Check(ctx context.Context, r *exchange.Request) (verdict exchange.Verdict, _ error) {
	defer func() {
		// One request's panic denies that request. Its text may quote a credential, so it isn't logged.
		if recover() != nil {
			p.log.Error("policy panicked; request denied")
			verdict = deny(http.StatusServiceUnavailable, ReasonPanic)
		}
	}()
	if p.cors != nil && cors.IsPreflight(r) {
		return p.preflight(r), nil
	}
	if p.unusable != "" {
		verdict = deny(http.StatusServiceUnavailable, ReasonUnusable)
	} else {
		verdict = p.decide(ctx, r)
	}
	if p.dryRun && !verdict.Allow {
		verdict = p.dry(r, verdict)
	}
	if p.cors != nil && p.corsHeaders {
		p.mark(r, &verdict)
	}
	return verdict, nil
}

// preflight comes before authentication, because browsers send preflights without credentials (Fetch
// section 3.2.3). It ends here in either case: the answer is never the upstream's.
func (p *Policy) preflight(r *exchange.Request) exchange.Verdict {
	reply, allowed := p.cors.Preflight(r)
	if !allowed {
		return exchange.Verdict{Reply: reply, Reason: ReasonPreflightDenied}
	}
	return exchange.Verdict{Reply: reply, Reason: ReasonPreflight}
}

// decide runs the stages in their order. Rules come after authentication so that an outsider can't tell
// allowed addresses from others by the status alone.
func (p *Policy) decide(ctx context.Context, r *exchange.Request) exchange.Verdict {
	if len(p.identity.names) > 0 && namedByConnection(r, p.identity.has) {
		return deny(http.StatusForbidden, ReasonConnectionNames)
	}
	found := p.authenticate(ctx, r)
	if found.outcome != passed {
		return p.refuse(found)
	}
	found.set = p.identify(&found)
	if p.geo != nil && !p.geo.Ready() {
		return deny(http.StatusServiceUnavailable, ReasonGeoMissing)
	}
	if p.rules != nil {
		allow, by := p.rules.Decide(ctx, rules.Input{Request: r, Caller: found.caller, Set: found.set})
		tellRule(ctx, by)
		if !allow {
			return deny(http.StatusForbidden, ruleReason(by))
		}
	}
	if p.opa == nil {
		return p.allow(r, &found, nil)
	}
	decision, err := p.opa.Decide(ctx, r, found.caller)
	switch {
	case err != nil:
		return opaFault(err)
	case !decision.Allowed:
		return p.opaDenies(&decision)
	case namedByConnection(r, func(name string) bool { return contains(decision.Headers, name) }):
		return deny(http.StatusForbidden, ReasonConnectionNames)
	}
	return p.allow(r, &found, &decision)
}

// ruleReason leaves out the rule's name: reasons are metric labels, and a policy may have a thousand rules.
func ruleReason(by string) string {
	if by == "" {
		return ReasonDefaultDenied
	}
	return ReasonRuleDenied
}

// dry lets a denied request pass as an anonymous one.
func (p *Policy) dry(r *exchange.Request, denied exchange.Verdict) exchange.Verdict {
	p.log.Info("dry run: would deny", "reason", denied.Reason, "status", denied.Reply.Status())
	verdict := exchange.Verdict{Allow: true, Reason: DryRunPrefix + denied.Reason, Metadata: p.own}
	removals := p.withoutKeys(r, &verdict)
	verdict.Remove = withRemovals(p.identity.remove(r, verdict.Set), verdict.Set, removals)
	return verdict
}

// mark puts the CORS headers on a verdict, so that scripts can read denials too (S38).
func (p *Policy) mark(r *exchange.Request, verdict *exchange.Verdict) {
	fields := p.cors.Headers(p.cors.Origin(r))
	if verdict.Allow {
		if len(verdict.ResponseSet) > 0 {
			fields = slices.Concat(verdict.ResponseSet, fields)
		}
		verdict.ResponseSet = fields
		return
	}
	header := verdict.Reply.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	for _, f := range fields {
		header.Set(f.Name, f.Value)
	}
	reply := *verdict.Reply
	reply.Header = header
	verdict.Reply = &reply
}
