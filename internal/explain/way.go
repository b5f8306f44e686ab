package explain

import (
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	csrffilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/csrf/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	chain "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	headermutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// way is what a route makes of the fixed list of filters.
type way struct {
	// ref names the security policy, "" without one; extensions are what the route tells the authorizer.
	ref        string
	extensions map[string]string
	buffer     *authz.BufferSettings
	streams    bool // the policy is enforced by ext_proc, which gets the body where it asks for it
	cors       *corsfilter.CorsPolicy
	processors []Processor
	filters    []string
	login      *oauth2.OAuth2Config
	csrf       *csrffilter.CsrfPolicy
	// nobody says that the filter before the router admits no request.
	nobody bool
	// forged are the names of headers that clients may not send, answered what every answer gets.
	forged   []*matcher.StringMatcher
	answered []*core.HeaderValueOption
}

// wayOf reads a route's configuration of the filters, in the order in which they stand.
func wayOf(m *hcm.HttpConnectionManager, r *route.Route) *way {
	out := &way{}
	for _, f := range m.GetHttpFilters() {
		if config, ok := r.GetTypedPerFilterConfig()[f.GetName()]; ok {
			out.read(config)
		}
	}
	if len(r.GetRoute().GetRateLimits()) > 0 {
		out.filters = append(out.filters, "rate limits")
	}
	return out
}

func (w *way) read(config *anypb.Any) {
	wrapper := &route.FilterConfig{}
	if config.MessageIs(wrapper) && config.UnmarshalTo(wrapper) == nil && wrapper.GetConfig() != nil {
		config = wrapper.GetConfig()
	}
	check, processor, inner := &authz.ExtAuthzPerRoute{}, &extproc.ExtProcPerRoute{}, &chain.FilterChainConfigPerRoute{}
	origins, access := &corsfilter.CorsPolicy{}, &rbac.RBACPerRoute{}
	switch {
	case config.MessageIs(check) && config.UnmarshalTo(check) == nil && w.checks(check):
	case config.MessageIs(processor) && config.UnmarshalTo(processor) == nil && w.processes(processor):
	case config.MessageIs(inner) && config.UnmarshalTo(inner) == nil:
		w.chain(inner)
	case config.MessageIs(origins) && config.UnmarshalTo(origins) == nil:
		w.cors = origins
	case config.MessageIs(access) && config.UnmarshalTo(access) == nil && w.admits(access):
	default:
		w.other(config)
	}
}

// login is the name of Envoy's OAuth2 filter among what stands on a way.
const login = "oidc"

// forgeries is the name of Envoy's CSRF filter among what stands on a way.
const forgeries = "csrf"

// other takes the remaining filters. Those that never answer by themselves are left out.
func (w *way) other(config *anypb.Any) {
	user, page, edits := &oauth2.OAuth2PerRoute{}, &csrffilter.CsrfPolicy{}, &headermutation.HeaderMutationPerRoute{}
	switch kind := filterType(config.GetTypeUrl()); {
	case kind == "stateful_session":
	case config.MessageIs(edits) && config.UnmarshalTo(edits) == nil:
		for _, m := range edits.GetMutations().GetRequestMutations() {
			w.forged = append(w.forged, m.GetRemoveOnMatch().GetKeyMatcher())
		}
		for _, m := range edits.GetMutations().GetResponseMutations() {
			w.answered = append(w.answered, m.GetAppend())
		}
	case config.MessageIs(user) && config.UnmarshalTo(user) == nil:
		w.login = user.GetConfig()
		w.filters = append(w.filters, login)
	case config.MessageIs(page) && config.UnmarshalTo(page) == nil:
		w.csrf = page
		w.filters = append(w.filters, forgeries)
	default:
		w.filters = append(w.filters, kind)
	}
}

// checks reports whether the filter asks Gatehouse's authorizer.
func (w *way) checks(c *authz.ExtAuthzPerRoute) bool {
	settings := c.GetCheckSettings()
	ref, ok := settings.GetContextExtensions()[envoy.ExtensionPolicy]
	if ok {
		w.ref, w.extensions, w.buffer = ref, settings.GetContextExtensions(), settings.GetWithRequestBody()
	}
	return ok
}

// processes is checks for a policy that is enforced by ext_proc.
func (w *way) processes(p *extproc.ExtProcPerRoute) bool {
	extensions := map[string]string{}
	for _, h := range p.GetOverrides().GetGrpcInitialMetadata() {
		extensions[h.GetKey()] = h.GetValue()
	}
	ref, ok := extensions[envoy.ExtensionPolicy]
	if ok {
		w.ref, w.extensions, w.streams = ref, extensions, true
	}
	return ok
}

// chain names the filters of the route's own chain. The mark behind a user's server is part of that server.
func (w *way) chain(c *chain.FilterChainConfigPerRoute) {
	for _, f := range c.GetFilterChain().GetFilters() {
		if strings.HasSuffix(f.GetName(), "/seal") {
			continue
		}
		w.processors = append(w.processors, Processor{
			Name: f.GetName(), Type: filterType(f.GetTypedConfig().GetTypeUrl()), FailOpen: failsOpen(f.GetTypedConfig()),
		})
	}
}

func failsOpen(config *anypb.Any) bool {
	check, stream := &authz.ExtAuthz{}, &extproc.ExternalProcessor{}
	switch {
	case config.MessageIs(check) && config.UnmarshalTo(check) == nil:
		return check.GetFailureModeAllow()
	case config.MessageIs(stream) && config.UnmarshalTo(stream) == nil:
		return stream.GetFailureModeAllow()
	}
	return false
}

// withoutForged is a header without what clients may not send.
func (w *way) withoutForged(header []exchange.Field) []exchange.Field {
	return slices.DeleteFunc(slices.Clone(header), func(f exchange.Field) bool {
		return slices.ContainsFunc(w.forged, func(m *matcher.StringMatcher) bool { return routing.TextMatches(m, strings.ToLower(f.Name)) })
	})
}

// admits reports whether the filter is one whose answer is known: the seal, or one that admits nobody.
func (w *way) admits(a *rbac.RBACPerRoute) bool {
	policies := a.GetRbac().GetRules().GetPolicies()
	if a.GetRbac().GetRules() != nil && a.GetRbac().GetMatcher() == nil && len(policies) == 0 {
		w.nobody = true
		return true
	}
	_, seal := policies["seal"]
	return seal
}

// filterType makes ext_proc of type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.
func filterType(url string) string {
	parts := strings.Split(url, ".")
	if len(parts) < 3 {
		return url
	}
	return parts[len(parts)-3]
}
