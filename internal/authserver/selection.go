package authserver

import (
	"net/netip"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// Why no policy could be chosen, for logs.
const (
	whyUnnamed     = "the proxy names no policy, there is no default policy, and the files hold no routes"
	whyPath        = "the proxy lets a path through that isn't in its normal form; set normalize_path and merge_slashes"
	whyNoRoute     = "no route of the files takes the request"
	whyNoPolicy    = "no policy applies to the request's route; switch the check off for this route in the proxy"
	whySeveral     = "several listeners take the request under different policies; name one by gatehouse.policy"
	whyForeign     = "the route's policy has oidc, csrf or extAuth, which are Envoy's part; configure these filters in the proxy and remove them here"
	whyUnknownName = "the proxy names a policy that isn't among the files"
)

// byRoute finds the reference of the policy that the files' routes give a request of somebody else's
// proxy. why says why there is none.
func byRoute(table *routing.Table, r *exchange.Request) (ref, why string) {
	if table == nil {
		return "", whyUnnamed
	}
	request := &routing.Request{
		TLS: r.Scheme() == "https", Method: r.Method(), Authority: r.Authority(), Path: r.Path(), Peer: r.Conn().Peer.Addr(),
	}
	if !request.Peer.IsValid() {
		request.Peer = netip.IPv4Unspecified()
	}
	for name, value := range r.Header.All() {
		request.Header = append(request.Header, exchange.Field{Name: name, Value: value})
	}
	found, err := table.Find(request)
	if err != nil {
		return "", err.Error()
	}
	for _, m := range found {
		// Another reader than this table's may see another path.
		if m.Status != 0 || m.Path != r.Path() {
			return "", whyPath
		}
	}
	// What only sends clients to another connection is no route to a backend.
	found = slices.DeleteFunc(found, func(m *routing.Match) bool { return m.Route.GetDirectResponse().GetStatus() == 421 })
	found = narrowed(found, func(m *routing.Match) bool { return m.Socket.Address.Port() == r.Conn().Destination.Port() })
	found = narrowed(found, func(m *routing.Match) bool { return m.Chain.TLS == request.TLS })
	if len(found) == 0 {
		return "", whyNoRoute
	}
	if slices.ContainsFunc(found, func(m *routing.Match) bool { return envoy.Guarded(m.Route.Route) }) {
		return "", whyForeign
	}
	ref = envoy.PolicyOf(found[0].Route.Route)
	for _, m := range found[1:] {
		if envoy.PolicyOf(m.Route.Route) != ref {
			return "", whySeveral
		}
	}
	if ref == "" {
		return "", whyNoPolicy
	}
	return ref, ""
}

// narrowed keeps those that fit, or all if none does.
func narrowed(all []*routing.Match, fits func(*routing.Match) bool) []*routing.Match {
	kept := slices.DeleteFunc(slices.Clone(all), func(m *routing.Match) bool { return !fits(m) })
	if len(kept) == 0 {
		return all
	}
	return kept
}
