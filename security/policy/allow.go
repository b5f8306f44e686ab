package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// allow is the only place where a verdict becomes an allow. decision is nil without Rego.
func (p *Policy) allow(r *exchange.Request, found *finding, decision *rego.Decision) exchange.Verdict {
	if p.sanitize || decision != nil && decision.Edits() {
		return p.edited(r, found, decision)
	}
	verdict := p.granted(found)
	if misspelt := p.identity.misspelt(r, verdict.Set, verdict.Remove); misspelt != nil {
		verdict.Remove = slices.Concat(verdict.Remove, misspelt)
	}
	return verdict
}

// granted is grant, made once for each token.
func (p *Policy) granted(found *finding) exchange.Verdict {
	switch {
	case found.token != nil && found.user == "" && found.client == "":
		if known := found.token.Prepared(); known != nil {
			return known.Verdict()
		}
		return found.token.Prepare(p.grant(found)).Verdict()
	case found.caller == nil:
		return p.anonymous.Verdict()
	}
	return p.grant(found)
}

// grant is the verdict that follows from who the caller is, whatever the request.
func (p *Policy) grant(found *finding) exchange.Verdict {
	verdict := exchange.Verdict{
		Allow: true, Reason: ReasonAllowed, Set: found.set,
		Remove: p.identity.spellings(found.set), Metadata: p.metadata(found.token, nil),
	}
	if found.token != nil {
		verdict.RecomputeRoute = found.token.RecomputeRoute
	}
	return verdict
}

// edited is the verdict of a request of which a key is taken out, or that Rego changes.
func (p *Policy) edited(r *exchange.Request, found *finding, decision *rego.Decision) exchange.Verdict {
	verdict := exchange.Verdict{Allow: true, Reason: ReasonAllowed, Set: found.set}
	if found.token != nil {
		verdict.RecomputeRoute = found.token.RecomputeRoute
	}
	removals := p.withoutKeys(r, &verdict)
	if decision == nil {
		decision = &rego.Decision{}
	}
	verdict.Set = overridden(verdict.Set, decision)
	verdict.Remove = withRemovals(p.identity.remove(r, verdict.Set), verdict.Set, removals)
	verdict.Remove = withRemovals(verdict.Remove, verdict.Set, decision.Remove)
	verdict.Remove = withRemovals(verdict.Remove, verdict.Set, variants(r, decision.Headers))
	verdict.ResponseSet = p.withoutCORS(decision.ResponseHeaders)
	verdict.Metadata = p.metadata(found.token, decision.Metadata)
	return verdict
}

// metadata keeps a provider's name for its payload, and the program's names for what is its own, whatever
// Rego writes.
func (p *Policy) metadata(token *jwt.Token, decided map[string]any) map[string]any {
	var payload map[string]any
	if token != nil {
		payload = token.Metadata
	}
	switch {
	case len(decided)+len(p.own) == 0:
		return payload
	case len(decided)+len(payload) == 0:
		return p.own
	}
	all := make(map[string]any, len(decided)+len(payload)+len(p.own))
	maps.Copy(all, decided)
	maps.Copy(all, payload)
	maps.Copy(all, p.own)
	return all
}

// identify returns the headers that tell the upstream who is calling. They may be shared.
func (p *Policy) identify(found *finding) []exchange.Field {
	var set []exchange.Field
	if found.token != nil {
		set = found.token.Headers
	}
	if p.usernameHeader != "" && found.user != "" && !contains(set, p.usernameHeader) {
		// The token's fields are shared: a full slice makes append copy.
		set = append(slices.Clip(set), exchange.Field{Name: p.usernameHeader, Value: found.user})
	}
	if p.clientHeader != "" && found.client != "" && !contains(set, p.clientHeader) {
		set = append(slices.Clip(set), exchange.Field{Name: p.clientHeader, Value: found.client})
	}
	return set
}

// withoutKeys takes API keys out of what the upstream will see, if the policy asks for it, and returns
// the headers to remove.
func (p *Policy) withoutKeys(r *exchange.Request, verdict *exchange.Verdict) (removals []string) {
	if !p.sanitize {
		return nil
	}
	set, removals := p.keys.Sanitize(r)
	verdict.Set = append(slices.Clip(verdict.Set), set...)
	return removals
}

// withoutCORS drops what a policy's cors part answers for: a second Access-Control-Allow-Origin makes
// browsers refuse both.
func (p *Policy) withoutCORS(fields []exchange.Field) []exchange.Field {
	if p.cors == nil {
		return fields
	}
	return slices.DeleteFunc(fields, func(f exchange.Field) bool {
		return strings.HasPrefix(strings.ToLower(f.Name), "access-control-")
	})
}

// overridden lets Rego replace or remove what authentication would set: its author is the policy's.
func overridden(set []exchange.Field, decision *rego.Decision) []exchange.Field {
	if len(decision.Headers)+len(decision.Remove) == 0 {
		return set
	}
	kept := slices.DeleteFunc(slices.Clone(set), func(f exchange.Field) bool {
		return contains(decision.Headers, f.Name) || slices.ContainsFunc(decision.Remove, func(name string) bool { return strings.EqualFold(name, f.Name) })
	})
	return append(kept, decision.Headers...)
}

// withRemovals adds names to remove. What is set stays: Envoy removes last (S15).
func withRemovals(remove []string, set []exchange.Field, names []string) []string {
	for _, name := range names {
		if lower := strings.ToLower(name); !contains(set, lower) && !slices.Contains(remove, lower) {
			remove = append(remove, lower)
		}
	}
	return remove
}
