package envoy

import (
	"regexp"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// redirect answers with a Location. Scheme and host not given are the request's; a port not given is the
// well-known one of a given scheme, else the listener's (HTTPRequestRedirectFilter.port).
func redirect(r *route.Route, m *gatewayv1.HTTPRequestRedirectFilter, prefix string, rule *Rule) {
	out := &route.RedirectAction{ResponseCode: redirectCode(m.StatusCode)}
	if m.Scheme != nil {
		out.SchemeRewriteSpecifier = &route.RedirectAction_SchemeRedirect{SchemeRedirect: *m.Scheme}
	}
	if m.Hostname != nil {
		out.HostRedirect = string(*m.Hostname)
	}
	if port, known := redirectPort(m, rule); !known {
		out.PortRedirect = port
	}
	if m.Path != nil {
		switch {
		case m.Path.ReplaceFullPath != nil:
			out.PathRewriteSpecifier = &route.RedirectAction_PathRedirect{PathRedirect: absolute(*m.Path.ReplaceFullPath)}
		case m.Path.ReplacePrefixMatch != nil:
			replacement := absolute(*m.Path.ReplacePrefixMatch)
			if rewrite := prefixRegex(prefix, replacement); rewrite != nil {
				out.PathRewriteSpecifier = &route.RedirectAction_RegexRewrite{RegexRewrite: rewrite}
			} else {
				out.PathRewriteSpecifier = &route.RedirectAction_PrefixRewrite{PrefixRewrite: replacement}
			}
		}
	}
	r.Action = &route.Route_Redirect{Redirect: out}
}

// redirectPort returns the Location's port, and whether its scheme implies that port.
func redirectPort(m *gatewayv1.HTTPRequestRedirectFilter, rule *Rule) (port uint32, known bool) {
	scheme, tcp := "http", rule.Port
	if rule.TLS {
		scheme = "https"
	}
	wellKnown := map[string]uint16{"http": 80, "https": 443}
	if m.Scheme != nil {
		scheme, tcp = *m.Scheme, wellKnown[*m.Scheme]
	}
	if m.Port != nil {
		tcp, _ = gatewayapi.PortNumber(*m.Port) // a rule with another number has a fault
	}
	return uint32(tcp), tcp == wellKnown[scheme]
}

// withPort are the twins of a redirect to its scheme's own port for requests whose Host has a port. Envoy
// takes that port over into the Location unless it is told another, and it can't be told to leave it out.
func (b *Builder) withPort(rule *Rule, m *gatewayv1.HTTPRouteMatch) []*route.Route {
	for i := range rule.Filters {
		f := rule.Filters[i].RequestRedirect
		if f == nil || f.Hostname != nil {
			continue
		}
		port, known := redirectPort(f, rule)
		match, fault := routeMatch(m)
		if !known || fault != "" {
			return nil
		}
		match.Headers = append(match.Headers, headerMatch(":authority", regex(".*:[0-9]+")))
		r := b.route(rule, m, match)
		if r.GetRedirect() == nil {
			return nil
		}
		r.GetRedirect().PortRedirect = port
		return append(crossOrigin(rule, r), r)
	}
	return nil
}

func redirectCode(code *int) route.RedirectAction_RedirectResponseCode {
	if code == nil {
		return route.RedirectAction_FOUND
	}
	return map[int]route.RedirectAction_RedirectResponseCode{
		301: route.RedirectAction_MOVED_PERMANENTLY, 302: route.RedirectAction_FOUND,
		303: route.RedirectAction_SEE_OTHER, 307: route.RedirectAction_TEMPORARY_REDIRECT,
		308: route.RedirectAction_PERMANENT_REDIRECT,
	}[*code]
}

// rewrite changes what the backend sees of host and path.
func rewrite(action *route.RouteAction, m *gatewayv1.HTTPURLRewriteFilter, prefix string) {
	if m.Hostname != nil {
		action.HostRewriteSpecifier = &route.RouteAction_HostRewriteLiteral{HostRewriteLiteral: string(*m.Hostname)}
	}
	if m.Path == nil {
		return
	}
	switch {
	case m.Path.ReplaceFullPath != nil:
		action.RegexRewrite = &matcher.RegexMatchAndSubstitute{
			Pattern: &matcher.RegexMatcher{Regex: "^/.*$"}, Substitution: literal(absolute(*m.Path.ReplaceFullPath)),
		}
	case m.Path.ReplacePrefixMatch != nil:
		replacement := absolute(*m.Path.ReplacePrefixMatch)
		if r := prefixRegex(prefix, replacement); r != nil {
			action.RegexRewrite = r
		} else {
			action.PrefixRewrite = replacement
		}
	}
}

// prefixRegex replaces a path prefix where plain substitution would leave two slashes (/foo/bar with
// /foo → /) or, for the prefix /, none. nil: plain substitution is right.
func prefixRegex(prefix, replacement string) *matcher.RegexMatchAndSubstitute {
	prefix = strings.TrimRight(prefix, "/")
	if prefix != "" && !strings.HasSuffix(replacement, "/") {
		return nil
	}
	return &matcher.RegexMatchAndSubstitute{
		Pattern:      &matcher.RegexMatcher{Regex: "^" + regexp.QuoteMeta(prefix) + "/*"},
		Substitution: literal(strings.TrimRight(replacement, "/") + "/"),
	}
}

// literal escapes a substitution text: \1 is a group there.
func literal(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// absolute makes a path of what may lack its slash; Envoy takes an empty one for none.
func absolute(path string) string { return "/" + strings.TrimLeft(path, "/") }
