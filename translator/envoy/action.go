package envoy

import (
	"regexp"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// WeightedCluster is a backend of a rule and its share. One whose reference is faulty has Cluster "":
// its share is answered 500, as the Gateway API demands.
type WeightedCluster struct {
	Cluster string
	Weight  uint32
	Filters []gatewayv1.HTTPRouteFilter // header modifiers only
}

// noCluster is a name that no cluster has.
const noCluster = "gatehouse.invalid-backend"

// forward routes to clusters. With nothing to route to the answer is 500.
func forward(r *route.Route, clusters []WeightedCluster, rule *Rule) {
	var total uint32
	for _, c := range clusters {
		total += c.Weight
	}
	if total == 0 {
		respond(r, 500)
		return
	}
	action := &route.RouteAction{ClusterNotFoundResponseCode: route.RouteAction_INTERNAL_SERVER_ERROR}
	if len(clusters) == 1 && len(clusters[0].Filters) == 0 {
		action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: clusterName(clusters[0])}
	} else {
		action.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: weighted(clusters)}
	}
	if t := timeout(rule.Request, rule.BackendRequest); t != nil {
		action.Timeout = duration(*t)
	}
	r.Action = &route.Route_Route{Route: action}
}

func weighted(clusters []WeightedCluster) *route.WeightedCluster {
	out := &route.WeightedCluster{}
	for _, c := range clusters {
		share := &route.WeightedCluster_ClusterWeight{Name: clusterName(c), Weight: number(c.Weight)}
		for _, f := range c.Filters {
			if f.RequestHeaderModifier != nil {
				share.RequestHeadersToAdd, share.RequestHeadersToRemove = headerEdits(f.RequestHeaderModifier)
			}
			if f.ResponseHeaderModifier != nil {
				share.ResponseHeadersToAdd, share.ResponseHeadersToRemove = headerEdits(f.ResponseHeaderModifier)
			}
		}
		out.Clusters = append(out.Clusters, share)
	}
	return out
}

func clusterName(c WeightedCluster) string {
	if c.Cluster == "" {
		return noCluster
	}
	return c.Cluster
}

// timeout returns the shorter of the two limits that are set; 0 turns a limit off.
func timeout(request, backend *time.Duration) *time.Duration {
	switch {
	case request == nil:
		return backend
	case backend == nil, *backend == 0:
		return request
	case *request == 0 || *backend < *request:
		return backend
	}
	return request
}

func respond(r *route.Route, status uint32) {
	r.Action = &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: status}}
}

func headerEdits(m *gatewayv1.HTTPHeaderFilter) (add []*core.HeaderValueOption, remove []string) {
	for _, h := range m.Set {
		add = append(add, headerOption(string(h.Name), h.Value, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	for _, h := range m.Add {
		add = append(add, headerOption(string(h.Name), h.Value, core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
	}
	return add, m.Remove
}

func headerOption(name, value string, action core.HeaderValueOption_HeaderAppendAction) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		// Envoy reads % as the start of a command in configured header values.
		Header:       &core.HeaderValue{Key: name, Value: strings.ReplaceAll(value, "%", "%%")},
		AppendAction: action, KeepEmptyValue: true,
	}
}

// redirect answers with a Location. Scheme, host and port not given are the request's.
func redirect(r *route.Route, m *gatewayv1.HTTPRequestRedirectFilter, prefix string) {
	out := &route.RedirectAction{ResponseCode: redirectCode(m.StatusCode)}
	if m.Scheme != nil {
		out.SchemeRewriteSpecifier = &route.RedirectAction_SchemeRedirect{SchemeRedirect: *m.Scheme}
	}
	if m.Hostname != nil {
		out.HostRedirect = string(*m.Hostname)
	}
	if m.Port != nil && !wellKnown(m.Scheme, *m.Port) {
		port, _ := gatewayapi.PortNumber(*m.Port) // a rule with another number has a fault
		out.PortRedirect = uint32(port)
	}
	if m.Path != nil {
		switch {
		case m.Path.ReplaceFullPath != nil:
			out.PathRewriteSpecifier = &route.RedirectAction_PathRedirect{PathRedirect: *m.Path.ReplaceFullPath}
		case m.Path.ReplacePrefixMatch != nil:
			if rewrite := prefixRegex(prefix, *m.Path.ReplacePrefixMatch); rewrite != nil {
				out.PathRewriteSpecifier = &route.RedirectAction_RegexRewrite{RegexRewrite: rewrite}
			} else {
				out.PathRewriteSpecifier = &route.RedirectAction_PrefixRewrite{PrefixRewrite: *m.Path.ReplacePrefixMatch}
			}
		}
	}
	r.Action = &route.Route_Redirect{Redirect: out}
}

// wellKnown reports whether a Location of that scheme leaves the port out.
func wellKnown(scheme *string, port int32) bool {
	return scheme != nil && (*scheme == "http" && port == 80 || *scheme == "https" && port == 443)
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
			Pattern: &matcher.RegexMatcher{Regex: "^/.*$"}, Substitution: literal(*m.Path.ReplaceFullPath),
		}
	case m.Path.ReplacePrefixMatch != nil:
		if r := prefixRegex(prefix, *m.Path.ReplacePrefixMatch); r != nil {
			action.RegexRewrite = r
		} else {
			action.PrefixRewrite = *m.Path.ReplacePrefixMatch
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
