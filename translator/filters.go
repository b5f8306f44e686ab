package translator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// redirects are the statuses of a redirect that HTTPRoute knows.
var redirects = []int{301, 302, 303, 307, 308}

// fault has the whole rule answer 500: one that left out what it can't do would do something else than it
// says.
func (b *routeBuilder) fault(rule *envoy.Rule, reason, format string, args ...any) {
	rule.Fault, rule.FaultStatus = fmt.Sprintf(format, args...), 500
	b.condition("Accepted", reason, "%s: %s", rule.Name, rule.Fault)
}

// filters checks a rule's filters and resolves those that are more than data.
func (b *routeBuilder) filters(rule *envoy.Rule, spec *gatewayv1.HTTPRouteRule) {
	const unsupported = "UnsupportedValue"
	rule.Object = b.source(spec)
	seen := map[gatewayv1.HTTPRouteFilterType]bool{}
	for i := range spec.Filters {
		f := &spec.Filters[i]
		bad := ""
		switch f.Type {
		case gatewayv1.HTTPRouteFilterRequestHeaderModifier, gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		case gatewayv1.HTTPRouteFilterRequestRedirect:
			bad = badRedirect(f.RequestRedirect, spec)
		case gatewayv1.HTTPRouteFilterURLRewrite:
			bad = badRewrite(f.URLRewrite, spec)
		case gatewayv1.HTTPRouteFilterRequestMirror:
			b.mirror(rule, f.RequestMirror, i)
			continue
		case gatewayv1.HTTPRouteFilterCORS:
			bad = b.cors(rule, f.CORS)
		case gatewayv1.HTTPRouteFilterExternalAuth:
			bad = b.externalAuth(rule, f.ExternalAuth, i)
		default:
			bad = fmt.Sprintf("filter %s is not supported by this version; remove it", f.Type)
		}
		if bad != "" {
			b.fault(rule, unsupported, "%s", bad)
		}
		if seen[f.Type] {
			b.fault(rule, "IncompatibleFilters", "filter %s stands there twice; make one of the two", f.Type)
		}
		seen[f.Type] = true
	}
	if seen[gatewayv1.HTTPRouteFilterRequestRedirect] && seen[gatewayv1.HTTPRouteFilterURLRewrite] {
		b.fault(rule, "IncompatibleFilters", "RequestRedirect and URLRewrite exclude each other; remove one")
	}
}

func badRedirect(r *gatewayv1.HTTPRequestRedirectFilter, spec *gatewayv1.HTTPRouteRule) string {
	if r == nil {
		return "requestRedirect is missing"
	}
	if r.StatusCode != nil && !slices.Contains(redirects, *r.StatusCode) {
		return fmt.Sprintf("requestRedirect.statusCode %d is not a redirect; use 301, 302, 303, 307 or 308", *r.StatusCode)
	}
	if r.Scheme != nil && *r.Scheme != "http" && *r.Scheme != "https" {
		return fmt.Sprintf("requestRedirect.scheme %q is neither http nor https", *r.Scheme)
	}
	if r.Port != nil {
		if _, ok := gatewayapi.PortNumber(*r.Port); !ok {
			return fmt.Sprintf("requestRedirect.port %d is not between 1 and 65535", *r.Port)
		}
	}
	return badPath("requestRedirect", r.Path, spec)
}

func badRewrite(r *gatewayv1.HTTPURLRewriteFilter, spec *gatewayv1.HTTPRouteRule) string {
	if r == nil {
		return "urlRewrite is missing"
	}
	return badPath("urlRewrite", r.Path, spec)
}

// badPath refuses to replace a prefix where none was matched (HTTPPathModifier.replacePrefixMatch).
func badPath(field string, path *gatewayv1.HTTPPathModifier, spec *gatewayv1.HTTPRouteRule) string {
	if path == nil || path.ReplacePrefixMatch == nil {
		return ""
	}
	for _, m := range spec.Matches {
		if m.Path != nil && m.Path.Type != nil && *m.Path.Type != gatewayv1.PathMatchPathPrefix {
			return field + ".path.replacePrefixMatch needs matches of type PathPrefix; use replaceFullPath, or another match"
		}
	}
	return ""
}

// mirror adds a copy of the requests. What is wrong with it leaves the requests themselves alone.
func (b *routeBuilder) mirror(rule *envoy.Rule, m *gatewayv1.HTTPRequestMirrorFilter, i int) {
	if m == nil {
		b.fault(rule, "UnsupportedValue", "requestMirror is missing")
		return
	}
	share, bad := mirrorShare(m)
	if bad != "" {
		b.ignored("filters[%d].requestMirror: %s; nothing is mirrored", i, bad)
		return
	}
	backend := gatewayapi.ResolveBackend(b.view, b.referrer(), m.BackendRef)
	if backend.Fault != "" {
		b.condition("ResolvedRefs", backend.Reason, "filters[%d].requestMirror.%s; nothing is mirrored", i, strings.Replace(backend.Fault, "backendRefs:", "backendRef:", 1))
		return
	}
	if share == 0 {
		return
	}
	name := fmt.Sprintf("%s/mirror/%d", rule.Name, i)
	b.cluster(name, backend, false)
	rule.Mirrors = append(rule.Mirrors, envoy.Mirror{Cluster: name, PerMillion: share})
}

func mirrorShare(m *gatewayv1.HTTPRequestMirrorFilter) (perMillion uint32, bad string) {
	numerator, denominator := int64(100), int64(100)
	switch {
	case m.Percent != nil && m.Fraction != nil:
		return 0, "percent and fraction exclude each other; remove one"
	case m.Percent != nil:
		numerator = int64(*m.Percent)
	case m.Fraction != nil:
		numerator = int64(m.Fraction.Numerator)
		if m.Fraction.Denominator != nil {
			denominator = int64(*m.Fraction.Denominator)
		}
	}
	if numerator < 0 || denominator < 1 || numerator > denominator {
		return 0, "the share is not between none and all of the requests"
	}
	return uint32(numerator * 1_000_000 / denominator), "" //nolint:gosec // between 0 and a million
}

// ignored tells of a part of the rule that isn't served while the rest is.
func (b *routeBuilder) ignored(format string, args ...any) {
	b.condition("PartiallyInvalid", "UnsupportedValue", format, args...)
	b.unit.conditions[len(b.unit.conditions)-1].True = true
}

// cors takes over the route's own CORS filter unless a SecurityPolicy's cors applies: two authors of
// Access-Control-Allow-Origin would double it.
func (b *routeBuilder) cors(rule *envoy.Rule, f *gatewayv1.HTTPCORSFilter) (bad string) {
	if f == nil {
		return "cors is missing"
	}
	if rule.Security != nil && rule.Security.Spec.CORS != nil {
		b.condition("Overridden", "Overridden", "%s: the cors of the SecurityPolicy prevails over the CORS filter", rule.Name)
		b.unit.conditions[len(b.unit.conditions)-1].True = true
		return ""
	}
	age := time.Duration(max(f.MaxAge, 0)) * time.Second
	if f.MaxAge == 0 {
		age = defaultMaxAge
	}
	spec := config.CORS{MaxAge: &age, AllowCredentials: f.AllowCredentials != nil && *f.AllowCredentials}
	for _, origin := range f.AllowOrigins {
		// A regular expression is SecurityPolicy's own form.
		if _, _, err := cors.OriginPattern(string(origin)); err != nil || strings.HasPrefix(string(origin), "~") {
			return fmt.Sprintf("cors.allowOrigins: %q is not scheme://host[:port] or *", origin)
		}
		spec.AllowOrigins = append(spec.AllowOrigins, string(origin))
	}
	spec.AllowMethods = texts(f.AllowMethods)
	spec.AllowHeaders = texts(f.AllowHeaders)
	spec.ExposeHeaders = texts(f.ExposeHeaders)
	rule.CORS = &envoy.CORS{Spec: spec}
	return ""
}

// defaultMaxAge is HTTPCORSFilter's.
const defaultMaxAge = 5 * time.Second

func texts[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = string(s)
	}
	return out
}
