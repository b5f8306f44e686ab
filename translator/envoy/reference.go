package envoy

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// Guarded reports whether a route has guards beside Gatehouse's authorizer: Envoy's own filters (oauth2,
// csrf) or a user's servers. Whoever only asks the authorizer enforces a part of the route's policy.
func Guarded(r *route.Route) bool {
	_, guarded := r.GetTypedPerFilterConfig()[filterAuth]
	return guarded
}

// PolicyOf returns the reference of the policy that a route has Gatehouse's authorizer enforce, by
// whichever protocol; "" if there is none.
func PolicyOf(r *route.Route) string {
	for _, config := range r.GetTypedPerFilterConfig() {
		check, stream := &authz.ExtAuthzPerRoute{}, &extproc.ExtProcPerRoute{}
		switch {
		case config.MessageIs(check) && config.UnmarshalTo(check) == nil:
			if ref := check.GetCheckSettings().GetContextExtensions()[ExtensionPolicy]; ref != "" {
				return ref
			}
		case config.MessageIs(stream) && config.UnmarshalTo(stream) == nil:
			for _, h := range stream.GetOverrides().GetGrpcInitialMetadata() {
				if h.GetKey() == ExtensionPolicy {
					return h.GetValue()
				}
			}
		}
	}
	return ""
}
