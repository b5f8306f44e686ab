package envoy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	chain "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	setmetadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// Builder holds what every build needs. Immutable.
type Builder struct {
	// SealKey makes seals unforgeable: a server that may set metadata can't guess another route's.
	SealKey []byte
}

// Seal is the proof that the authorizer gave its OK for this policy.
func (b *Builder) Seal(ref string) string { return b.seal("policy", ref) }

func (b *Builder) seal(purpose, subject string) string {
	mac := hmac.New(sha256.New, b.SealKey)
	mac.Write([]byte(purpose + "\x00" + subject))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// secure switches on what enforces the rule's policy, and demands the proof at the end of the chain.
// Envoy decides once, at the first route match, which filters run; the seal filter alone looks at the
// route as it is when the request is about to leave. So a request whose route was changed on the way
// meets a seal it hasn't got.
func (b *Builder) secure(r *route.Route, rule *Rule, filters map[string]proto.Message) {
	s := rule.Security
	if s.Spec.CORS != nil {
		filters[filterCORS] = corsPolicy(s.Spec.CORS)
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, varyOrigin())
	}
	var seals []*rbacconfig.Principal
	if s.Spec.Protects() {
		filters[filterAuthorizer] = b.check(rule)
		seals = append(seals, sealed(authorizerNamespace, SealKey, b.Seal(s.Ref)))
	}
	if s.ExtAuth != nil {
		filters[filterAuth] = &chain.FilterChainConfigPerRoute{FilterChain: b.authChain(s.ExtAuth)}
		seals = append(seals, sealed(gatehouseNamespace, SealKey, b.chainSeal(s.ExtAuth)))
	}
	if len(seals) > 0 {
		filters[filterSeal] = demand(seals)
	}
}

// check selects the policy by a key of the route's configuration.
func (b *Builder) check(rule *Rule) *authz.ExtAuthzPerRoute {
	settings := &authz.CheckSettings{ContextExtensions: map[string]string{
		ExtensionPolicy: rule.Security.Ref, ExtensionRoute: rule.Name, extensionClientAddress: "header",
	}}
	if opa := rule.Security.Spec.OPA; opa != nil && opa.BodyMaxBytes > 0 {
		settings.ContextExtensions[extensionBody] = "buffered"
		// One byte more than the policy may see, so that the authorizer notices a longer body.
		settings.WithRequestBody = &authz.BufferSettings{
			MaxRequestBytes: uint32(opa.BodyMaxBytes) + 1, AllowPartialMessage: true, PackAsBytes: true,
		}
	}
	return &authz.ExtAuthzPerRoute{Override: &authz.ExtAuthzPerRoute_CheckSettings{CheckSettings: settings}}
}

func sealed(namespace, key, value string) *rbacconfig.Principal {
	return &rbacconfig.Principal{Identifier: &rbacconfig.Principal_SourcedMetadata{SourcedMetadata: &rbacconfig.SourcedMetadata{
		MetadataMatcher: &matcher.MetadataMatcher{
			Filter: namespace,
			Path:   []*matcher.MetadataMatcher_PathSegment{{Segment: &matcher.MetadataMatcher_PathSegment_Key{Key: key}}},
			Value:  &matcher.ValueMatcher{MatchPattern: &matcher.ValueMatcher_StringMatch{StringMatch: exact(value)}},
		},
	}}}
}

func demand(seals []*rbacconfig.Principal) *rbac.RBACPerRoute {
	return &rbac.RBACPerRoute{Rbac: &rbac.RBAC{Rules: &rbacconfig.RBAC{
		Action: rbacconfig.RBAC_ALLOW,
		Policies: map[string]*rbacconfig.Policy{"seal": {
			Permissions: []*rbacconfig.Permission{{Rule: &rbacconfig.Permission_Any{Any: true}}},
			Principals: []*rbacconfig.Principal{{Identifier: &rbacconfig.Principal_AndIds{
				AndIds: &rbacconfig.Principal_Set{Ids: seals},
			}}},
		}},
	}}}
}

// corsPolicy is for Envoy's own filter, which alone can mark answers that the authorizer never sees.
func corsPolicy(c *config.CORS) *corsfilter.CorsPolicy {
	out := &corsfilter.CorsPolicy{
		AllowMethods: strings.Join(c.AllowMethods, ","), AllowHeaders: strings.Join(c.AllowHeaders, ","),
		ExposeHeaders: strings.Join(c.ExposeHeaders, ","), AllowCredentials: boolean(cors.Credentials(c)),
	}
	for _, origin := range c.AllowOrigins {
		literal, expression, err := cors.OriginPattern(origin)
		switch {
		case err != nil: // the authorizer refuses such a policy; its routes answer 503 without CORS
		case expression != "":
			out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, regex(expression))
		default:
			out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, exact(literal))
		}
	}
	if c.MaxAge != nil {
		out.MaxAge = strconv.FormatInt(int64(*c.MaxAge/time.Second), 10)
	}
	return out
}

// authChain is the user's ext_authz server, followed by the mark that it has let the request through.
func (b *Builder) authChain(e *policy.ExtAuth) *chain.FilterChain {
	mark := &setmetadata.Config{Metadata: []*setmetadata.Metadata{{
		MetadataNamespace: gatehouseNamespace, AllowOverwrite: true,
		Value: &structpb.Struct{Fields: map[string]*structpb.Value{SealKey: structpb.NewStringValue(b.chainSeal(e))}},
	}}}
	return &chain.FilterChain{Filters: []*core.TypedExtensionConfig{
		{Name: e.Name, TypedConfig: typed(userAuthorizer(e))},
		{Name: e.Name + "/seal", TypedConfig: typed(mark)},
	}}
}

func (b *Builder) chainSeal(e *policy.ExtAuth) string {
	return b.seal("extauth", e.Name+"\x00"+string(marshal(userAuthorizer(e))))
}

func userAuthorizer(e *policy.ExtAuth) *authz.ExtAuthz {
	out := &authz.ExtAuthz{
		Services:            &authz.ExtAuthz_GrpcService{GrpcService: grpcService(e.Name, e.Timeout)},
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
	if len(e.HeadersToBackend) > 0 {
		out.DecoderHeaderMutationRules = onlyHeaders(e.HeadersToBackend)
	}
	if e.MaxRequestBytes > 0 {
		out.WithRequestBody = &authz.BufferSettings{MaxRequestBytes: e.MaxRequestBytes}
	}
	return out
}

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

func grpcService(cluster string, timeout time.Duration) *core.GrpcService {
	return &core.GrpcService{
		TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: cluster}},
		Timeout:         duration(timeout),
	}
}

// statPrefix keeps the statistics of different policies apart: all filters of all chains share a scope.
func statPrefix(name string) string { return strings.NewReplacer("/", "_", ".", "_").Replace(name) }
