package envoy

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
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
	limit(action, rule)
	mirror(action, rule.Mirrors)
	if rule.Session != nil && rule.Splits() {
		rule.Session.hold(action.GetWeightedClusters())
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
