package envoy

import (
	"regexp"
	"strings"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	chain "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	setmetadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// authServers are the user's own authorization servers that a request of the rule has to pass, in their
// order.
func (r *Rule) authServers() []*policy.ExtAuth {
	var all []*policy.ExtAuth
	if r.Security != nil && r.Security.ExtAuth != nil {
		all = append(all, r.Security.ExtAuth)
	}
	if r.ExternalAuth != nil {
		all = append(all, r.ExternalAuth)
	}
	return all
}

// guard switches on what Envoy's own filters and the user's servers check, and returns the seal by which
// the route's own chain marks a request that all of them have let through; "" where there is none of
// them. The seal holds all that was asked: the OK for other origins or context extensions, or about another
// route where servers are told the route, is none.
func (b *Builder) guard(r *route.Route, rule *Rule, filters map[string]proto.Message) (seal string) {
	out, asked := &chain.FilterChain{}, strings.Builder{}
	name := rule.Name
	if s := rule.Security; s != nil && s.CSRF != nil {
		filters[filterCSRF] = csrfPolicy(s.CSRF)
		asked.WriteString(filterCSRF + "\x00" + string(marshal(filters[filterCSRF])))
	}
	if s := rule.Security; s != nil && s.OIDC != nil {
		filters[filterLogin] = b.login(s.OIDC)
		asked.WriteString(filterLogin + "\x00" + string(marshal(filters[filterLogin])))
	}
	for _, e := range rule.authServers() {
		name = e.Name
		filter := userAuthorizer(e)
		out.Filters = append(out.Filters, &core.TypedExtensionConfig{Name: e.Name, TypedConfig: typed(filter)})
		asked.WriteString(e.Name + "\x00" + string(marshal(filter)))
		if len(e.ContextExtensions) > 0 {
			told := &authz.ExtAuthzPerRoute{Override: &authz.ExtAuthzPerRoute_CheckSettings{
				CheckSettings: &authz.CheckSettings{ContextExtensions: e.ContextExtensions},
			}}
			// Per route filters of a chain are found by their names, as those of the connection manager are.
			filters[e.Name] = told
			asked.Write(marshal(told))
		}
		if e.RouteMetadata {
			r.Metadata = routeMetadata(rule.Object)
			asked.Write(marshal(r.Metadata))
		}
	}
	if asked.Len() == 0 {
		return ""
	}
	seal = b.seal("guards", asked.String())
	mark := &setmetadata.Config{Metadata: []*setmetadata.Metadata{{
		MetadataNamespace: gatehouseNamespace, AllowOverwrite: true,
		Value: &structpb.Struct{Fields: map[string]*structpb.Value{guardsKey: structpb.NewStringValue(seal)}},
	}}}
	out.Filters = append(out.Filters, &core.TypedExtensionConfig{Name: name + "/seal", TypedConfig: typed(mark)})
	filters[filterAuth] = &chain.FilterChainConfigPerRoute{FilterChain: out}
	return seal
}

// routeMetadataNamespace is where Envoy Gateway describes the objects that a route was made of.
const routeMetadataNamespace = "envoy-gateway"

func routeMetadata(o Source) *core.Metadata {
	fields := map[string]any{"kind": o.Kind, "namespace": o.Namespace, "name": o.Name}
	if o.Section != "" {
		fields["sectionName"] = o.Section
	}
	if len(o.Annotations) > 0 {
		annotations := map[string]any{}
		for key, value := range o.Annotations {
			annotations[key] = value
		}
		fields["annotations"] = annotations
	}
	described, err := structpb.NewStruct(map[string]any{"resources": []any{fields}})
	if err != nil { // an annotation that isn't UTF-8: YAML and JSON have none
		return nil
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{routeMetadataNamespace: described}}
}

func userAuthorizer(e *policy.ExtAuth) *authz.ExtAuthz {
	out := &authz.ExtAuthz{
		TransportApiVersion: core.ApiVersion_V3,
		FailureModeAllow:    e.FailOpen,
		ClearRouteCache:     e.RecomputeRoute,
		StatPrefix:          statPrefix(e.Name),
		// Its metadata would land in the namespace that holds the authorizer's seal.
		EnableDynamicMetadataIngestion: boolean(false),
	}
	if e.StatusOnError != 0 {
		out.StatusOnError = &httptype.HttpStatus{Code: httptype.StatusCode(e.StatusOnError)}
	}
	if len(e.HeadersToExtAuth) > 0 {
		out.AllowedHeaders = headerList(e.HeadersToExtAuth)
	}
	if e.MaxRequestBytes > 0 {
		out.WithRequestBody = &authz.BufferSettings{MaxRequestBytes: e.MaxRequestBytes}
	}
	if e.RouteMetadata {
		out.RouteMetadataContextNamespaces = []string{routeMetadataNamespace}
	}
	if e.HTTP != nil {
		overHTTP(out, e)
		return out
	}
	service := grpcService(e.Name, e.Timeout)
	service.RetryPolicy = asksAgain(e.Settings)
	out.Services = &authz.ExtAuthz_GrpcService{GrpcService: service}
	if len(e.HeadersToBackend) > 0 {
		out.DecoderHeaderMutationRules = onlyHeaders(e.HeadersToBackend)
	}
	return out
}

// overHTTP asks by a plain request: 200 lets pass, every other answer is the client's.
func overHTTP(out *authz.ExtAuthz, e *policy.ExtAuth) {
	service := &authz.HttpService{
		PathPrefix: e.HTTP.Path, PathOverride: e.HTTP.PathOverride, RetryPolicy: asksAgain(e.Settings),
		// The cluster says where the server is; the URI only has to be one.
		ServerUri: &core.HttpUri{
			Uri: "http://" + product, Timeout: duration(e.Timeout), HttpUpstreamType: &core.HttpUri_Cluster{Cluster: e.Name},
		},
	}
	switch {
	case e.HTTP.AllHeadersToBackend:
		service.AuthorizationResponse = &authz.AuthorizationResponse{AllowedUpstreamHeaders: &matcher.ListStringMatcher{
			Patterns: []*matcher.StringMatcher{regex(".*")},
		}}
		out.DecoderHeaderMutationRules = &mutation.HeaderMutationRules{
			DisallowExpression: &matcher.RegexMatcher{Regex: ofTheAnswer},
		}
	case len(e.HeadersToBackend) > 0:
		service.AuthorizationResponse = &authz.AuthorizationResponse{AllowedUpstreamHeaders: headerList(e.HeadersToBackend)}
	}
	out.Services = &authz.ExtAuthz_HttpService{HttpService: service}
}

// ofTheAnswer are headers of an authorization server's answer that say something about that answer: as
// headers of the request they would frame its body anew, or end its connection.
const ofTheAnswer = `^(:.*|host|content-length|content-type|content-encoding|transfer-encoding|connection|keep-alive|` +
	`proxy-connection|te|trailer|upgrade|date|server|x-envoy-.*)$`

func headerList(names []string) *matcher.ListStringMatcher {
	out := &matcher.ListStringMatcher{}
	for _, name := range names {
		out.Patterns = append(out.Patterns, &matcher.StringMatcher{
			MatchPattern: &matcher.StringMatcher_Exact{Exact: strings.ToLower(name)}, IgnoreCase: true,
		})
	}
	return out
}

// onlyHeaders lets a server set these headers and no others. It blocks the server's removals too.
func onlyHeaders(names []string) *mutation.HeaderMutationRules {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(strings.ToLower(name))
	}
	return &mutation.HeaderMutationRules{
		DisallowAll:     boolean(true),
		AllowExpression: &matcher.RegexMatcher{Regex: "^(" + strings.Join(quoted, "|") + ")$"},
	}
}
