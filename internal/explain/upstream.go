package explain

import (
	"net/http"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// upstream applies the verdict's edits and then the route's to the request's header. Values that Envoy
// makes of the moment are left out.
func upstream(authority string, match *routing.Match, v *Verdict) http.Header {
	out := http.Header{}
	for _, f := range match.Header {
		out.Add(f.Name, f.Value)
	}
	for name, value := range v.RequestHeaders {
		if !strings.HasPrefix(name, ":") {
			out.Set(name, value)
		}
	}
	for _, name := range v.RemovedHeaders {
		out.Del(name)
	}
	route := match.Route
	edit(out, route.GetRequestHeadersToAdd(), route.GetRequestHeadersToRemove())
	if shares := route.GetRoute().GetWeightedClusters().GetClusters(); len(shares) == 1 {
		edit(out, shares[0].GetRequestHeadersToAdd(), shares[0].GetRequestHeadersToRemove())
	}
	edit(out, nil, match.Chain.Removed)
	path := match.Path
	if v.RequestHeaders[pathKey] != "" {
		path = v.RequestHeaders[pathKey]
	}
	out.Set(pathKey, forwardedPath(path, route))
	out.Set(authorityKey, authority)
	if host := route.GetRoute().GetHostRewriteLiteral(); host != "" {
		out.Set(authorityKey, host)
	}
	return out
}

// The pseudo-headers of a forwarded request, which have places of their own.
const (
	pathKey      = ":path"
	authorityKey = ":authority"
)

// forwardedPath is what the route makes of a path; a query stays (RouteEntryImplBase::finalizePathHeader).
func forwardedPath(path string, r *routing.Route) string {
	plain, query := path, ""
	if at := strings.IndexByte(path, '?'); at >= 0 {
		plain, query = path[:at], path[at:]
	}
	switch action := r.GetRoute(); {
	case action.GetRegexRewrite() != nil:
		plain = rewritten(action.GetRegexRewrite(), plain)
	case action.GetPrefixRewrite() != "":
		plain = action.GetPrefixRewrite() + strings.TrimPrefix(plain, matchedPrefix(r.GetMatch(), plain))
	}
	return plain + query
}

func edit(h http.Header, add []*core.HeaderValueOption, remove []string) {
	for _, name := range remove {
		h.Del(name)
	}
	for _, option := range add {
		name, value := option.GetHeader().GetKey(), strings.ReplaceAll(option.GetHeader().GetValue(), "%%", "\x00")
		if strings.Contains(value, "%") {
			h.Del(name)
			continue
		}
		value = strings.ReplaceAll(value, "\x00", "%")
		if option.GetAppendAction() == core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD {
			h.Add(name, value)
		} else {
			h.Set(name, value)
		}
	}
}

// SecurityPolicies names, as namespace/name, the policies that a route has; sorted.
func (g *Gateway) SecurityPolicies() []string {
	all := make([]string, 0, len(g.loaded))
	for _, p := range g.loaded {
		all = append(all, p.Spec.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// AuthorizationRules names, as policy#rule, the rules of spec.authorization of the policies in force and
// their default actions; sorted.
func (g *Gateway) AuthorizationRules() []string {
	var all []string
	for _, p := range g.loaded {
		if p.Spec.Authorization == nil || p.Spec.Fault != "" {
			continue
		}
		all = append(all, p.Spec.Name+"#"+DefaultRule)
		for _, rule := range p.Spec.Authorization.Rules {
			all = append(all, p.Spec.Name+"#"+rule.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Rules lists every rule of a route that a listener serves, once, in the order of the listeners.
func (g *Gateway) Rules() []Route {
	var all []Route
	seen := map[Route]bool{}
	for _, socket := range g.table.Sockets {
		for _, chain := range socket.Chains {
			for _, host := range chain.Hosts {
				for _, r := range host.Routes {
					rule := *g.routeOf(r)
					rule.Match, rule.Envoy, rule.Preflight = "", "", false
					if rule.Kind != "" && !seen[rule] {
						seen[rule] = true
						all = append(all, rule)
					}
				}
			}
		}
	}
	return all
}
