package envoy

import (
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpupstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// httpSettings are those of the HTTP spoken to a server. Where there are none the cluster stays as it is.
func httpSettings(c *cluster.Cluster, s *egv1alpha1.ClusterSettings, http2 bool) {
	if s.Timeout == nil && s.CircuitBreaker == nil && s.HTTP2 == nil {
		return
	}
	common := &core.HttpProtocolOptions{}
	if s.Timeout != nil && s.Timeout.HTTP != nil {
		t := s.Timeout.HTTP
		common.IdleTimeout = given(upstream.Duration(t.ConnectionIdleTimeout, -1))
		common.MaxConnectionDuration = given(upstream.Duration(t.MaxConnectionDuration, -1))
		common.MaxStreamDuration = given(upstream.Duration(t.MaxStreamDuration, -1))
	}
	if s.CircuitBreaker != nil {
		common.MaxRequestsPerConnection = wide(s.CircuitBreaker.MaxRequestsPerConnection)
	}
	explicit := &httpupstream.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpupstream.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &core.Http1ProtocolOptions{}},
	}
	if http2 {
		explicit.ProtocolConfig = &httpupstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: http2Settings(s.HTTP2)}
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOption: typed(&httpupstream.HttpProtocolOptions{
		CommonHttpProtocolOptions: common,
		UpstreamProtocolOptions:   &httpupstream.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	})}
}

// given is nil for a negative duration; 0 switches a limit off.
func given(d time.Duration) *durationpb.Duration {
	if d < 0 {
		return nil
	}
	return duration(d)
}

func http2Settings(h *egv1alpha1.HTTP2Settings) *core.Http2ProtocolOptions {
	out := &core.Http2ProtocolOptions{}
	if h == nil {
		return out
	}
	if q := h.InitialStreamWindowSize; q != nil {
		out.InitialStreamWindowSize = number(uint32(q.Value())) //nolint:gosec // upstream.Check
	}
	if q := h.InitialConnectionWindowSize; q != nil {
		out.InitialConnectionWindowSize = number(uint32(q.Value())) //nolint:gosec // upstream.Check
	}
	out.MaxConcurrentStreams = unsigned(h.MaxConcurrentStreams)
	if h.OnInvalidMessage != nil {
		out.OverrideStreamErrorOnInvalidHttpMessage = boolean(*h.OnInvalidMessage == egv1alpha1.InvalidMessageActionTerminateStream)
	}
	if k := h.ConnectionKeepalive; k != nil {
		out.ConnectionKeepalive = &core.KeepaliveSettings{
			Interval: given(upstream.Duration(k.Interval, -1)), Timeout: duration(upstream.Duration(k.Timeout, pingTimeout)),
			ConnectionIdleInterval: given(upstream.Duration(k.IdleInterval, -1)),
		}
		if k.IntervalJitter != nil {
			out.ConnectionKeepalive.IntervalJitter = &typev3.Percent{Value: float64(*k.IntervalJitter)}
		}
	}
	return out
}

// pingTimeout is how long an answer to a PING is waited for; Envoy demands a number.
const pingTimeout = 20 * time.Second

// asksAgain is when a filter asks a server again; nil for never.
func asksAgain(s *egv1alpha1.ClusterSettings) *core.RetryPolicy {
	if s == nil || s.Retry == nil {
		return nil
	}
	r := s.Retry
	out := &core.RetryPolicy{NumRetries: number(upstream.DefaultRetries), RetryOn: upstream.Triggers(r)}
	if r.NumRetries != nil {
		out.NumRetries = number(uint32(*r.NumRetries)) //nolint:gosec // upstream.Check
	}
	if r.PerRetry != nil && r.PerRetry.BackOff != nil {
		b := r.PerRetry.BackOff
		out.RetryBackOff = &core.BackoffStrategy{BaseInterval: duration(upstream.Duration(b.BaseInterval, 0))}
		if b.MaxInterval != nil {
			out.RetryBackOff.MaxInterval = duration(upstream.Duration(b.MaxInterval, 0))
		}
	}
	return out
}
