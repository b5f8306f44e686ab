package envoy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headermutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
)

// Builder holds what every build needs. Immutable.
type Builder struct {
	// SealKey makes seals unforgeable: a server that may set metadata can't guess another route's.
	SealKey []byte
	// SystemRoots is a PEM file with the authorities that the system trusts; "": where most systems have it.
	SystemRoots string
}

const defaultSystemRoots = "/etc/ssl/certs/ca-certificates.crt"

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
	var seals []*rbacconfig.Principal
	if s := rule.Security; s != nil {
		if s.Spec.CORS != nil {
			filters[filterCORS] = corsPolicy(s.Spec.CORS)
			if s.OIDC == nil {
				r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, varyOrigin())
			}
		}
		if s.Spec.Protects() {
			namespace := b.enforce(rule, filters)
			seals = append(seals, sealed(namespace, SealKey, b.Seal(s.Ref)))
		}
	}
	if seal := b.guard(r, rule, filters); seal != "" {
		seals = append(seals, sealed(gatehouseNamespace, guardsKey, seal))
	}
	if edits := mutations(rule); edits != nil {
		filters[filterClientAddress] = &headermutation.HeaderMutationPerRoute{Mutations: edits}
	}
	if len(seals) > 0 {
		filters[filterSeal] = demand(seals)
	}
}

// enforce has the authorizer decide, and returns the namespace in which its seal will stand.
func (b *Builder) enforce(rule *Rule, filters map[string]proto.Message) (namespace string) {
	if rule.Security.ExtProc {
		filters[filterProcessor] = process(rule)
		return gatehouseNamespace
	}
	filters[filterAuthorizer] = b.check(rule)
	return authorizerNamespace
}

// check selects the policy by a key of the route's configuration.
func (b *Builder) check(rule *Rule) *authz.ExtAuthzPerRoute {
	var bodyMax int64
	if opa := rule.Security.Spec.OPA; opa != nil {
		bodyMax = int64(opa.BodyMaxBytes)
	}
	return checkWith(bodyMax, map[string]string{
		ExtensionPolicy: rule.Security.Ref, ExtensionRoute: rule.Name, extensionClientAddress: "header",
	})
}

// checkWith has Envoy send as much of a body as the policy wants, or none.
func checkWith(bodyMax int64, extensions map[string]string) *authz.ExtAuthzPerRoute {
	settings := &authz.CheckSettings{ContextExtensions: extensions}
	if bodyMax > 0 {
		extensions[extensionBody] = "buffered"
		// One byte more than the policy may see, so that the authorizer notices a longer body.
		settings.WithRequestBody = bodyAsItIs(uint32(bodyMax) + 1) //nolint:gosec // the policy's compiler bounds it
	} else {
		settings.DisableRequestBodyBuffering = true
	}
	return &authz.ExtAuthzPerRoute{Override: &authz.ExtAuthzPerRoute_CheckSettings{CheckSettings: settings}}
}

func bodyAsItIs(size uint32) *authz.BufferSettings {
	return &authz.BufferSettings{MaxRequestBytes: size, AllowPartialMessage: true, PackAsBytes: true}
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

func grpcService(cluster string, timeout time.Duration) *core.GrpcService {
	return &core.GrpcService{
		TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: cluster}},
		Timeout:         duration(timeout),
	}
}

// authorizerService spares the authorizer headers that it doesn't read; they would tell where Envoy runs.
func authorizerService() *core.GrpcService {
	service := grpcService(ClusterAuthorizer, checkTimeout)
	service.GetEnvoyGrpc().SkipEnvoyHeaders = true
	return service
}

// statPrefix keeps the statistics of different policies apart: all filters of all chains share a scope.
func statPrefix(name string) string { return strings.NewReplacer("/", "_", ".", "_").Replace(name) }
