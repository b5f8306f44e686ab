package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// routeKinds are the kinds of routes that listeners of a protocol take.
var routeKinds = map[gatewayv1.ProtocolType][]gatewayv1.Kind{
	gatewayv1.HTTPProtocolType:  {"HTTPRoute"},
	gatewayv1.HTTPSProtocolType: {"HTTPRoute"},
}

// SupportedKinds returns the kinds of routes that a listener takes: those of its protocol, limited by
// allowedRoutes.kinds (ListenerStatus.supportedKinds). invalid are those that it names and can't take.
func SupportedKinds(l *gatewayv1.Listener) (supported []gatewayv1.RouteGroupKind, invalid []gatewayv1.Kind) {
	group := gatewayv1.Group(gatewayv1.GroupName)
	known := routeKinds[l.Protocol]
	supported = []gatewayv1.RouteGroupKind{}
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		for _, kind := range known {
			supported = append(supported, gatewayv1.RouteGroupKind{Group: &group, Kind: kind})
		}
		return supported, nil
	}
	for _, k := range l.AllowedRoutes.Kinds {
		if (k.Group == nil || *k.Group == group) && slices.Contains(known, k.Kind) {
			supported = append(supported, gatewayv1.RouteGroupKind{Group: &group, Kind: k.Kind})
		} else {
			invalid = append(invalid, k.Kind)
		}
	}
	return supported, invalid
}

// kindConditions tells of kinds of routes that a listener names and can't take.
func kindConditions(gateway resource.Key, l *gatewayv1.Listener) []status.Condition {
	_, invalid := SupportedKinds(l)
	if _, known := routeKinds[l.Protocol]; len(invalid) == 0 || !known {
		return nil
	}
	return []status.Condition{{
		Object: gateway, Ancestor: string(l.Name), Type: string(gatewayv1.ListenerConditionResolvedRefs),
		Reason:  string(gatewayv1.ListenerReasonInvalidRouteKinds),
		Message: fmt.Sprintf("allowedRoutes.kinds: %s isn't for a listener of protocol %s; remove it", joinKinds(invalid), l.Protocol),
	}}
}

func joinKinds(kinds []gatewayv1.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
