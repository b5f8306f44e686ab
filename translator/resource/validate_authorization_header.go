package resource

import (
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
)

// authorizationHeader refuses policies that nobody could pass: the header has room for one credential
// (RFC 9110 section 11.6.2), and All wants two from it. An optional token that isn't there passes.
func (r *reader) authorizationHeader(at path, spec *egv1alpha1.SecurityPolicySpec, mode AuthMode) {
	if mode == AuthModeAny {
		return
	}
	var methods []string
	if spec.BasicAuth != nil {
		methods = append(methods, "basicAuth")
	}
	if spec.JWT != nil && (spec.JWT.Optional == nil || !*spec.JWT.Optional) && fromAuthorization(spec.JWT.Providers) {
		methods = append(methods, "jwt")
	}
	if spec.APIKeyAuth != nil && slices.ContainsFunc(spec.APIKeyAuth.ExtractFrom, keyFromAuthorization) {
		methods = append(methods, "apiKeyAuth")
	}
	if len(methods) > 1 {
		r.fault(at.to("authMode"), "All can't be met: %s all read the Authorization header, which holds one credential; "+
			"write authMode: Any, or have all but one of them look elsewhere (extractFrom)", strings.Join(methods, " and "))
	}
}

// fromAuthorization reports whether the tokens of all providers come in the header. Without extractFrom
// they do: the query parameter that Envoy also knows is no place to rely on (RFC 6750 section 2.3).
func fromAuthorization(providers []egv1alpha1.JWTProvider) bool {
	for i := range providers {
		from := providers[i].ExtractFrom
		if from != nil && (len(from.Cookies)+len(from.Params) > 0 || slices.ContainsFunc(from.Headers, elsewhere)) {
			return false
		}
	}
	return len(providers) > 0
}

func elsewhere(h egv1alpha1.JWTHeaderExtractor) bool {
	return !strings.EqualFold(h.Name, "authorization")
}

// keyFromAuthorization: the first place that has anything is the key's, so others don't help.
func keyFromAuthorization(from *egv1alpha1.ExtractFrom) bool {
	return from != nil && slices.ContainsFunc(from.Headers, func(name string) bool { return strings.EqualFold(name, "authorization") })
}
