package policy

import (
	"fmt"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func (r *resolver) authorization(spec *egv1alpha1.Authorization) *config.Authorization {
	if spec == nil {
		return nil
	}
	out := &config.Authorization{}
	if spec.DefaultAction != nil {
		out.DefaultAllow = *spec.DefaultAction == egv1alpha1.AuthorizationActionAllow
	}
	for i := range spec.Rules {
		field, rule := fmt.Sprintf("spec.authorization.rules[%d]", i), &spec.Rules[i]
		converted := config.Rule{Name: fmt.Sprintf("rule-%d", i), Allow: rule.Action == egv1alpha1.AuthorizationActionAllow}
		if rule.Name != nil {
			converted.Name = *rule.Name
		}
		if rule.CEL != nil {
			converted.CEL = string(*rule.CEL)
		}
		if rule.Operation != nil {
			r.operation(field+".operation", rule.Operation, &converted)
		}
		if rule.Principal != nil {
			r.principal(field+".principal", rule.Principal, &converted)
		}
		out.Rules = append(out.Rules, converted)
	}
	return out
}

// operation refuses an empty one: it would match every request.
func (r *resolver) operation(field string, spec *egv1alpha1.Operation, out *config.Rule) {
	if len(spec.Methods) == 0 && spec.Path == nil {
		r.fault("%s: set methods or path", field)
	}
	for _, method := range spec.Methods {
		out.Methods = append(out.Methods, string(method))
	}
	if spec.Path == nil {
		return
	}
	out.Path = &config.PathMatch{Type: "PathPrefix", Value: spec.Path.Value, Invert: deref(spec.Path.Invert)}
	if spec.Path.Type != nil {
		out.Path.Type = string(*spec.Path.Type)
	}
	if out.Path.Value == "" {
		out.Path.Value = "/"
	}
}

// principal refuses an empty one, as Envoy Gateway does: it would match every caller.
func (r *resolver) principal(field string, spec *egv1alpha1.Principal, out *config.Rule) {
	if len(spec.ClientCIDRs)+len(spec.Headers)+len(spec.ClientIPGeoLocations) == 0 && spec.JWT == nil {
		r.fault("%s: set clientCIDRs, headers, jwt or clientIPGeoLocations", field)
	}
	for _, cidr := range spec.ClientCIDRs {
		out.ClientCIDRs = append(out.ClientCIDRs, string(cidr))
	}
	for _, h := range spec.Headers {
		out.Headers = append(out.Headers, config.HeaderMatch{Name: h.Name, Values: h.Values})
	}
	for i := range spec.ClientIPGeoLocations {
		location := r.location(fmt.Sprintf("%s.clientIPGeoLocations[%d]", field, i), &spec.ClientIPGeoLocations[i])
		out.Locations = append(out.Locations, location)
	}
	if spec.JWT != nil {
		out.JWT = r.jwtPrincipal(field+".jwt", spec.JWT)
	}
}

func (r *resolver) jwtPrincipal(field string, spec *egv1alpha1.JWTPrincipal) *config.JWTMatch {
	out := &config.JWTMatch{Provider: spec.Provider}
	for i, c := range spec.Claims {
		claim := config.ClaimMatch{Claim: c.Name, Values: c.Values}
		switch deref(c.ValueType) {
		case "", egv1alpha1.JWTClaimValueTypeString:
		case egv1alpha1.JWTClaimValueTypeStringArray:
			claim.Array = true
		default:
			r.fault("%s.claims[%d].valueType: %q is neither String nor StringArray", field, i, *c.ValueType)
		}
		out.Claims = append(out.Claims, claim)
	}
	for _, scope := range spec.Scopes {
		out.Scopes = append(out.Scopes, string(scope))
	}
	return out
}
