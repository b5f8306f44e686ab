package envoy

import (
	"fmt"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// Rule is one rule of a route with everything that applies to it.
type Rule struct {
	// Name is stable and readable: "httproute/ns/name/rule/0".
	Name                    string
	Matches                 []gatewayv1.HTTPRouteMatch
	Filters                 []gatewayv1.HTTPRouteFilter
	Clusters                []WeightedCluster
	Mirrors                 []Mirror
	Request, BackendRequest *time.Duration
	Retry                   *Retry   // nil: never
	Session                 *Session // nil: any endpoint may answer each request
	// CORS is the route's own, for Envoy's filter alone; nil where there is none or the policy's prevails.
	CORS *CORS
	// Port and TLS are the listener's: what a redirect's Location goes by.
	Port     uint16
	TLS      bool
	Security *policy.Security // nil: none applies
	// ExternalAuth is the server that the route's own filter names; nil: none.
	ExternalAuth *policy.ExtAuth
	// Object is what the rule belongs to, for servers that are told.
	Object    Source
	Extension *policy.Extension // nil: none applies
	// Fault makes the rule answer FaultStatus, after the checks that protect it.
	Fault       string
	FaultStatus uint32
}

// Source is the object that a rule comes from.
type Source struct {
	Kind, Namespace, Name string
	Section               string // the rule's name; "": none
	Annotations           map[string]string
}

// Routes builds the Envoy routes of a rule: one for each match, and for a rule with CORS a twin that
// answers preflights, since a rule that matches a method or a header never sees them.
// faults names matches that can't be expressed; they answer 500.
func (b *Builder) Routes(rule *Rule) (entries []Entry, faults []string) {
	matches := rule.Matches
	if len(matches) == 0 {
		matches = []gatewayv1.HTTPRouteMatch{{}}
	}
	for i := range matches {
		m := &matches[i]
		match, fault := routeMatch(m)
		if fault != "" {
			faults = append(faults, fmt.Sprintf("matches[%d]: %s", i, fault))
			entries = append(entries, b.refusal(rule, m, i))
			continue
		}
		main := b.route(rule, m, match)
		entries = append(entries, newEntry(order(m, i), marshal(main)))
		if rule.cors() != nil {
			entries = append(entries, newEntry(order(m, i).twin(), marshal(b.preflight(rule, m))))
		}
		for _, narrower := range slices.Concat(b.withPort(rule, m), crossOrigin(rule, main), b.held(rule, m)) {
			entries = append(entries, newEntry(order(m, i).first(), marshal(narrower)))
		}
	}
	return entries, faults
}

func (b *Builder) route(rule *Rule, m *gatewayv1.HTTPRouteMatch, match *route.RouteMatch) *route.Route {
	r := &route.Route{Name: rule.Name, Match: match}
	b.act(r, rule, m)
	filters := map[string]proto.Message{}
	b.secure(r, rule, filters)
	if rule.CORS != nil {
		filters[filterCORS] = rule.CORS.policy()
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, varyOrigin())
	}
	if rule.Session != nil && r.GetRoute() != nil {
		filters[filterSession] = rule.Session.perRoute()
	}
	if rule.Extension != nil && len(rule.Extension.ExtProc) > 0 {
		filters[filterExtensions] = extensions(rule)
	}
	r.TypedPerFilterConfig = pack(filters)
	return r
}

func pack(filters map[string]proto.Message) map[string]*anypb.Any {
	if len(filters) == 0 {
		return nil
	}
	out := make(map[string]*anypb.Any, len(filters))
	for name, m := range filters {
		out[name] = typed(m)
	}
	return out
}

// act gives the route its action and header edits.
func (b *Builder) act(r *route.Route, rule *Rule, m *gatewayv1.HTTPRouteMatch) {
	for i := range rule.Filters {
		f := &rule.Filters[i]
		if f.RequestHeaderModifier != nil {
			r.RequestHeadersToAdd, r.RequestHeadersToRemove = headerEdits(f.RequestHeaderModifier)
		}
		if f.ResponseHeaderModifier != nil {
			r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = headerEdits(f.ResponseHeaderModifier)
		}
	}
	switch {
	case rule.Fault != "":
		respond(r, rule.FaultStatus)
		return
	case rule.Extension != nil && rule.Extension.Fault != "":
		respond(r, 503)
		return
	}
	prefix := "/"
	if kind, value := pathOf(m.Path); kind == gatewayv1.PathMatchPathPrefix {
		prefix = value
	}
	for i := range rule.Filters {
		if f := &rule.Filters[i]; f.RequestRedirect != nil {
			redirect(r, f.RequestRedirect, prefix, rule)
			return
		}
	}
	forward(r, rule.Clusters, rule)
	for i := range rule.Filters {
		if f := &rule.Filters[i]; f.URLRewrite != nil && r.GetRoute() != nil {
			rewrite(r.GetRoute(), f.URLRewrite, prefix)
		}
	}
}

func varyOrigin() *core.HeaderValueOption {
	return headerOption("vary", "Origin", core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
}
