package envoy

import (
	"cmp"
	"encoding/hex"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// The defaults of health checks are Envoy Gateway's.
const (
	checkInterval      = 3 * time.Second
	healthTimeout      = time.Second
	unhealthyThreshold = 3
	healthyThreshold   = 1
	ejectionTime       = 30 * time.Second
	ejectionPercent    = 10
	failuresInARow     = 5
)

func checkHealth(c *cluster.Cluster, h *egv1alpha1.HealthCheck, http2 bool) {
	if h == nil {
		return
	}
	if h.PanicThreshold != nil {
		c.CommonLbConfig = &cluster.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: float64(*h.PanicThreshold)}}
	}
	if h.Passive != nil {
		c.OutlierDetection = outliers(h.Passive)
	}
	if h.Active != nil {
		c.HealthChecks = []*core.HealthCheck{probe(h.Active, http2, firstName(c))}
	}
}

// firstName is a name under which a server is asked that isn't told one.
func firstName(c *cluster.Cluster) string {
	for _, group := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range group.GetLbEndpoints() {
			return cmp.Or(e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress(), product)
		}
	}
	return product
}

func outliers(p *egv1alpha1.PassiveHealthCheck) *cluster.OutlierDetection {
	out := &cluster.OutlierDetection{
		Interval: duration(upstream.Duration(p.Interval, checkInterval)), BaseEjectionTime: duration(upstream.Duration(p.BaseEjectionTime, ejectionTime)),
		Consecutive_5Xx: number(failuresInARow), ConsecutiveLocalOriginFailure: number(failuresInARow), MaxEjectionPercent: number(ejectionPercent),
		SplitExternalLocalOriginErrors: p.SplitExternalLocalOriginErrors != nil && *p.SplitExternalLocalOriginErrors,
	}
	if p.Consecutive5xxErrors != nil {
		out.Consecutive_5Xx = number(*p.Consecutive5xxErrors)
	}
	if p.ConsecutiveLocalOriginFailures != nil {
		out.ConsecutiveLocalOriginFailure = number(*p.ConsecutiveLocalOriginFailures)
	}
	if p.MaxEjectionPercent != nil {
		out.MaxEjectionPercent = number(uint32(*p.MaxEjectionPercent)) //nolint:gosec // upstream.Check
	}
	// Envoy counts these by default, and does nothing about them.
	if p.ConsecutiveGatewayErrors != nil {
		out.ConsecutiveGatewayFailure, out.EnforcingConsecutiveGatewayFailure = number(*p.ConsecutiveGatewayErrors), number(100)
	}
	if p.FailurePercentageThreshold != nil {
		out.FailurePercentageThreshold, out.EnforcingFailurePercentage = number(*p.FailurePercentageThreshold), number(100)
		if out.SplitExternalLocalOriginErrors {
			out.EnforcingFailurePercentageLocalOrigin = number(100)
		}
	}
	if p.AlwaysEjectOneEndpoint != nil {
		out.AlwaysEjectOneHost = boolean(*p.AlwaysEjectOneEndpoint)
	}
	return out
}

func probe(a *egv1alpha1.ActiveHealthCheck, http2 bool, host string) *core.HealthCheck {
	interval := duration(upstream.Duration(a.Interval, checkInterval))
	out := &core.HealthCheck{
		Timeout: duration(upstream.Duration(a.Timeout, healthTimeout)),
		// By default Envoy would check a server that nobody has asked yet, or that was never healthy, once a minute.
		Interval: interval, NoTrafficInterval: interval,
		UnhealthyThreshold: number(unhealthyThreshold), HealthyThreshold: number(healthyThreshold),
		InitialJitter: optional(upstream.Duration(a.InitialJitter, 0)),
	}
	if a.UnhealthyThreshold != nil {
		out.UnhealthyThreshold = number(*a.UnhealthyThreshold)
	}
	if a.HealthyThreshold != nil {
		out.HealthyThreshold = number(*a.HealthyThreshold)
	}
	switch a.Type {
	case egv1alpha1.ActiveHealthCheckerTypeTCP:
		out.HealthChecker = &core.HealthCheck_TcpHealthCheck_{TcpHealthCheck: probeByTCP(a.TCP)}
	case egv1alpha1.ActiveHealthCheckerTypeGRPC:
		check := &core.HealthCheck_GrpcHealthCheck{Authority: host}
		if a.GRPC != nil && a.GRPC.Service != nil {
			check.ServiceName = *a.GRPC.Service
		}
		out.HealthChecker = &core.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: check}
	default:
		out.HealthChecker = &core.HealthCheck_HttpHealthCheck_{HttpHealthCheck: probeByHTTP(a.HTTP, http2, host)}
	}
	return out
}

func probeByTCP(t *egv1alpha1.TCPActiveHealthChecker) *core.HealthCheck_TcpHealthCheck {
	out := &core.HealthCheck_TcpHealthCheck{}
	if t != nil && t.Send != nil {
		out.Send = payload(t.Send)
	}
	if t != nil && t.Receive != nil {
		out.Receive = []*core.HealthCheck_Payload{payload(t.Receive)}
	}
	return out
}

func probeByHTTP(h *egv1alpha1.HTTPActiveHealthChecker, http2 bool, host string) *core.HealthCheck_HttpHealthCheck {
	out := &core.HealthCheck_HttpHealthCheck{
		Path: h.Path, Host: host, ExpectedStatuses: statuses(h.ExpectedStatuses), RetriableStatuses: statuses(h.RetriableStatuses),
	}
	if h.Hostname != nil {
		out.Host = *h.Hostname
	}
	if h.Method != nil {
		out.Method = core.RequestMethod(core.RequestMethod_value[*h.Method])
	}
	if http2 {
		out.CodecClientType = typev3.CodecClientType_HTTP2
	}
	if h.ExpectedResponse != nil {
		out.Receive = []*core.HealthCheck_Payload{payload(h.ExpectedResponse)}
	}
	if h.RequestBody != nil {
		out.Send = payload(h.RequestBody)
	}
	return out
}

// statuses makes half-open ranges of codes.
func statuses(codes []egv1alpha1.HTTPStatus) []*typev3.Int64Range {
	out := make([]*typev3.Int64Range, 0, len(codes))
	for _, code := range codes {
		out = append(out, &typev3.Int64Range{Start: int64(code), End: int64(code) + 1})
	}
	return out
}

// payload is in hexadecimal digits, which alone all kinds of checks take.
func payload(p *egv1alpha1.ActiveHealthCheckPayload) *core.HealthCheck_Payload {
	return &core.HealthCheck_Payload{Payload: &core.HealthCheck_Payload_Text{Text: hex.EncodeToString(upstream.Payload(p))}}
}
