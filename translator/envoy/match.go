package envoy

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// routeMatch translates one HTTPRouteMatch. fault names a regular expression that isn't one.
func routeMatch(m *gatewayv1.HTTPRouteMatch) (out *route.RouteMatch, fault string) {
	out = pathMatch(m.Path)
	if m.Method != nil {
		out.Headers = append(out.Headers, headerMatch(":method", exact(string(*m.Method))))
	}
	for _, h := range firsts(m.Headers, func(h gatewayv1.HTTPHeaderMatch) string { return strings.ToLower(string(h.Name)) }) {
		regex := h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression
		out.Headers = append(out.Headers, headerMatch(string(h.Name), text(regex, h.Value)))
	}
	out.QueryParameters = queryMatches(m)
	return out, cmp.Or(badPath(m.Path), badRegex(m))
}

func queryMatches(m *gatewayv1.HTTPRouteMatch) []*route.QueryParameterMatcher {
	params := firsts(m.QueryParams, func(q gatewayv1.HTTPQueryParamMatch) string { return string(q.Name) })
	all := make([]*route.QueryParameterMatcher, 0, len(params))
	for _, q := range params {
		regex := q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression
		all = append(all, queryMatch(string(q.Name), text(regex, q.Value)))
	}
	return all
}

// firsts drops all but the first entry of each name: the others don't count (HTTPHeaderMatch.name,
// HTTPQueryParamMatch.name).
func firsts[T any](all []T, name func(T) string) []T {
	var kept []T
	seen := map[string]bool{}
	for _, item := range all {
		if !seen[name(item)] {
			seen[name(item)] = true
			kept = append(kept, item)
		}
	}
	return kept
}

func pathMatch(path *gatewayv1.HTTPPathMatch) *route.RouteMatch {
	kind, value := pathOf(path)
	switch kind {
	case gatewayv1.PathMatchExact:
		return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: value}}
	case gatewayv1.PathMatchRegularExpression:
		return &route.RouteMatch{PathSpecifier: &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: value}}}
	}
	if trimmed := strings.TrimRight(value, "/"); trimmed != "" {
		return &route.RouteMatch{PathSpecifier: &route.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: trimmed}}
	}
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}
}

// pathOf applies the Gateway API's defaults: PathPrefix and "/".
func pathOf(path *gatewayv1.HTTPPathMatch) (gatewayv1.PathMatchType, string) {
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if path != nil && path.Type != nil {
		kind = *path.Type
	}
	if path != nil && path.Value != nil && *path.Value != "" {
		value = *path.Value
	}
	return kind, value
}

// validPath is what the Gateway API allows of a path that isn't an expression (RFC 3986 section 3.3).
var validPath = regexp.MustCompile(`^/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*`)

// badPath names a path that no request has. Envoy refuses some of them with all routes of the listener.
func badPath(path *gatewayv1.HTTPPathMatch) string {
	kind, value := pathOf(path)
	if kind == gatewayv1.PathMatchRegularExpression || len(validPath.FindString(value)) == len(value) {
		return ""
	}
	return strconv.Quote(value) + " is not a path; it begins with / and has no query"
}

func badRegex(m *gatewayv1.HTTPRouteMatch) string {
	var all []string
	if kind, value := pathOf(m.Path); kind == gatewayv1.PathMatchRegularExpression {
		all = append(all, value)
	}
	for _, h := range m.Headers {
		if h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression {
			all = append(all, h.Value)
		}
	}
	for _, q := range m.QueryParams {
		if q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression {
			all = append(all, q.Value)
		}
	}
	for _, expression := range all {
		if _, err := regexp.Compile(expression); err != nil {
			return err.Error() + "; write RE2 syntax"
		}
	}
	return ""
}

func exact(value string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: value}}
}

func regex(value string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: value}}}
}

func text(isRegex bool, value string) *matcher.StringMatcher {
	if isRegex {
		return regex(value)
	}
	return exact(value)
}

func headerMatch(name string, value *matcher.StringMatcher) *route.HeaderMatcher {
	return &route.HeaderMatcher{Name: name, HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: value}}
}

func headerPresent(name string) *route.HeaderMatcher {
	return &route.HeaderMatcher{Name: name, HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}
}

func queryMatch(name string, value *matcher.StringMatcher) *route.QueryParameterMatcher {
	return &route.QueryParameterMatcher{Name: name, QueryParameterMatchSpecifier: &route.QueryParameterMatcher_StringMatch{StringMatch: value}}
}
