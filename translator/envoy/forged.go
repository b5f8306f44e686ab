package envoy

import (
	"regexp"
	"slices"
	"strings"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headermutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// withoutForged takes out of what clients send what only others may say about a caller: of headers those that no
// verdict of the authorizer covers, of trailers all, for no verdict covers these and some servers merge them
// with the headers. nil: there is nothing of the kind.
func withoutForged(rule *Rule) *headermutation.Mutations {
	names := writtenByServers(rule)
	headers := removals(names)
	if rule.Security != nil {
		names = append(names, identityHeaders(rule.Security.Spec)...)
	}
	trailers := removals(names)
	if len(trailers) == 0 {
		return nil
	}
	return &headermutation.Mutations{RequestMutations: headers, RequestTrailersMutations: trailers}
}

// mutations are the route's own edits of the filter that is always on. A login's filter sends users to the provider
// by a response that the route adds nothing to, so Vary is this filter's there.
func mutations(rule *Rule) *headermutation.Mutations {
	out := withoutForged(rule)
	if s := rule.Security; s != nil && s.Spec.CORS != nil && s.OIDC != nil {
		if out == nil {
			out = &headermutation.Mutations{}
		}
		out.ResponseMutations = []*mutation.HeaderMutation{{Action: &mutation.HeaderMutation_Append{Append: varyOrigin()}}}
	}
	return out
}

// identityHeaders are those that the authorizer writes or removes on every way that allows.
func identityHeaders(spec *config.Policy) []string {
	names := slices.Clone(spec.Strip)
	if spec.BasicAuth != nil {
		names = append(names, spec.BasicAuth.ForwardUsernameHeader)
	}
	if spec.APIKey != nil {
		names = append(names, spec.APIKey.ForwardClientIDHeader)
	}
	if spec.JWT != nil {
		for i := range spec.JWT.Providers {
			for _, h := range spec.JWT.Providers[i].ClaimToHeaders {
				names = append(names, h.Header)
			}
		}
	}
	return names
}

// writtenByServers are the headers by which a login's filter or a server of the user's tells the backend who is
// calling: a session may have no ID token, and a server may give its OK without them, or be gone.
func writtenByServers(rule *Rule) (names []string) {
	if s := rule.Security; s != nil && s.OIDC != nil {
		names = append(names, s.OIDC.ForwardIDToken)
	}
	for _, server := range rule.authServers() {
		for _, name := range server.HeadersToBackend {
			if !asks(server, name) {
				names = append(names, name)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.EqualFold(name, "authorization") })
}

// asks reports whether the server is to judge what the client sent under a name that it may write itself.
func asks(server *policy.ExtAuth, name string) bool {
	return strings.EqualFold(name, "cookie") || slices.ContainsFunc(server.HeadersToExtAuth, func(told string) bool { return strings.EqualFold(told, name) })
}

var wordBreak = regexp.MustCompile(`[-_]`)

// removals leave out empty names, which aren't configured, and also match the spellings that CGI-like servers
// take for the same name (S16).
func removals(names []string) (all []*mutation.HeaderMutation) {
	names = slices.Clone(names)
	for i := range names {
		names[i] = wordBreak.ReplaceAllLiteralString(regexp.QuoteMeta(strings.ToLower(names[i])), "[-_]")
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name != "" {
			all = append(all, &mutation.HeaderMutation{Action: &mutation.HeaderMutation_RemoveOnMatch_{
				RemoveOnMatch: &mutation.HeaderMutation_RemoveOnMatch{KeyMatcher: regex(name)},
			}})
		}
	}
	return all
}
