package envoy

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// Mirror is a backend that gets copies of requests; its answers are dropped.
type Mirror struct {
	Cluster string
	// PerMillion is how many of a million requests are copied, chosen at random.
	PerMillion uint32
}

const everyRequest = 1_000_000

func mirror(action *route.RouteAction, mirrors []Mirror) {
	for _, m := range mirrors {
		policy := &route.RouteAction_RequestMirrorPolicy{
			Cluster: m.Cluster,
			// A copy differs in nothing; Envoy would append -shadow to the host.
			DisableShadowHostSuffixAppend: true,
		}
		if m.PerMillion < everyRequest {
			policy.RuntimeFraction = &core.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
				Numerator: m.PerMillion, Denominator: typev3.FractionalPercent_MILLION,
			}}
		}
		action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, policy)
	}
}
