package envoy

import (
	"regexp"
	"strings"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	headermutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// CORS is a route's own HTTPCORSFilter. Envoy's filter alone enforces it.
type CORS struct{ Spec config.CORS }

// policy differs from a SecurityPolicy's in that credentials go to any origin if the route says so: the
// Gateway API demands it of allowOrigins "*" with allowCredentials.
func (c *CORS) policy() *corsfilter.CorsPolicy {
	out := corsPolicy(&c.Spec)
	out.AllowCredentials = boolean(c.Spec.AllowCredentials)
	// What isn't allowed goes on to the twin's 403.
	out.ForwardNotMatchingPreflights = boolean(true)
	return out
}

// preflight builds the twin of a match: same path and query, OPTIONS with Origin and
// Access-Control-Request-Method (Fetch standard, CORS-preflight request). The authorizer answers what
// a SecurityPolicy allows, Envoy's filter what the route's own CORS does; all else ends in 403.
func (b *Builder) preflight(rule *Rule, m *gatewayv1.HTTPRouteMatch) *route.Route {
	match := pathMatch(m.Path)
	requested := headerPresent("access-control-request-method")
	if m.Method != nil {
		requested = headerMatch("access-control-request-method", exact(string(*m.Method)))
	}
	match.Headers = append(match.Headers, headerMatch(":method", exact("OPTIONS")), headerPresent("origin"), requested)
	match.QueryParameters = queryMatches(m)
	r := &route.Route{Name: rule.Name + "/preflight", Match: match, ResponseHeadersToAdd: []*core.HeaderValueOption{varyOrigin()}}
	if rule.CORS == nil {
		respond(r, 403)
		filters := map[string]proto.Message{}
		b.enforce(rule, filters)
		r.TypedPerFilterConfig = pack(filters)
		return r
	}
	// The filter passes by a direct response. So this one leads to no cluster, and the filter before the
	// router admits nobody.
	r.Action = &route.Route_Route{Route: &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_Cluster{Cluster: noCluster},
	}}
	r.TypedPerFilterConfig = pack(map[string]proto.Message{
		filterCORS: rule.CORS.policy(),
		filterSeal: &rbac.RBACPerRoute{Rbac: &rbac.RBAC{Rules: &rbacconfig.RBAC{Action: rbacconfig.RBAC_ALLOW}}},
	})
	return r
}

// cors is what applies to the rule, its own or the policy's; nil without any.
func (r *Rule) cors() *corsfilter.CorsPolicy {
	switch {
	case r.CORS != nil:
		return r.CORS.policy()
	case r.Security != nil && r.Security.Spec.CORS != nil:
		return corsPolicy(r.Security.Spec.CORS)
	}
	return nil
}

// crossOrigin are the twins of a redirect or a direct response for requests of allowed origins. Envoy's
// cors filter passes by such routes, so they name the headers themselves; header_mutation marks every
// answer, be it a filter's.
func crossOrigin(rule *Rule, r *route.Route) []*route.Route {
	policy := rule.cors()
	if policy == nil || r.GetRoute() != nil {
		return nil
	}
	var origins []string
	for _, m := range policy.AllowOriginStringMatch {
		expression := m.GetSafeRegex().GetRegex()
		if exact := m.GetExact(); exact != "" {
			expression = regexp.QuoteMeta(exact)
		}
		origins = append(origins, "("+expression+")")
	}
	if len(origins) == 0 {
		return nil
	}
	const overwrite = core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	headers := []*core.HeaderValueOption{
		{Header: &core.HeaderValue{Key: "access-control-allow-origin", Value: "%REQ(origin)%"}, AppendAction: overwrite},
		headerOption("vary", "Origin", core.HeaderValueOption_ADD_IF_ABSENT),
	}
	if policy.AllowCredentials.GetValue() {
		headers = append(headers, headerOption("access-control-allow-credentials", "true", overwrite))
	}
	if policy.ExposeHeaders != "" {
		headers = append(headers, headerOption("access-control-expose-headers", policy.ExposeHeaders, overwrite))
	}
	mutations := &headermutation.Mutations{}
	for _, h := range headers {
		mutations.ResponseMutations = append(mutations.ResponseMutations, &mutation.HeaderMutation{
			Action: &mutation.HeaderMutation_Append{Append: h},
		})
	}
	twin := proto.CloneOf(r)
	twin.Match.Headers = append(twin.Match.Headers, headerMatch("origin", regex(strings.Join(origins, "|"))))
	if twin.TypedPerFilterConfig == nil {
		twin.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	twin.TypedPerFilterConfig[filterClientAddress] = typed(&headermutation.HeaderMutationPerRoute{Mutations: mutations})
	return []*route.Route{twin}
}
