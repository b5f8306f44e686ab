package envoy

import (
	"cmp"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// Listener builds Envoy's listener for one socket. All of them serve: the faulty ones were left out.
// Nothing about routes or policies is in it, so that no edit of these touches a connection.
func (b *Builder) Listener(listeners []*gatewayapi.Listener) snapshot.Resource {
	first := listeners[0]
	name := "listener/" + first.Socket()
	out := &listener.Listener{
		Name:    name,
		Address: socket(first.Address, first.Port),
	}
	if !first.TLS {
		out.DefaultFilterChain = b.filterChain(first, nil)
	} else {
		out.ListenerFilters = []*listener.ListenerFilter{{
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listener.ListenerFilter_TypedConfig{TypedConfig: typed(&tlsinspector.TlsInspector{})},
		}}
		for _, l := range byHostname(listeners) {
			c := b.filterChain(l, serverNames(l.Hostname))
			c.TransportSocket = downstreamTLS(l)
			out.FilterChains = append(out.FilterChains, c)
		}
	}
	r := resource(name, out)
	r.Address = first.Socket()
	return r
}

func byHostname(listeners []*gatewayapi.Listener) []*gatewayapi.Listener {
	sorted := slices.Clone(listeners)
	slices.SortFunc(sorted, func(a, b *gatewayapi.Listener) int { return cmp.Compare(a.RouteConfig(), b.RouteConfig()) })
	return sorted
}

func serverNames(hostname string) *listener.FilterChainMatch {
	if hostname == "" {
		return nil
	}
	return &listener.FilterChainMatch{ServerNames: []string{hostname}}
}

func (b *Builder) filterChain(l *gatewayapi.Listener, match *listener.FilterChainMatch) *listener.FilterChain {
	return &listener.FilterChain{
		Name: l.RouteConfig(), FilterChainMatch: match,
		Filters: []*listener.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listener.Filter_TypedConfig{TypedConfig: typed(connectionManager(l))},
		}},
	}
}

func downstreamTLS(l *gatewayapi.Listener) *core.TransportSocket {
	context := &tls.CommonTlsContext{
		AlpnProtocols: []string{"h2", "http/1.1"},
		TlsParams:     &tls.TlsParameters{TlsMinimumProtocolVersion: tls.TlsParameters_TLSv1_2},
	}
	for _, c := range l.Certificates {
		context.TlsCertificateSdsSecretConfigs = append(context.TlsCertificateSdsSecretConfigs,
			&tls.SdsSecretConfig{Name: c.Name, SdsConfig: ads()})
	}
	return &core.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &core.TransportSocket_TypedConfig{
			TypedConfig: typed(&tls.DownstreamTlsContext{CommonTlsContext: context}),
		},
	}
}

// Secret builds the SDS resource of a certificate.
func Secret(c gatewayapi.Certificate) snapshot.Resource {
	return resource(c.Name, &tls.Secret{Name: c.Name, Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{
		CertificateChain: inline(c.Chain), PrivateKey: inline(c.Key),
	}}})
}

func inline(b []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: b}}
}

// requestHeadersTimeout ends connections that trickle their headers.
const requestHeadersTimeout = 30 * time.Second

func connectionManager(l *gatewayapi.Listener) *hcm.HttpConnectionManager {
	m := &hcm.HttpConnectionManager{
		StatPrefix: statPrefix(l.RouteConfig()),
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{
			ConfigSource: ads(), RouteConfigName: l.RouteConfig(),
		}},
		HttpFilters:           httpFilters(l.Client),
		AccessLog:             accessLog(),
		UpgradeConfigs:        []*hcm.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		RequestHeadersTimeout: duration(requestHeadersTimeout),
		// A path means one thing to every filter, to the authorizer and to the backend.
		NormalizePath:                boolean(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcm.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
		CommonHttpProtocolOptions: &core.HttpProtocolOptions{
			// x_user and x-user are one header to some backends and two to every policy.
			HeadersWithUnderscoresAction: core.HttpProtocolOptions_REJECT_REQUEST,
		},
		UseRemoteAddress: boolean(true),
		// admin.example. is admin.example to DNS and to backends; it must not fall to a wider host's routes.
		StripTrailingHostDot: true,
	}
	detectClient(m, l.Client)
	return m
}

func namedExtension(name string, config *anypb.Any) *core.TypedExtensionConfig {
	return &core.TypedExtensionConfig{Name: name, TypedConfig: config}
}
