package routing

import (
	"fmt"
	"net/netip"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	udp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Table is the routing of one snapshot. Immutable, safe for concurrent use.
type Table struct {
	Sockets  []*Socket // in the order of their listeners' names
	clusters clusters
}

// Socket is one of Envoy's listeners.
type Socket struct {
	Name    string // the listener's
	Address netip.AddrPort
	UDP     bool
	// Chains are what a connection may meet, the most specific server name first.
	Chains []*Chain
	// Clusters are where datagrams go that no chain sees; none but on a UDP proxy.
	Clusters []string
}

// Chain is one filter chain.
type Chain struct {
	Name string
	// ServerNames are the SNI values that lead here; none: every connection that no other chain takes.
	ServerNames []string
	// TLS says that Envoy terminates TLS.
	TLS bool
	// ClientCertificate says that no client gets through without a certificate that verifies.
	ClientCertificate bool
	// Manager is nil where the chain isn't HTTP.
	Manager *hcm.HttpConnectionManager
	// Hosts are the virtual hosts, in the order of the configuration.
	Hosts []*Host
	// Clusters are where the bytes go of a chain that isn't HTTP.
	Clusters []string
	// NetworkFilters name what such bytes pass before, in order.
	NetworkFilters []string
	// Removed are the headers that no backend gets (RouteConfiguration.request_headers_to_remove).
	Removed []string
	// ignorePort is ignore_port_in_host_matching.
	ignorePort bool
}

// Host is a virtual host of one domain.
type Host struct {
	Domain string // "a.example", "*.example" or "*"
	Routes []*Route
}

// Route is one route of Envoy, with the matcher of its conditions.
type Route struct {
	*route.Route

	conditions conditions
	unknown    error // what of its conditions this package doesn't know
}

// New reads a snapshot. The error names a resource that can't be read. A route with a condition that this
// package doesn't know is an error of the requests that meet it.
func New(snap *snapshot.Snapshot) (*Table, error) {
	configs := map[string]*route.RouteConfiguration{}
	for _, r := range snap.Resources[snapshot.Route] {
		config := &route.RouteConfiguration{}
		if err := proto.Unmarshal(r.Body, config); err != nil {
			return nil, fmt.Errorf("route configuration %s: %w", r.Name, err)
		}
		configs[r.Name] = config
	}
	known, err := readClusters(snap)
	if err != nil {
		return nil, err
	}
	table := &Table{clusters: known}
	hosts := map[string][]*Host{}
	for name, config := range configs {
		hosts[name] = readHosts(config)
	}
	for _, r := range snap.Resources[snapshot.Listener] {
		l := &listener.Listener{}
		if err := proto.Unmarshal(r.Body, l); err != nil {
			return nil, fmt.Errorf("listener %s: %w", r.Name, err)
		}
		socket, err := readSocket(l, configs, hosts)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", r.Name, err)
		}
		table.Sockets = append(table.Sockets, socket)
	}
	return table, nil
}

func readHosts(config *route.RouteConfiguration) []*Host {
	var hosts []*Host
	for _, vh := range config.GetVirtualHosts() {
		var routes []*Route
		for _, r := range vh.GetRoutes() {
			compiled, err := compile(r.GetMatch())
			if err != nil {
				err = fmt.Errorf("route %s: %w", r.GetName(), err)
			}
			routes = append(routes, &Route{Route: r, conditions: compiled, unknown: err})
		}
		for _, domain := range vh.GetDomains() {
			hosts = append(hosts, &Host{Domain: domain, Routes: routes})
		}
	}
	return hosts
}

func readSocket(l *listener.Listener, configs map[string]*route.RouteConfiguration, hosts map[string][]*Host) (*Socket, error) {
	address := l.GetAddress().GetSocketAddress()
	ip, err := netip.ParseAddr(address.GetAddress())
	if err != nil {
		return nil, err
	}
	port := uint16(address.GetPortValue()) //nolint:gosec // Envoy takes no larger one
	out := &Socket{
		Name: l.GetName(), Address: netip.AddrPortFrom(ip, port),
		UDP: address.GetProtocol() == core.SocketAddress_UDP,
	}
	for _, f := range l.GetListenerFilters() {
		proxy := &udp.UdpProxyConfig{}
		if f.GetTypedConfig().MessageIs(proxy) {
			if err := f.GetTypedConfig().UnmarshalTo(proxy); err != nil {
				return nil, err
			}
			out.Clusters = append(out.Clusters, udpClusters(proxy)...)
		}
	}
	for _, c := range append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		if c == nil {
			continue
		}
		chain, err := readChain(c, configs, hosts)
		if err != nil {
			return nil, err
		}
		out.Chains = append(out.Chains, chain)
	}
	return out, nil
}

func readChain(c *listener.FilterChain, configs map[string]*route.RouteConfiguration, hosts map[string][]*Host) (*Chain, error) {
	out := &Chain{Name: c.GetName(), ServerNames: c.GetFilterChainMatch().GetServerNames()}
	context := &tls.DownstreamTlsContext{}
	if config := c.GetTransportSocket().GetTypedConfig(); config != nil {
		out.TLS = true
		if config.MessageIs(context) {
			if err := config.UnmarshalTo(context); err != nil {
				return nil, err
			}
			out.ClientCertificate = context.GetRequireClientCertificate().GetValue()
		}
	}
	for _, f := range c.GetFilters() {
		manager, proxy := &hcm.HttpConnectionManager{}, &tcp.TcpProxy{}
		switch config := f.GetTypedConfig(); {
		case config.MessageIs(manager):
			if err := config.UnmarshalTo(manager); err != nil {
				return nil, err
			}
			name := manager.GetRds().GetRouteConfigName()
			out.Manager, out.Hosts = manager, hosts[name]
			out.ignorePort = configs[name].GetIgnorePortInHostMatching()
			out.Removed = configs[name].GetRequestHeadersToRemove()
		case config.MessageIs(proxy):
			if err := config.UnmarshalTo(proxy); err != nil {
				return nil, err
			}
			out.Clusters = tcpClusters(proxy)
		default:
			out.NetworkFilters = append(out.NetworkFilters, f.GetName())
		}
	}
	return out, nil
}

func tcpClusters(p *tcp.TcpProxy) []string {
	if name := p.GetCluster(); name != "" {
		return []string{name}
	}
	var names []string
	for _, c := range p.GetWeightedClusters().GetClusters() {
		names = append(names, c.GetName())
	}
	return names
}

func udpClusters(p *udp.UdpProxyConfig) []string {
	if name := p.GetCluster(); name != "" { //nolint:staticcheck // what is deprecated still routes
		return []string{name}
	}
	action := &udp.Route{}
	if config := p.GetMatcher().GetOnNoMatch().GetAction().GetTypedConfig(); config != nil && config.UnmarshalTo(action) == nil {
		return []string{action.GetCluster()}
	}
	return []string{""}
}
