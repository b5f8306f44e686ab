package envoy

import (
	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscommon "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dns "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbuffer "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// settle puts the user's settings into a cluster that is otherwise complete. They are without a fault
// ([upstream.Check]); nil are none.
func settle(c *cluster.Cluster, s *egv1alpha1.ClusterSettings, http2 bool) {
	if s == nil {
		return
	}
	if t := s.Timeout; t != nil && t.TCP != nil {
		c.ConnectTimeout = duration(upstream.Duration(t.TCP.ConnectTimeout, connectTimeout))
	}
	breakCircuits(c, s.CircuitBreaker)
	connect(c, s.Connection)
	keepAlive(c, s.TCPKeepalive)
	resolve(c, s.DNS)
	checkHealth(c, s.HealthCheck, http2)
	balance(c, s.LoadBalancer)
	httpSettings(c, s, http2)
	if s.ProxyProtocol != nil {
		c.TransportSocket = announced(c.TransportSocket, s.ProxyProtocol.Version)
	}
}

// wide is a number that is checked to fit.
func wide(n *int64) *wrapperspb.UInt32Value {
	if n == nil {
		return nil
	}
	return number(uint32(*n)) //nolint:gosec // upstream.Check
}

func unsigned(n *uint32) *wrapperspb.UInt32Value {
	if n == nil {
		return nil
	}
	return number(*n)
}

func breakCircuits(c *cluster.Cluster, b *egv1alpha1.CircuitBreaker) {
	if b == nil {
		return
	}
	limits := &cluster.CircuitBreakers_Thresholds{
		MaxConnections: wide(b.MaxConnections), MaxPendingRequests: wide(b.MaxPendingRequests),
		MaxRequests: wide(b.MaxParallelRequests), MaxRetries: wide(b.MaxParallelRetries),
	}
	if budget := b.RetryBudget; budget != nil {
		share, _ := upstream.Share(budget.Percent)
		limits.RetryBudget = &cluster.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent: &typev3.Percent{Value: share}, MinRetryConcurrency: unsigned(budget.MinRetryConcurrency),
		}
	}
	c.CircuitBreakers = &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{limits}}
	if b.PerEndpoint != nil {
		c.CircuitBreakers.PerHostThresholds = []*cluster.CircuitBreakers_Thresholds{{MaxConnections: wide(b.PerEndpoint.MaxConnections)}}
	}
}

func connect(c *cluster.Cluster, b *egv1alpha1.BackendConnection) {
	if b == nil {
		return
	}
	if b.BufferLimit != nil {
		c.PerConnectionBufferLimitBytes = number(uint32(b.BufferLimit.Value())) //nolint:gosec // upstream.Check
	}
	if p := b.Preconnect; p != nil {
		ratio := func(percent *uint32) *wrapperspb.DoubleValue {
			if percent == nil {
				return nil
			}
			return wrapperspb.Double(float64(*percent) / 100)
		}
		c.PreconnectPolicy = &cluster.Cluster_PreconnectPolicy{
			PerUpstreamPreconnectRatio: ratio(p.PerEndpointPercent), PredictivePreconnectRatio: ratio(p.PredictivePercent),
		}
	}
}

func keepAlive(c *cluster.Cluster, k *egv1alpha1.TCPKeepalive) {
	if k == nil {
		return
	}
	out := &core.TcpKeepalive{KeepaliveProbes: unsigned(k.Probes)}
	if d := upstream.Duration(k.IdleTime, 0); d > 0 {
		out.KeepaliveTime = number(uint32(d.Seconds()))
	}
	if d := upstream.Duration(k.Interval, 0); d > 0 {
		out.KeepaliveInterval = number(uint32(d.Seconds()))
	}
	c.UpstreamConnectionOptions = &cluster.UpstreamConnectionOptions{TcpKeepalive: out}
}

var lookupFamilies = map[egv1alpha1.DNSLookupFamily]dnscommon.DnsLookupFamily{
	egv1alpha1.IPv4DNSLookupFamily: dnscommon.DnsLookupFamily_V4_ONLY, egv1alpha1.IPv6DNSLookupFamily: dnscommon.DnsLookupFamily_V6_ONLY,
	egv1alpha1.IPv4PreferredDNSLookupFamily: dnscommon.DnsLookupFamily_V4_PREFERRED,
	egv1alpha1.IPv6PreferredDNSLookupFamily: dnscommon.DnsLookupFamily_AUTO, // Envoy's AUTO prefers IPv6
	egv1alpha1.IPv4AndIPv6DNSLookupFamily:   dnscommon.DnsLookupFamily_ALL,
}

func resolve(c *cluster.Cluster, d *egv1alpha1.DNS) {
	if d == nil {
		return
	}
	resolver := &dns.DnsCluster{RespectDnsTtl: d.RespectDNSTTL == nil || *d.RespectDNSTTL, DnsLookupFamily: dnscommon.DnsLookupFamily_V4_PREFERRED}
	if d.LookupFamily != nil {
		resolver.DnsLookupFamily = lookupFamilies[*d.LookupFamily]
	}
	if d.DNSRefreshRate != nil {
		resolver.DnsRefreshRate = duration(upstream.Duration(d.DNSRefreshRate, 0))
	}
	c.ClusterDiscoveryType = &cluster.Cluster_ClusterType{ClusterType: resolvedByName(resolver)}
}

func balance(c *cluster.Cluster, lb *egv1alpha1.LoadBalancer) {
	if lb == nil {
		return
	}
	var slow *cluster.Cluster_SlowStartConfig
	if lb.SlowStart != nil {
		slow = &cluster.Cluster_SlowStartConfig{SlowStartWindow: duration(upstream.Duration(lb.SlowStart.Window, 0))}
	}
	switch lb.Type {
	case egv1alpha1.RandomLoadBalancerType:
		c.LbPolicy = cluster.Cluster_RANDOM
	case egv1alpha1.RoundRobinLoadBalancerType:
		c.LbPolicy = cluster.Cluster_ROUND_ROBIN
		if slow != nil {
			c.LbConfig = &cluster.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &cluster.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
		}
	default:
		c.LbPolicy = cluster.Cluster_LEAST_REQUEST
		if slow != nil {
			c.LbConfig = &cluster.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &cluster.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		}
	}
}

// announced puts the PROXY protocol's header before all else that a connection carries. A filter's question
// is no client's connection, so it says LOCAL or UNKNOWN.
func announced(socket *core.TransportSocket, version egv1alpha1.ProxyProtocolVersion) *core.TransportSocket {
	if socket == nil {
		socket = &core.TransportSocket{
			Name:       "envoy.transport_sockets.raw_buffer",
			ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: typed(&rawbuffer.RawBuffer{})},
		}
	}
	form := core.ProxyProtocolConfig_V1
	if version == egv1alpha1.ProxyProtocolVersionV2 {
		form = core.ProxyProtocolConfig_V2
	}
	return &core.TransportSocket{
		Name: "envoy.transport_sockets.upstream_proxy_protocol",
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: typed(&proxyprotocol.ProxyProtocolUpstreamTransport{
			Config: &core.ProxyProtocolConfig{Version: form}, TransportSocket: socket,
		})},
	}
}
