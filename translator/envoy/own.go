package envoy

import (
	"encoding/json"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// OwnOptions describe the authorizer that an Envoy of somebody else's has to call.
type OwnOptions struct {
	Server gatewayapi.Endpoint
	// TLS has Envoy verify the server by the system's roots; ServerName is the name to verify.
	TLS        bool
	ServerName string
	// ClientCertificate says that the server demands one, which only the Envoy's owner has.
	ClientCertificate bool
	// Policies are those that routes may name.
	Policies []OwnPolicy
}

// OwnPolicy is a policy by its namespace/name.
type OwnPolicy struct {
	Name string
	// BodyMaxBytes is how much of the body the policy reads; 0: none.
	BodyMaxBytes int
}

// CheckedKey is the key of the proof that some policy of the authorizer has let the request pass: for
// routes that name none. [Builder.Checked] is its value.
const CheckedKey = "checked"

// Checked is the proof of any verdict.
func (b *Builder) Checked() string { return b.seal("checked", "") }

// Own is what such an Envoy needs: settings and filters of the connection manager, what its route
// configuration removes, what a route that names a policy has, and the cluster. Keys are Envoy's.
type Own struct {
	ConnectionManager json.RawMessage            `json:"http_connection_manager"`
	RouteConfig       json.RawMessage            `json:"route_config"`
	Routes            map[string]json.RawMessage `json:"routes"` // by policy
	ExtProcRoutes     map[string]json.RawMessage `json:"ext_proc_routes"`
	OpenRoute         json.RawMessage            `json:"open_route"`
	Clusters          []json.RawMessage          `json:"clusters"`

	clientCertificate bool
}

// Own builds the parts of a configuration.
func (b *Builder) Own(o OwnOptions) (*Own, error) {
	manager := &hcm.HttpConnectionManager{
		NormalizePath: boolean(true), MergeSlashes: true,
		PathWithEscapedSlashesAction: hcm.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
		CommonHttpProtocolOptions: &core.HttpProtocolOptions{
			HeadersWithUnderscoresAction: core.HttpProtocolOptions_REJECT_REQUEST,
		},
		UseRemoteAddress: boolean(true),
		HttpFilters: []*hcm.HttpFilter{
			always(filterClientAddress, clientAddress(gatewayapi.ClientSettings{})), always(filterAuthorizer, authorizer()),
			disabled(filterProcessor, processor()), always(filterSeal, demand([]*rbacconfig.Principal{b.checked()}).GetRbac()),
			always(filterRouter, &router.Router{}),
		},
	}
	config := &route.RouteConfiguration{
		RequestHeadersToRemove: []string{headerClientAddress, headerRecompute},
		// For routes that name no policy; the others have it of their own.
		TypedPerFilterConfig: pack(map[string]proto.Message{filterAuthorizer: checkWith(0, map[string]string{extensionClientAddress: "header"})}),
	}
	open := &route.Route{TypedPerFilterConfig: pack(map[string]proto.Message{
		filterAuthorizer: &authz.ExtAuthzPerRoute{Override: &authz.ExtAuthzPerRoute_Disabled{Disabled: true}},
		filterSeal:       &rbac.RBACPerRoute{},
	})}
	out := &Own{clientCertificate: o.ClientCertificate, Routes: map[string]json.RawMessage{}, ExtProcRoutes: map[string]json.RawMessage{}}
	var err error
	keep := func(target *json.RawMessage, m proto.Message) {
		if err == nil {
			*target, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		}
	}
	keep(&out.ConnectionManager, manager)
	keep(&out.RouteConfig, config)
	keep(&out.OpenRoute, open)
	out.Clusters = make([]json.RawMessage, 1)
	keep(&out.Clusters[0], b.ownCluster(o))
	for _, p := range o.Policies {
		var byCheck, byStream json.RawMessage
		keep(&byCheck, b.ownRoute(p))
		keep(&byStream, b.ownStream(p))
		out.Routes[p.Name], out.ExtProcRoutes[p.Name] = byCheck, byStream
	}
	return out, err
}

// YAML renders it with a word on each part.
func (o *Own) YAML() ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	body, err := yaml.JSONToYAML(text)
	help := ownHelp
	if o.clientCertificate {
		help += ownCertificateHelp
	}
	return append([]byte(help), body...), err
}

const ownCertificateHelp = `#
# The server demands a client certificate: add this Envoy's to the cluster's common_tls_context, as
# tls_certificates: [{certificate_chain: {filename: …}, private_key: {filename: …}}].
`

const ownHelp = `# Parts of an Envoy configuration for gatehouse auth.
#
# http_connection_manager  settings and filters, in this order. Every request is checked; the last filter
#                          before the router admits only requests that carry the proof of a verdict.
# routes                   what a route has whose policy the route names, by policy.
# ext_proc_routes          the same by ext_proc instead of ext_authz.
# open_route               what a route has that nobody is to check.
# route_config             keeps the headers between Envoy and the authorizer from the backends, and has the
#                          authorizer believe the client's address that Envoy has found.
# clusters                 the authorizer. With TLS its certificate must come from an authority in trusted_ca.
#
# The proofs are made with the seal key in the state directory of gatehouse auth. Behind another proxy set
# use_remote_address and the detection of the client's address as for any Envoy there.
`

// checked accepts the proof of any verdict, by either protocol.
func (b *Builder) checked() *rbacconfig.Principal { return b.either(CheckedKey, b.Checked()) }

func (b *Builder) either(key, value string) *rbacconfig.Principal {
	return &rbacconfig.Principal{Identifier: &rbacconfig.Principal_OrIds{OrIds: &rbacconfig.Principal_Set{Ids: []*rbacconfig.Principal{
		sealed(authorizerNamespace, key, value), sealed(gatehouseNamespace, key, value),
	}}}}
}

func (b *Builder) ownRoute(p OwnPolicy) *route.Route {
	return &route.Route{TypedPerFilterConfig: pack(map[string]proto.Message{
		filterAuthorizer: checkWith(int64(p.BodyMaxBytes), map[string]string{ExtensionPolicy: p.Name, extensionClientAddress: "header"}),
		filterSeal:       demand([]*rbacconfig.Principal{b.either(SealKey, b.Seal(p.Name))}),
	})}
}

func (b *Builder) ownStream(p OwnPolicy) *route.Route {
	return &route.Route{TypedPerFilterConfig: pack(map[string]proto.Message{
		filterAuthorizer: &authz.ExtAuthzPerRoute{Override: &authz.ExtAuthzPerRoute_Disabled{Disabled: true}},
		filterProcessor:  named(&core.HeaderValue{Key: ExtensionPolicy, Value: p.Name}),
		filterSeal:       demand([]*rbacconfig.Principal{b.either(SealKey, b.Seal(p.Name))}),
	})}
}

func (b *Builder) ownCluster(o OwnOptions) *cluster.Cluster {
	c := socketCluster(ClusterAuthorizer, "")
	c.LoadAssignment = loadAssignment(ClusterAuthorizer, []gatewayapi.Endpoint{o.Server})
	c.ConnectTimeout = duration(time.Second)
	if o.TLS {
		verified := b.serverVerified(o.ServerName)
		verified.CommonTlsContext.AlpnProtocols = []string{"h2"}
		c.TransportSocket = &core.TransportSocket{
			Name:       "envoy.transport_sockets.tls",
			ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: typed(verified)},
		}
	}
	return c
}
