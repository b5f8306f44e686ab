package envoy

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	"google.golang.org/protobuf/proto"
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
	for _, q := range m.QueryParams {
		regex := q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression
		match.QueryParameters = append(match.QueryParameters, queryMatch(string(q.Name), text(regex, q.Value)))
	}
	r := &route.Route{Name: rule.Name + "/preflight", Match: match, ResponseHeadersToAdd: []*core.HeaderValueOption{varyOrigin()}}
	if rule.CORS == nil {
		respond(r, 403)
		r.TypedPerFilterConfig = pack(map[string]proto.Message{filterAuthorizer: b.check(rule)})
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
