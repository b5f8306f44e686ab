package envoy

import (
	"time"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	csrffilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/csrf/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	chain "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	headermutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	sessionfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// checkTimeout is how long Envoy waits for the authorizer; every step of the authorizer is shorter.
const checkTimeout = 2 * time.Second

// httpFilters is the fixed list that every connection manager carries. Those that are disabled cost
// nothing until a route enables them; the first and the last two are always on.
func httpFilters(client gatewayapi.ClientSettings) []*hcm.HttpFilter {
	return []*hcm.HttpFilter{
		always(filterClientAddress, clientAddress(client)),
		disabled(filterCORS, &corsfilter.Cors{}),
		disabled(filterLogin, &oauth2.OAuth2{}),
		disabled(filterAuthorizer, authorizer()),
		disabled(filterProcessor, processor()),
		disabled(filterCSRF, &csrffilter.CsrfPolicy{FilterEnabled: perMillion(0)}),
		disabled(filterAuth, &chain.FilterChainConfig{}),
		disabled(filterExtensions, &chain.FilterChainConfig{}),
		disabled(filterSession, &sessionfilter.StatefulSession{}),
		always(filterSeal, &rbac.RBAC{}),
		always(filterRouter, &router.Router{}),
	}
}

func always(name string, config proto.Message) *hcm.HttpFilter {
	return &hcm.HttpFilter{Name: name, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: typed(config)}}
}

func disabled(name string, config proto.Message) *hcm.HttpFilter {
	f := always(name, config)
	f.Disabled = true
	return f
}

// clientAddress overwrites whatever the client sent: ext_authz itself tells only the TCP peer, whatever
// the detection of the client's address says.
func clientAddress(client gatewayapi.ClientSettings) *headermutation.HeaderMutation {
	return &headermutation.HeaderMutation{Mutations: &headermutation.Mutations{
		RequestMutations: []*mutation.HeaderMutation{{Action: &mutation.HeaderMutation_Append{
			Append: &core.HeaderValueOption{
				Header:       &core.HeaderValue{Key: headerClientAddress, Value: toldAddress(client)},
				AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			},
		}}, {Action: &mutation.HeaderMutation_Remove{Remove: headerRecompute}}},
	}}
}

func authorizer() *authz.ExtAuthz {
	return &authz.ExtAuthz{
		Services:            &authz.ExtAuthz_GrpcService{GrpcService: authorizerService()},
		TransportApiVersion: core.ApiVersion_V3,
		StatusOnError:       &httptype.HttpStatus{Code: httptype.StatusCode_ServiceUnavailable},
		// Without it repeated headers arrive joined and bytes beyond ASCII replaced.
		EncodeRawHeaders: true,
		// Routes say how much of a body, but only the filter that its bytes are sent as they are: else those that
		// aren't UTF-8 arrive as exclamation marks. Routes without a body rule switch this off.
		WithRequestBody: bodyAsItIs(1),
		// Rules can ask for the name in the client's TLS handshake.
		IncludeTlsSession: true,
		// The verdict itself decides whether the route is chosen again.
		ClearRouteCache:        true,
		ClearRouteCacheHeaders: []string{headerRecompute},
		StatPrefix:             product,
	}
}
