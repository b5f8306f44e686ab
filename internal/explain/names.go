package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// routeKinds are the kinds in the names that the translator gives.
var routeKinds = map[string]string{
	"httproute": "HTTPRoute", "grpcroute": "GRPCRoute", "tlsroute": "TLSRoute", "tcproute": "TCPRoute", "udproute": "UDPRoute",
}

// routeOf reads the name that the translator gave, "httproute/ns/name/rule/0/preflight".
func (g *Gateway) routeOf(r *routing.Route) *Route {
	out := &Route{Match: describe(r.GetMatch()), Envoy: r.GetName()}
	parts := strings.Split(r.GetName(), "/")
	if len(parts) < 5 || routeKinds[parts[0]] == "" {
		return out
	}
	rule, err := strconv.Atoi(parts[4])
	if err != nil {
		return out
	}
	out.Kind, out.Namespace, out.Name, out.Rule = routeKinds[parts[0]], parts[1], parts[2], rule
	out.RuleName = g.ruleName(out)
	out.Preflight = slices.Contains(parts[5:], "preflight")
	return out
}

func (g *Gateway) ruleName(r *Route) string {
	var name *gatewayv1.SectionName
	switch r.Kind {
	case "HTTPRoute":
		if object, ok := g.set.HTTPRoutes.Get(r.Namespace, r.Name); ok && r.Rule < len(object.Spec.Rules) {
			name = object.Spec.Rules[r.Rule].Name
		}
	case "GRPCRoute":
		if object, ok := g.set.GRPCRoutes.Get(r.Namespace, r.Name); ok && r.Rule < len(object.Spec.Rules) {
			name = object.Spec.Rules[r.Rule].Name
		}
	}
	if name == nil {
		return ""
	}
	return string(*name)
}

// describe tells a match in the Gateway API's terms.
func describe(m *route.RouteMatch) string {
	var all []string
	switch p := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		all = append(all, "path prefix "+p.Prefix)
	case *route.RouteMatch_PathSeparatedPrefix:
		all = append(all, "path prefix "+p.PathSeparatedPrefix)
	case *route.RouteMatch_Path:
		all = append(all, "path "+p.Path)
	case *route.RouteMatch_SafeRegex:
		all = append(all, "path ~ "+p.SafeRegex.GetRegex())
	}
	for _, h := range m.GetHeaders() {
		text := "header " + h.GetName()
		if h.GetName() == ":method" {
			text = "method"
		}
		if h.GetInvertMatch() {
			text += " not"
		}
		all = append(all, strings.TrimSpace(text+" "+textOf(h.GetStringMatch())))
	}
	for _, q := range m.GetQueryParameters() {
		all = append(all, strings.TrimSpace("query "+q.GetName()+" "+textOf(q.GetStringMatch())))
	}
	if m.GetGrpc() != nil {
		all = append(all, "gRPC")
	}
	return strings.Join(all, ", ")
}

func textOf(m *matcher.StringMatcher) string {
	switch p := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return p.Exact
	case *matcher.StringMatcher_SafeRegex:
		return "~ " + p.SafeRegex.GetRegex()
	case *matcher.StringMatcher_Prefix:
		return p.Prefix + "…"
	case *matcher.StringMatcher_Suffix:
		return "…" + p.Suffix
	case *matcher.StringMatcher_Contains:
		return "…" + p.Contains + "…"
	}
	return ""
}

// listenerOf finds the listener of a chain that takes a host: of several on one socket the one with the
// narrowest hostname. host may be a wildcard.
func (g *Gateway) listenerOf(socket *routing.Socket, chain *routing.Chain, host string) *Listener {
	if host == "*" {
		host = ""
	}
	var found *Listener
	for _, l := range g.listeners {
		if !slices.Contains(l.Sockets, socket.Address.String()) || !slices.Contains(l.RouteConfigs, chain.Name) && chain.Manager != nil {
			continue
		}
		hostname := g.hostname(l.Gateway, l.Name)
		if host != "" && !chain.TLS && !gatewayapi.Covers(hostname, host) {
			continue
		}
		if host == "" && hostname != "" && !chain.TLS {
			continue
		}
		if found == nil || gatewayapi.Narrower(hostname, found.Hostname) {
			found = &Listener{
				Kind: l.Gateway.Kind, Namespace: l.Gateway.Namespace, Name: l.Gateway.Name, Listener: l.Name,
				Hostname: hostname, Address: socket.Address.String(),
			}
		}
	}
	return found
}

func (g *Gateway) hostname(owner resource.Key, name string) string {
	host := func(listener gatewayv1.SectionName, hostname *gatewayv1.Hostname) (string, bool) {
		if string(listener) != name {
			return "", false
		}
		if hostname == nil {
			return "", true
		}
		return strings.ToLower(string(*hostname)), true
	}
	if gateway, ok := g.set.Gateways.Get(owner.Namespace, owner.Name); ok && owner.Kind == "Gateway" {
		for i := range gateway.Spec.Listeners {
			if text, ok := host(gateway.Spec.Listeners[i].Name, gateway.Spec.Listeners[i].Hostname); ok {
				return text
			}
		}
	}
	if set, ok := g.set.ListenerSets.Get(owner.Namespace, owner.Name); ok && owner.Kind == "ListenerSet" {
		for i := range set.Spec.Listeners {
			if text, ok := host(set.Spec.Listeners[i].Name, set.Spec.Listeners[i].Hostname); ok {
				return text
			}
		}
	}
	return ""
}

// backendName names the object behind a cluster.
func (g *Gateway) backendName(r *Route, cluster string) string {
	at := strings.LastIndex(cluster, "/backend/")
	if at < 0 {
		return cluster
	}
	i, err := strconv.Atoi(cluster[at+len("/backend/"):])
	if err != nil {
		return cluster
	}
	var refs []gatewayv1.BackendObjectReference
	switch r.Kind {
	case "HTTPRoute":
		if object, ok := g.set.HTTPRoutes.Get(r.Namespace, r.Name); ok && r.Rule < len(object.Spec.Rules) {
			for _, b := range object.Spec.Rules[r.Rule].BackendRefs {
				refs = append(refs, b.BackendObjectReference)
			}
		}
	case "GRPCRoute":
		if object, ok := g.set.GRPCRoutes.Get(r.Namespace, r.Name); ok && r.Rule < len(object.Spec.Rules) {
			for _, b := range object.Spec.Rules[r.Rule].BackendRefs {
				refs = append(refs, b.BackendObjectReference)
			}
		}
	}
	if i >= len(refs) {
		return cluster
	}
	return referenceText(r.Namespace, refs[i])
}

func referenceText(namespace string, ref gatewayv1.BackendObjectReference) string {
	kind := "Service"
	if ref.Kind != nil {
		kind = string(*ref.Kind)
	}
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	text := fmt.Sprintf("%s %s/%s", kind, namespace, ref.Name)
	if ref.Port != nil {
		text += fmt.Sprintf(":%d", *ref.Port)
	}
	return text
}
