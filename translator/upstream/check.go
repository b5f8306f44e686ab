// Package upstream judges how the user wants a server to be reached: the ClusterSettings of Envoy Gateway's
// API. What Envoy can't do for that server is a fault; nothing is left out in silence. Package envoy turns
// settings without a fault into a cluster.
package upstream

import (
	"fmt"
	"math"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	"k8s.io/apimachinery/pkg/api/resource"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Use is what the settings are for.
type Use struct {
	// HTTP2 says that the server is spoken to by HTTP/2.
	HTTP2 bool
	// DNS says that its addresses are names to resolve, Sockets that there is a Unix socket among them.
	DNS, Sockets bool
	// RequestTimeout names the field that bounds a request in the place of timeout.http.requestTimeout; "":
	// the latter does.
	RequestTimeout string
}

// Check returns what is wrong with settings for a server that Envoy asks by itself, as its filters do: there
// is no route and no client's request. field is the settings' own, such as spec.extAuth.grpc.backendSettings.
// nil settings have no fault.
func Check(field string, s *egv1alpha1.ClusterSettings, use Use) []string {
	if s == nil {
		return nil
	}
	c := &checker{field: field, use: use}
	c.timeout(s.Timeout)
	c.circuitBreaker(s.CircuitBreaker)
	c.connection(s.Connection, s.LoadBalancer)
	c.keepalive(s.TCPKeepalive)
	c.dns(s.DNS)
	c.healthCheck(s.HealthCheck)
	c.http2(s.HTTP2)
	c.loadBalancer(s.LoadBalancer)
	c.retry(s.Retry)
	if p := s.ProxyProtocol; p != nil && p.Version != egv1alpha1.ProxyProtocolVersionV1 && p.Version != egv1alpha1.ProxyProtocolVersionV2 {
		c.fault("proxyProtocol.version", "must be V1 or V2")
	}
	return c.faults
}

type checker struct {
	field  string
	use    Use
	faults []string
}

func (c *checker) fault(field, format string, args ...any) {
	c.faults = append(c.faults, c.field+"."+field+": "+fmt.Sprintf(format, args...))
}

// Duration returns a duration that [Check] has found sound, byDefault where there is none.
func Duration(d *gatewayv1.Duration, byDefault time.Duration) time.Duration {
	if d == nil {
		return byDefault
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil {
		return byDefault
	}
	return parsed
}

// longest is beyond every sensible duration, and within what Envoy takes.
const longest = 100 * 365 * 24 * time.Hour

func (c *checker) duration(field string, d *gatewayv1.Duration, least time.Duration) {
	if d == nil {
		return
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil || parsed < least || parsed > longest {
		c.fault(field, "%q is not a duration of %s or more; write 10s, 1500ms or 1h30m", *d, least)
	}
}

func (c *checker) count(field string, n *int64) {
	if n != nil && (*n < 0 || *n > math.MaxUint32) {
		c.fault(field, "%d is not between 0 and %d", *n, uint32(math.MaxUint32))
	}
}

func (c *checker) percent(field string, n *uint32) {
	if n != nil && *n > 100 {
		c.fault(field, "%d is not between 0 and 100", *n)
	}
}

func (c *checker) bytes(field string, q *resource.Quantity, least, most int64) {
	if q != nil && (q.Value() < least || q.Value() > most) {
		c.fault(field, "%s is not between %d and %d bytes", q, least, most)
	}
}

func (c *checker) timeout(t *egv1alpha1.Timeout) {
	if t == nil {
		return
	}
	if t.TCP != nil {
		c.duration("timeout.tcp.connectTimeout", t.TCP.ConnectTimeout, time.Millisecond)
	}
	if t.HTTP == nil {
		return
	}
	c.duration("timeout.http.connectionIdleTimeout", t.HTTP.ConnectionIdleTimeout, 0)
	c.duration("timeout.http.maxConnectionDuration", t.HTTP.MaxConnectionDuration, 0)
	c.duration("timeout.http.maxStreamDuration", t.HTTP.MaxStreamDuration, 0)
	c.duration("timeout.http.requestTimeout", t.HTTP.RequestTimeout, time.Millisecond)
	if t.HTTP.RequestTimeout != nil && c.use.RequestTimeout != "" {
		c.fault("timeout.http.requestTimeout", "%s says how long this server may take; write it there", c.use.RequestTimeout)
	}
	if t.HTTP.StreamIdleTimeout != nil {
		c.fault("timeout.http.streamIdleTimeout", "bounds requests of clients, of which this server gets none; remove it")
	}
}

func (c *checker) circuitBreaker(b *egv1alpha1.CircuitBreaker) {
	if b == nil {
		return
	}
	c.count("circuitBreaker.maxConnections", b.MaxConnections)
	c.count("circuitBreaker.maxPendingRequests", b.MaxPendingRequests)
	c.count("circuitBreaker.maxParallelRequests", b.MaxParallelRequests)
	c.count("circuitBreaker.maxParallelRetries", b.MaxParallelRetries)
	c.count("circuitBreaker.maxRequestsPerConnection", b.MaxRequestsPerConnection)
	if b.PerEndpoint != nil {
		c.count("circuitBreaker.perEndpoint.maxConnections", b.PerEndpoint.MaxConnections)
	}
	if b.RetryBudget != nil {
		if share, ok := Share(b.RetryBudget.Percent); !ok {
			c.fault("circuitBreaker.retryBudget.percent", "%g is not between 0 and 100", share)
		}
	}
}

// Share returns a fraction in percent, and whether it is one between none and all.
func Share(f gatewayv1.Fraction) (percent float64, ok bool) {
	denominator := int32(100)
	if f.Denominator != nil {
		denominator = *f.Denominator
	}
	if denominator < 1 {
		return 0, false
	}
	percent = 100 * float64(f.Numerator) / float64(denominator)
	return percent, percent >= 0 && percent <= 100
}

func (c *checker) connection(b *egv1alpha1.BackendConnection, lb *egv1alpha1.LoadBalancer) {
	if b == nil {
		return
	}
	c.bytes("connection.bufferLimit", b.BufferLimit, 1, math.MaxUint32)
	if b.SocketBufferLimit != nil {
		c.fault("connection.socketBufferLimit", "is not supported; use bufferLimit")
	}
	p := b.Preconnect
	if p == nil {
		return
	}
	if n := p.PerEndpointPercent; n != nil && (*n < 100 || *n > 300) {
		c.fault("connection.preconnect.perEndpointPercent", "%d is not between 100 and 300", *n)
	}
	if n := p.PredictivePercent; n != nil {
		if *n < 100 || *n > 300 {
			c.fault("connection.preconnect.predictivePercent", "%d is not between 100 and 300", *n)
		}
		if lb == nil || lb.Type != egv1alpha1.RandomLoadBalancerType && lb.Type != egv1alpha1.RoundRobinLoadBalancerType {
			c.fault("connection.preconnect.predictivePercent", "works with loadBalancer.type Random and RoundRobin only")
		}
	}
}

func (c *checker) keepalive(k *egv1alpha1.TCPKeepalive) {
	if k == nil {
		return
	}
	if c.use.Sockets {
		c.fault("tcpKeepalive", "a Unix socket knows none; remove it")
	}
	c.duration("tcpKeepalive.idleTime", k.IdleTime, time.Second)
	c.duration("tcpKeepalive.interval", k.Interval, time.Second)
}

func (c *checker) dns(d *egv1alpha1.DNS) {
	if d == nil {
		return
	}
	if !c.use.DNS {
		c.fault("dns", "the server's addresses are fixed, and no name is resolved; remove it")
	}
	c.duration("dns.dnsRefreshRate", d.DNSRefreshRate, 2*time.Millisecond) // Envoy's own bound is more than 1 ms
	if f := d.LookupFamily; f != nil {
		switch *f {
		case egv1alpha1.IPv4DNSLookupFamily, egv1alpha1.IPv6DNSLookupFamily, egv1alpha1.IPv4PreferredDNSLookupFamily,
			egv1alpha1.IPv6PreferredDNSLookupFamily, egv1alpha1.IPv4AndIPv6DNSLookupFamily:
		default:
			c.fault("dns.lookupFamily", "must be one of IPv4, IPv6, IPv4Preferred, IPv6Preferred, IPv4AndIPv6")
		}
	}
}

// The bounds of HTTP/2 windows (RFC 9113 section 6.9.2, and Envoy's lower one).
const (
	minWindow = 65535
	maxWindow = math.MaxInt32
)

func (c *checker) http2(h *egv1alpha1.HTTP2Settings) {
	if h == nil {
		return
	}
	if !c.use.HTTP2 {
		c.fault("http2", "the server is spoken to by HTTP/1.1; give its Service the appProtocol kubernetes.io/h2c, or remove it")
	}
	c.bytes("http2.initialStreamWindowSize", h.InitialStreamWindowSize, minWindow, maxWindow)
	c.bytes("http2.initialConnectionWindowSize", h.InitialConnectionWindowSize, minWindow, maxWindow)
	if n := h.MaxConcurrentStreams; n != nil && (*n < 1 || *n > maxWindow) {
		c.fault("http2.maxConcurrentStreams", "%d is not between 1 and %d", *n, maxWindow)
	}
	if a := h.OnInvalidMessage; a != nil && *a != egv1alpha1.InvalidMessageActionTerminateConnection && *a != egv1alpha1.InvalidMessageActionTerminateStream {
		c.fault("http2.onInvalidMessage", "must be TerminateConnection or TerminateStream")
	}
	if k := h.ConnectionKeepalive; k != nil {
		c.duration("http2.connectionKeepalive.interval", k.Interval, time.Millisecond)
		c.duration("http2.connectionKeepalive.timeout", k.Timeout, time.Millisecond)
		c.duration("http2.connectionKeepalive.idleInterval", k.IdleInterval, time.Millisecond)
		c.percent("http2.connectionKeepalive.intervalJitter", k.IntervalJitter)
	}
}

func (c *checker) loadBalancer(lb *egv1alpha1.LoadBalancer) {
	if lb == nil {
		return
	}
	switch lb.Type {
	case egv1alpha1.RoundRobinLoadBalancerType, egv1alpha1.LeastRequestLoadBalancerType, egv1alpha1.RandomLoadBalancerType:
	case egv1alpha1.ConsistentHashLoadBalancerType:
		c.fault("loadBalancer.type", "ConsistentHash goes by the route of a request, and what Envoy asks this server has none; use LeastRequest, RoundRobin or Random")
	default:
		c.fault("loadBalancer.type", "%q is not supported for this server; use LeastRequest, RoundRobin or Random", lb.Type)
	}
	if lb.SlowStart != nil {
		c.duration("loadBalancer.slowStart.window", lb.SlowStart.Window, time.Millisecond)
		if lb.SlowStart.Window == nil || lb.Type == egv1alpha1.RandomLoadBalancerType {
			c.fault("loadBalancer.slowStart", "needs a window, and type RoundRobin or LeastRequest")
		}
	}
	if lb.ZoneAware != nil {
		c.fault("loadBalancer.zoneAware", "is not supported for this server; remove it")
	}
	if lb.EndpointOverride != nil {
		c.fault("loadBalancer.endpointOverride", "goes by headers of a client's request, of which this server gets none; remove it")
	}
}
