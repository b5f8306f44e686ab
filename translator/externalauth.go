package translator

import (
	"fmt"
	"regexp"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// externalAuth has Envoy ask the server that the route's filter names (GEP-1494). Without that server
// nobody can decide: the rule answers 500.
func (b *routeBuilder) externalAuth(rule *envoy.Rule, f *gatewayv1.HTTPExternalAuthFilter, i int) (bad string) {
	if f == nil {
		return "externalAuth is missing"
	}
	out := &policy.ExtAuth{Server: policy.Server{
		Name: fmt.Sprintf("%s/externalauth/%d", rule.Name, i), Timeout: policy.DefaultAuthTimeout,
	}}
	switch grpc, http := f.GRPCAuthConfig, f.HTTPAuthConfig; f.ExternalAuthProtocol {
	case gatewayv1.HTTPRouteExternalAuthGRPCProtocol:
		if http != nil {
			return "externalAuth.http is set, but protocol is GRPC; remove it"
		}
		if grpc != nil {
			out.HeadersToExtAuth = grpc.AllowedRequestHeaders
		}
	case gatewayv1.HTTPRouteExternalAuthHTTPProtocol:
		if grpc != nil {
			return "externalAuth.grpc is set, but protocol is HTTP; remove it"
		}
		if http == nil {
			http = &gatewayv1.HTTPAuthConfig{}
		}
		if http.Path != "" && !authPath.MatchString(http.Path) {
			return fmt.Sprintf("externalAuth.http.path: %q is no path", http.Path)
		}
		out.HeadersToExtAuth, out.HeadersToBackend = http.AllowedRequestHeaders, http.AllowedResponseHeaders
		out.HTTP = &policy.HTTPAuth{Path: policy.AuthPath(http.Path), AllHeadersToBackend: len(http.AllowedResponseHeaders) == 0}
	default:
		return fmt.Sprintf("externalAuth.protocol: %q is neither GRPC nor HTTP", f.ExternalAuthProtocol)
	}
	if f.ForwardBody != nil {
		out.MaxRequestBytes = uint32(f.ForwardBody.MaxSize)
	}
	out.Backend = gatewayapi.ResolveBackend(b.view, b.referrer(), f.BackendRef)
	if out.Backend.Fault != "" {
		rule.Fault, rule.FaultStatus = out.Backend.Fault, 500
		b.condition("ResolvedRefs", out.Backend.Reason, "filters[%d].externalAuth.%s", i, strings.Replace(out.Backend.Fault, "backendRefs:", "backendRef:", 1))
		return ""
	}
	b.cluster(out.Name, out.Backend, out.HTTP == nil)
	rule.ExternalAuth = out
	return ""
}

// authPath is HTTPAuthConfig's own pattern.
var authPath = regexp.MustCompile(`\A(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+\z`)

// source describes the rule's object to servers that ask for it. Of the annotations those are told that
// begin with Envoy Gateway's name, without it.
func (b *routeBuilder) source(spec *gatewayv1.HTTPRouteRule) envoy.Source {
	out := envoy.Source{Kind: "HTTPRoute", Namespace: b.route.Namespace, Name: b.route.Name}
	if spec.Name != nil {
		out.Section = string(*spec.Name)
	}
	for key, value := range b.route.Annotations {
		if name, told := strings.CutPrefix(key, egv1alpha1.GroupName+"/"); told {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[name] = value
		}
	}
	return out
}
